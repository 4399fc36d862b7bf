//! A collector with a log to look at, and `flumen wal` as an operator starts it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::conf::{avro_to_file_channel, prefixed};
use crate::support::event::{Identity, TestEvent};
use crate::support::{
    Compression, FlumenProcess, Oracle, RpcClient, Scratch, Status, free_port, wait_until,
};

/// Bytes of the header of a segment.
pub const SEGMENT_HEADER: u64 = 4096;

/// As on the smallest box, so that the tests know where each event is.
pub const ONE_SHARD: &[(&str, &str)] = &[("flumen.shards", "1")];

/// Agent `a` of `conf`, ready.
pub fn start(conf: &str) -> FlumenProcess {
    FlumenProcess::start_with(conf, "a", ONE_SHARD, &[])
}

/// What a command came to.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: Vec<u8>,
    pub error: String,
}

impl Answer {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.text(), self.error))
    }
}

/// `flumen wal` with these words.
pub fn wal(words: &[&str]) -> Answer {
    wal_without("", words)
}

/// The same with a defence taken away.
pub fn wal_without(defence: &str, words: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_flumen"))
        .arg("wal")
        .args(words)
        .env("FLUMEN_WITHOUT", defence)
        .output()
        .expect("flumen can be started");
    Answer {
        code: output.status.code().expect("it was not killed"),
        out: output.stdout,
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The directories of one file channel.
#[derive(Debug, Clone)]
pub struct Dirs {
    pub data: PathBuf,
    pub checkpoint: PathBuf,
}

impl Dirs {
    pub fn below(folder: &Path) -> Self {
        Self {
            data: folder.join("data"),
            checkpoint: folder.join("checkpoint"),
        }
    }

    /// `flumen wal COMMAND` on these directories, with more words.
    pub fn wal(&self, command: &str, words: &[&str]) -> Answer {
        self.wal_without("", command, words)
    }

    pub fn wal_without(&self, defence: &str, command: &str, words: &[&str]) -> Answer {
        let (data, checkpoint) = (
            self.data.display().to_string(),
            self.checkpoint.display().to_string(),
        );
        let mut all = vec![
            command,
            "--data-dir",
            &data,
            "--checkpoint-dir",
            &checkpoint,
        ];
        all.extend(words);
        wal_without(defence, &all)
    }

    /// A file of shard 0.
    pub fn segment(&self, slot: u64) -> PathBuf {
        self.data.join(format!("shard-000/segment-{slot:08}.wal"))
    }

    /// A copy below `folder`, for one kind of damage.
    pub fn copy(&self, folder: &Path) -> Self {
        let copy = Self::below(folder);
        copy_folder(&self.data, &copy.data);
        copy_folder(&self.checkpoint, &copy.checkpoint);
        copy
    }
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("scratch is writable");
    for entry in fs::read_dir(from).expect("it is a folder") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().expect("an entry has a name");
        match path.is_dir() {
            true => copy_folder(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).expect("it can be copied")),
        }
    }
}

/// Every file below `folder`, with the checksum of its content.
pub fn fingerprints(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("it is a folder") {
            let path = entry.expect("it can be listed").path();
            match path.is_dir() {
                true => left.push(path),
                false => {
                    let content = fs::read(&path).expect("it can be read");
                    found.push((path, crc32c::crc32c(&content)));
                }
            }
        }
    }
    found.sort();
    found
}

/// Inverts one bit.
pub fn flip(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    let file = file.expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)
        .expect("inside the file");
    file.write_all_at(&[byte[0] ^ 0x10], offset)
        .expect("inside the file");
}

/// Writes these bytes.
pub fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("it is there");
    file.write_all_at(bytes, offset).expect("inside the file");
}

/// A configuration whose sink never delivers: nobody listens there. Segments of 4 MiB.
pub fn backlog_conf(port: u16, folder: &Path) -> String {
    let sink = "sinks.k.type = org.apache.flume.sink.kafka.KafkaSink\nsinks.k.channel = c\n\
                sinks.k.kafka.bootstrap.servers = 127.0.0.1:9\nsinks.k.kafka.topic = nowhere\n\
                sinks.k.kafka.producer.max.block.ms = 500\n\
                sinks.k.kafka.producer.request.timeout.ms = 300\n\
                sinks.k.kafka.producer.delivery.timeout.ms = 500\n";
    small_segments(&avro_to_file_channel("a", port, folder, "k")) + &prefixed("a", sink)
}

/// Segments of 4 MiB, so that a test sees many.
pub fn small_segments(conf: &str) -> String {
    conf.replace("maxFileSize = 16777216", "maxFileSize = 4194304")
}

/// Sends batches one after another on one connection, so that each becomes one block; all are
/// acknowledged.
pub fn send_blocks(port: u16, prefix: &str, blocks: u64, events: u64, oracle: &mut Oracle) {
    let mut client = RpcClient::connect(port, Compression::None).expect("it listens");
    for block in 0..blocks {
        let batch: Vec<TestEvent> = (block * events..(block + 1) * events)
            .map(|number| {
                let identity = Identity {
                    prefix: prefix.to_owned(),
                    connection: 0,
                    number,
                };
                TestEvent::with_identity(&identity, 500)
            })
            .collect();
        let status = client.append_batch(&batch).expect("an answer");
        assert_eq!(status, Status::Ok);
    }
    oracle.acknowledged(prefix, 0, 0, blocks * events - 1);
}

/// A log that was stopped in order: `blocks` blocks of `events` events, none delivered.
pub fn stopped_log(name: &str, blocks: u64, events: u64) -> (Scratch, Dirs, Oracle) {
    let scratch = Scratch::new(name);
    let folder = scratch.folder("wal");
    let port = free_port();
    let mut oracle = Oracle::new();
    let mut flumen = start(&backlog_conf(port, &folder));
    send_blocks(port, "log", blocks, events, &mut oracle);
    assert!(flumen.stop().success());
    (scratch, Dirs::below(&folder), oracle)
}

/// Waits until `show` finds all that was acknowledged.
pub fn wait_for_all(oracle: &mut Oracle, mut show: impl FnMut(&mut Oracle)) {
    wait_until("every acknowledged event", Duration::from_secs(60), || {
        oracle.forget_arrivals();
        show(oracle);
        oracle.complete()
    });
    oracle.assert_nothing_lost();
}
