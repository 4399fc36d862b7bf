//! What does flumen do when the system gives it no more: descriptors, memory, file size?

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{CheckpointOn, Layout};
use crate::caller::Outcome;
use crate::disk::FileSystem;
use crate::support::wait_until;
use crate::trial::{ANSWER_LIMIT, RECOVERY_LIMIT, Trial, count, rest};

fn trial(name: &str) -> Option<Trial> {
    let layout = Layout {
        name,
        data: &[FileSystem::Ext4],
        checkpoint: CheckpointOn::DataDisk,
        output_bytes: None,
        without: "",
    };
    // Large enough that segments roll all the time: each roll opens and makes files.
    Trial::start(layout, 2, 20_000)
}

/// Sets a limit of the running process.
fn set(trial: &mut Trial, limit: &str) {
    let pid = trial.bench.collector().process().pid().to_string();
    let done = Command::new("prlimit")
        .args(["--pid", &pid, limit])
        .status();
    assert!(done.expect("util-linux is here").success(), "{limit}");
}

fn descriptors(trial: &mut Trial) -> usize {
    let pid = trial.bench.collector().process().pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
    open.map_or(0, Iterator::count)
}

#[test]
fn without_descriptors_batches_are_refused_until_there_are_some() {
    let Some(mut trial) = trial("descriptors") else {
        return;
    };
    // The lowest free number decides, so everything above what is open now fails.
    let open = descriptors(&mut trial);
    set(&mut trial, &format!("--nofile={open}:"));
    let before = trial.now();
    rest(Duration::from_secs(6));
    let answers = trial.since(before);
    assert!(answers.len() > 5, "{} answers", answers.len());
    set(&mut trial, "--nofile=10000:");
    trial.wait_for(Outcome::Ok, 20, RECOVERY_LIMIT + Duration::from_secs(10));
    trial.wait_ready();
    trial.end(Duration::from_secs(20));
}

/// What a log asks of the kernel beside its ring: making, naming, listing and flushing files.
const FILE_CALLS: &str =
    "openat,fallocate,ftruncate,fsync,fdatasync,rename,renameat2,unlink,getdents64,statfs,fstatfs";

/// Answers the collector's [`FILE_CALLS`] with ENOMEM in the kernel's place, until it is told to stop.
struct NoMemory(Child);

impl NoMemory {
    fn begin(trial: &mut Trial) -> Self {
        let pid = trial.bench.collector().process().pid().to_string();
        let strace = Command::new("strace")
            .args(["--follow-forks", "--attach", &pid, "--output", "/dev/null"])
            .args(["--trace", FILE_CALLS])
            .args(["--inject", &format!("{FILE_CALLS}:error=ENOMEM")])
            .stderr(Stdio::null())
            .spawn();
        Self(strace.expect("strace is here"))
    }
}

impl Drop for NoMemory {
    fn drop(&mut self) {
        // Asked to end, it lets go of the collector; killed, it might not.
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).expect("strace runs");
        self.0.wait().expect("strace ends");
    }
}

#[test]
fn without_memory_in_the_kernel_the_collector_stays_and_loses_nothing() {
    let Some(mut trial) = trial("memory") else {
        return;
    };
    let no_memory = NoMemory::begin(&mut trial);
    let collector = trial.bench.collector();
    wait_until("the kernel's refusal", Duration::from_secs(30), || {
        collector.log().contains("Cannot allocate memory")
    });
    let before = trial.now();
    rest(Duration::from_secs(5));
    let answers = trial.since(before);
    assert!(!answers.is_empty(), "somebody is answered");
    drop(no_memory);
    trial.wait_for(Outcome::Ok, 20, RECOVERY_LIMIT + Duration::from_secs(10));
    trial.wait_ready();
    trial.end(Duration::from_secs(20));
}

#[test]
fn a_short_write_is_a_failed_write() {
    let Some(mut trial) = trial("short-write") else {
        return;
    };
    // In the middle of a segment: the write that crosses it is short, the next one is refused. The
    // segment in use may be past it already; then it is the next one's.
    set(&mut trial, "--fsize=2101248:");
    trial.wait_for(Outcome::Failed, 3, Duration::from_secs(20));
    let collector = trial.bench.collector();
    wait_until("a short write", Duration::from_secs(40), || {
        collector.log().contains("short write")
    });
    set(&mut trial, "--fsize=unlimited:");
    trial.recovers();
    let attempts = trial.end(ANSWER_LIMIT);
    assert_eq!(
        count(&attempts, Outcome::Silence),
        0,
        "each call is answered"
    );
}
