//! Child processes that cannot be left behind.
//!
//! A child is killed by its process id when its value is dropped, and by the kernel (`PR_SET_PDEATHSIG`,
//! set by util-linux's `setpriv`, which then becomes the child) when this process dies in any way. The
//! kernel watches the *thread* that started the child, and the thread of a test ends before the test
//! binary does, so one thread that never ends starts them all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};

use super::clock::{Deadline, pause};

/// Lines of a log printed when a test fails.
const LOG_LINES_SHOWN: usize = 60;

type Order = (Command, Sender<std::io::Result<Child>>);

/// Starts `command` from the thread that lives as long as this process.
fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                drop(answer.send(command.spawn()));
            }
        });
        sender
    });
    let (answer, child) = channel();
    spawner
        .send((command, answer))
        .expect("the spawner thread never ends");
    child
        .recv()
        .expect("the spawner thread answers every order")
}

/// Lets this process and its children have as many descriptors as the machine's owner allows at all.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit");
}

/// A running child whose output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `program` with `arguments` in `folder`; standard output and error go to `folder/NAME.log`,
    /// appended when it is there. Standard input is a pipe when `piped`.
    pub fn start(
        name: &str,
        folder: &Path,
        program: &str,
        arguments: &[String],
        piped: bool,
    ) -> Self {
        Self::start_with(name, folder, program, arguments, piped, &[])
    }

    /// The same with environment variables.
    pub fn start_with(
        name: &str,
        folder: &Path,
        program: &str,
        arguments: &[String],
        piped: bool,
        environment: &[(&str, String)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("scratch is writable");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", program])
            .args(arguments)
            .current_dir(folder);
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        command.stderr(file.try_clone().expect("a descriptor"));
        if piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(file);
        }
        let child = spawn(command).unwrap_or_else(|error| panic!("{name}: cannot start: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
            ended: None,
        }
    }

    /// The operating system's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// All that the log holds now.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("our own child");
        }
        self.ended.is_none()
    }

    /// Waits until `condition` holds of its log; panics, log and all, when it does not within `limit` or
    /// when the process ends.
    #[track_caller]
    pub fn wait_for_log(&mut self, what: &str, limit: Duration, condition: impl Fn(&str) -> bool) {
        self.wait_for(what, limit, |process| condition(&process.log()));
    }

    /// Waits until `condition` holds; panics, log and all, when it does not within `limit` or when the
    /// process ends first.
    #[track_caller]
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) {
        let deadline = Deadline::after(limit);
        while !condition(self) {
            let running = self.running();
            if !running || deadline.passed() {
                let state = if running { "still runs" } else { "ended" };
                panic!("{}: waited {limit:?} for {what}; it {state}", self.name);
            }
            pause(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and returns at once.
    pub fn begin_terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// SIGTERM, then the exit status; panics when it has not ended within `limit`.
    #[track_caller]
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let deadline = Deadline::after(limit);
        while self.running() {
            assert!(
                !deadline.passed(),
                "{} did not end within {limit:?} of SIGTERM",
                self.name
            );
            pause(Duration::from_millis(10));
        }
        self.ended.expect("it ended")
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        if self.running() {
            self.child.kill().expect("our own child");
            self.ended = Some(self.child.wait().expect("our own child"));
        }
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Deadline::after(limit);
        while self.running() {
            assert!(
                !deadline.passed(),
                "{} did not end within {limit:?}",
                self.name
            );
            pause(Duration::from_millis(10));
        }
        self.ended.expect("it ended")
    }

    /// Stops (`true`) or continues (`false`) it, as a machine that hangs.
    pub fn freeze(&mut self, frozen: bool) {
        self.signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    fn signal(&mut self, signal: Signal) {
        if self.running() {
            let pid = i32::try_from(self.pid())
                .ok()
                .and_then(Pid::from_raw)
                .expect("a process id");
            kill_process(pid, signal).expect("our own child");
        }
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap_or_default();
        let kib = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!(
                "---- {} (end of {}) ----\n{}",
                self.name,
                self.log.display(),
                tail.join("\n")
            );
        }
        self.kill();
    }
}
