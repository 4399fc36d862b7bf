//! A helper JVM that obeys one command a line and answers until `END` or `ERR reason`.
//!
//! It belongs to one owner at a time; whoever shares it across tests puts it behind a lock.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::process::Process;

/// How long a command may take: a failover or a restart of a NameNode is the slowest.
const REPLY_LIMIT: Duration = Duration::from_secs(90);

/// A running command shell.
#[derive(Debug)]
pub struct Shell {
    process: Process,
    lines: Receiver<String>,
}

impl Shell {
    /// Starts it and waits for its `READY`.
    pub fn start(name: &str, folder: &Path, arguments: &[String]) -> Self {
        let mut process = Process::start(name, folder, "java", arguments, true);
        let output = process.child().stdout.take().expect("piped");
        let mut shell = Self {
            process,
            lines: read_lines(output),
        };
        while shell.line() != "READY" {}
        shell
    }

    /// Runs one command; the reply's lines, or the reason it failed.
    pub fn run(&mut self, command: &str) -> Result<Vec<String>, String> {
        let input = self.process.child().stdin.as_mut().expect("piped");
        writeln!(input, "{command}")
            .and_then(|()| input.flush())
            .expect("the shell runs");
        let mut reply = Vec::new();
        loop {
            let line = self.line();
            if line == "END" {
                return Ok(reply);
            }
            if let Some(reason) = line.strip_prefix("ERR ") {
                return Err(reason.to_owned());
            }
            reply.push(line);
        }
    }

    /// The same, when failure is the test's failure.
    #[track_caller]
    pub fn must(&mut self, command: &str) -> Vec<String> {
        self.run(command)
            .unwrap_or_else(|reason| panic!("{command}: {reason}"))
    }

    fn line(&mut self) -> String {
        match self.lines.recv_timeout(REPLY_LIMIT) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no reply within {REPLY_LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the shell ended:\n{}", self.process.log())
            }
        }
    }
}

fn read_lines(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Decodes the Base64 of a reply.
pub fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("not Base64: {other:#x}"),
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        bits = (bits << 6) | u32::from(digit(byte));
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).expect("masked"));
        }
    }
    bytes
}
