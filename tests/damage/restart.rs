//! A collector whose file channel fills while its sink has nowhere to write, is stopped, meets what a
//! test did to its files, and delivers. One shard, so that the files are few.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flumen::channel::wal::Checkpoint;

use crate::support::conf::{avro_to_file_channel, file_roll_sink, prefixed};
use crate::support::event::Identity;
use crate::support::oracle::Findings;
use crate::support::{
    Compression, FlumenProcess, Oracle, RpcClient, Scratch, Status, TestEvent, file_roll,
    free_port, wait_until,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Events of one batch.
pub(crate) const BATCH: u64 = 10;

/// The collector and its folders.
pub(crate) struct Site {
    flumen: FlumenProcess,
    port: u16,
    scratch: Scratch,
    oracle: Oracle,
    sent: u64,
    body_bytes: usize,
}

impl Site {
    /// Starts it with further lines for the channel: `key = value`.
    pub(crate) fn start(keys: &str) -> Self {
        let scratch = Scratch::new("restart");
        // A folder to the configuration's check, and nobody can create a file in it.
        std::os::unix::fs::symlink("/proc/self", scratch.path().join("out"))
            .expect("scratch is writable");
        let port = free_port();
        let conf = conf(port, scratch.path(), keys);
        let flumen = FlumenProcess::start_with(&conf, "a", &[("flumen.shards", "1")], &[]);
        Self {
            flumen,
            port,
            scratch,
            oracle: Oracle::new(),
            sent: 0,
            body_bytes: 200,
        }
    }

    /// Bodies of this many bytes from here on.
    pub(crate) fn large(&mut self, body_bytes: usize) {
        self.body_bytes = body_bytes;
    }

    /// Other lines for the channel, from the next start on.
    pub(crate) fn configure(&mut self, keys: &str) {
        let text = conf(self.port, self.scratch.path(), keys);
        let path = self.flumen.folder().join("conf/flume.properties");
        fs::write(path, text).expect("scratch is writable");
    }

    /// Puts `batches` of ten events; each is acknowledged.
    pub(crate) fn put(&mut self, batches: u64) {
        let mut client = RpcClient::connect(self.port, Compression::None).expect("it listens");
        for _ in 0..batches {
            let first = self.sent;
            let one = |number| {
                let identity = Identity {
                    prefix: "restart".to_owned(),
                    connection: 0,
                    number,
                };
                TestEvent::with_identity(&identity, self.body_bytes)
            };
            let events: Vec<TestEvent> = (first..first + BATCH).map(one).collect();
            let status = client.append_batch(&events).expect("it answers");
            assert_eq!(status, Status::Ok, "batch at {first}");
            self.oracle
                .acknowledged("restart", 0, first, first + BATCH - 1);
            self.sent += BATCH;
        }
    }

    /// Waits until a checkpoint on disk says that the log ends behind all that was put.
    pub(crate) fn wait_for_end_in_checkpoint(&self) {
        self.wait_for_checkpoint("the end of the log", |entry| entry.end.event);
    }

    /// Waits until a checkpoint on disk says that all that was put is delivered.
    pub(crate) fn wait_for_cursor_in_checkpoint(&self) {
        self.wait_for_checkpoint("the cursor", |entry| entry.cursors[0].1.event);
    }

    fn wait_for_checkpoint(
        &self,
        what: &str,
        number: impl Fn(&flumen::channel::wal::ShardCheckpoint) -> u64,
    ) {
        wait_until(&format!("{what} in a checkpoint"), LIMIT, || {
            self.generations()
                .iter()
                .any(|(checkpoint, _)| number(&checkpoint.shards[0]) == self.sent)
        });
    }

    /// The generations on disk with their files, older first.
    pub(crate) fn generations(&self) -> Vec<(Checkpoint, PathBuf)> {
        let mut found: Vec<(Checkpoint, PathBuf)> = ["checkpoint-0", "checkpoint-1"]
            .into_iter()
            .map(|name| self.checkpoint_folder().join(name))
            .filter_map(|path| Some((Checkpoint::decode(&fs::read(&path).ok()?)?, path)))
            .collect();
        found.sort_by_key(|(checkpoint, _)| checkpoint.generation);
        found
    }

    pub(crate) fn checkpoint_folder(&self) -> PathBuf {
        self.scratch.path().join("wal/checkpoint")
    }

    /// The folder of the one shard.
    pub(crate) fn shard_folder(&self) -> PathBuf {
        self.scratch.path().join("wal/data/shard-000")
    }

    /// From here on, or from the next start on, the sink has a folder to write to.
    pub(crate) fn let_deliver(&self) {
        let out = self.scratch.path().join("out");
        if out.is_symlink() {
            fs::remove_file(out).expect("our own link");
        }
        self.scratch.folder("out");
    }

    /// Waits until all that was put has arrived.
    pub(crate) fn wait_for_delivery(&mut self) {
        let (oracle, output) = (&mut self.oracle, self.scratch.path().join("out"));
        wait_until("every acknowledged event in the output", LIMIT, || {
            oracle.forget_arrivals();
            file_roll::show(&output, oracle);
            oracle.complete()
        });
    }

    /// An orderly stop.
    pub(crate) fn stop(&mut self) {
        assert!(self.flumen.stop().success(), "an orderly stop");
    }

    pub(crate) fn kill(&mut self) {
        self.flumen.kill();
    }

    pub(crate) fn start_again(&mut self) {
        self.flumen.launch();
    }

    /// What it has said since its last start.
    pub(crate) fn log(&self) -> String {
        self.flumen.log()
    }

    /// Starts it again, lets it deliver, stops it: everything arrived, unaltered and in order.
    pub(crate) fn deliver(&mut self) -> Findings {
        self.let_deliver();
        self.start_again();
        self.wait_for_delivery();
        self.stop();
        self.look()
    }

    /// What has arrived by now.
    pub(crate) fn look(&mut self) -> Findings {
        self.oracle.forget_arrivals();
        file_roll::show(&self.scratch.path().join("out"), &mut self.oracle);
        self.oracle.assert_in_order();
        self.oracle.assert_nothing_lost()
    }
}

fn conf(port: u16, folder: &Path, keys: &str) -> String {
    let lines: String = keys
        .lines()
        .map(|line| format!("channels.c.{}\n", line.trim()))
        .collect();
    avro_to_file_channel("a", port, &folder.join("wal"), "k")
        .replace("maxFileSize = 16777216", "maxFileSize = 4194304")
        + &prefixed("a", "channels.c.checkpointInterval = 1000")
        + &prefixed("a", &lines)
        + &file_roll_sink("a", &folder.join("out"))
}
