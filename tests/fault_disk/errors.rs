//! What does flumen do while a disk fails? It answers in time, never exits, never trusts a descriptor
//! that failed, and serves again by itself.

use std::time::Duration;

use crate::bench::{Bench, CheckpointOn, Layout, Sink};
use crate::caller::Outcome;
use crate::disk::{Effect, FileSystem, Operation, Part, Rule};
use crate::random::environment;
use crate::recording::{show, verdict};
use crate::support::load::{Load, LoadPlan};
use crate::support::{Deadline, Oracle, wait_until};
use crate::trial::{ANSWER_LIMIT, EIO, HANG_LIMIT, Trial, count, rest};

use FileSystem::{Ext4, Ext4Lazytime, Xfs};

/// The checkpoint lies elsewhere, so that only the log meets the fault.
fn layout<'a>(name: &'a str, data: &'a [FileSystem]) -> Layout<'a> {
    Layout {
        name,
        data,
        checkpoint: CheckpointOn::Memory(1 << 20),
        output_bytes: None,
        without: "",
    }
}

/// One fault on the only disk: FAILED at once, and served again without help.
fn once_on_the_only_disk(name: &str, file_system: FileSystem, rule: Rule) {
    let Some(mut trial) = Trial::start(layout(name, &[file_system]), 2, 300) else {
        return;
    };
    trial.bench.place().disk().inject(rule);
    trial.wait_for(Outcome::Failed, 5, Duration::from_secs(5));
    trial.wait_unready("no healthy data directory");
    trial.recovers();
    assert_eq!(trial.bench.place().disk().hits(), 1, "one fault");
    let attempts = trial.end(ANSWER_LIMIT);
    assert_eq!(
        count(&attempts, Outcome::Silence),
        0,
        "each call is answered"
    );
}

#[test]
fn a_write_error_on_the_only_disk_is_answered_failed_and_passes() {
    for file_system in FileSystem::ALL {
        let rule = Rule::on(Operation::Write, EIO).of(Part::Blocks).times(1);
        once_on_the_only_disk("write-error", file_system, rule);
    }
}

#[test]
fn a_flush_that_fails_and_then_works_is_not_believed() {
    for file_system in FileSystem::ALL {
        let rule = Rule::on(Operation::Flush, EIO).of(Part::Blocks).times(1);
        once_on_the_only_disk("flush-error", file_system, rule);
    }
}

/// A fault of one of two disks: nobody is told FAILED, the other disk takes over.
fn one_of_two(name: &str, rule: Rule) {
    let Some(mut trial) = Trial::start(layout(name, &[Ext4, Xfs]), 2, 300) else {
        return;
    };
    // The log may be on either disk at the moment.
    let before = trial.now();
    for place in &trial.bench.places {
        place.disk().inject(rule.clone());
        rest(Duration::from_millis(1_500));
        place.disk().heal();
        rest(Duration::from_secs(6));
    }
    let answers = trial.since(before);
    assert!(
        count(&answers, Outcome::Ok) > 100,
        "{} answers",
        answers.len()
    );
    let refused = answers.len() - count(&answers, Outcome::Ok);
    assert_eq!(refused, 0, "the other disk was there all the time");
    trial.recovers();
    let hits: u64 = trial
        .bench
        .places
        .iter()
        .map(|place| place.disk().hits())
        .sum();
    assert!(hits > 0, "the fault was met");
    trial.end(ANSWER_LIMIT);
}

#[test]
fn a_write_error_on_one_of_two_disks_is_nobodys_business() {
    let rule = Rule::on(Operation::Write, EIO).of(Part::Blocks).times(1);
    one_of_two("write-error-of-two", rule);
}

#[test]
fn a_flush_error_on_one_of_two_disks_is_nobodys_business() {
    let rule = Rule::on(Operation::Flush, EIO).of(Part::Blocks).times(1);
    one_of_two("flush-error-of-two", rule);
}

#[test]
fn a_dead_disk_of_two_leaves_the_other() {
    let Some(trial) = Trial::start(layout("dead", &[Ext4, Ext4]), 2, 3_000) else {
        return;
    };
    let before = trial.now();
    // Dead for good: its journal aborts, and nothing brings the file system back under a process.
    trial.bench.places[0].disk().inject(Rule::every(EIO));
    rest(Duration::from_secs(15));
    let answers = trial.since(before);
    let refused = answers.len() - count(&answers, Outcome::Ok);
    assert!(
        count(&answers, Outcome::Ok) > 300,
        "{} answers",
        answers.len()
    );
    assert_eq!(refused, 0, "the other disk was there all the time");
    trial.bench.places[0].disk().heal();
    trial.end(ANSWER_LIMIT);
}

/// How long a disk hangs: well beyond the collector's patience.
fn hang() -> Duration {
    Duration::from_secs(environment("FLUMEN_FAULT_DISK_HANG_S", 12))
}

#[test]
fn a_disk_of_two_that_hangs_is_given_up_and_taken_back() {
    let Some(mut trial) = Trial::start(layout("hang-of-two", &[Ext4Lazytime, Xfs]), 2, 300) else {
        return;
    };
    for number in 0..2 {
        let disk = trial.bench.places[number].disk().clone();
        let before = trial.now();
        disk.inject(Rule::every(Effect::Delay(hang())));
        rest(HANG_LIMIT);
        let later = trial.now();
        rest(hang().saturating_sub(HANG_LIMIT));
        let refused = |answers: &[_]| answers.len() - count(answers, Outcome::Ok);
        assert!(
            refused(&trial.since(before)) <= 2,
            "the block that hung, one call a client"
        );
        let answers = trial.since(later);
        assert!(
            count(&answers, Outcome::Ok) > 100,
            "{} answers",
            answers.len()
        );
        assert_eq!(refused(&answers), 0, "the other disk takes over");
        trial.heal();
        rest(Duration::from_secs(6));
    }
    trial.end(HANG_LIMIT);
}

fn the_only_disk_hangs(file_system: FileSystem) {
    let Some(mut trial) = Trial::start(layout("hang", &[file_system]), 2, 300) else {
        return;
    };
    let disk = trial.bench.place().disk().clone();
    disk.inject(Rule::every(Effect::Delay(hang())));
    trial.wait_for(Outcome::Failed, 1, HANG_LIMIT);
    trial.wait_unready("no healthy data directory");
    let before = trial.now();
    trial.wait_for(Outcome::Failed, 20, Duration::from_secs(3));
    let answers = trial.since(before);
    assert!(
        answers
            .iter()
            .all(|answer| answer.took < Duration::from_secs(1))
    );
    rest(hang().saturating_sub(trial.now()));
    trial.heal();
    let attempts = trial.end(HANG_LIMIT);
    assert_eq!(
        count(&attempts, Outcome::Silence),
        0,
        "each call is answered"
    );
}

#[test]
fn the_only_disk_hangs_and_clients_are_told_in_time() {
    for file_system in [Ext4Lazytime, Xfs] {
        the_only_disk_hangs(file_system);
    }
}

#[test]
fn a_slow_disk_is_waited_for() {
    let Some(trial) = Trial::start(layout("slow", &[Ext4]), 2, 300) else {
        return;
    };
    let slow = Rule::on(Operation::Write, Effect::Delay(Duration::from_millis(100)));
    trial.bench.place().disk().inject(slow);
    trial.wait_for(Outcome::Ok, 20, Duration::from_secs(20));
    trial.bench.place().disk().heal();
    let slow = Rule::on(Operation::Write, Effect::Delay(Duration::from_secs(3))).times(1);
    trial.bench.place().disk().inject(slow);
    trial.wait_for(Outcome::Ok, 20, Duration::from_secs(20));
    let attempts = trial.end(HANG_LIMIT);
    assert_eq!(count(&attempts, Outcome::Failed), 0, "slow is not dead");
}

#[test]
fn a_backlog_that_cannot_be_read_waits_until_it_can() {
    // Longer than a lagging sink insists on a sector before it counts as damaged.
    for (file_system, time) in [(Ext4, 3), (Xfs, 35)] {
        let Some(mut bench) = Bench::with(layout("read-error", &[file_system])) else {
            return;
        };
        bench.start(Sink::Missing).expect("a start");
        let mut plan = LoadPlan::new("backlog", bench.port(), 2, 20);
        (plan.batches, plan.body_bytes) = (200, 2_000);
        let mut oracle = Oracle::new();
        Load::start(plan).finish(&mut oracle);
        bench.collector().kill();
        bench.start(Sink::Files).expect("a start");
        bench.place().disk().inject(Rule::on(Operation::Read, EIO));
        rest(Duration::from_secs(time));
        bench.place().disk().heal();
        let probe = bench.serves(Duration::from_secs(60)).expect("it serves");
        oracle.acknowledged(&probe.prefix, 0, 0, 0);
        show(&mut oracle, &bench.output());
        if let Some(wrong) = verdict(&oracle.findings()) {
            panic!("{wrong}");
        }
        assert!(bench.place().disk().hits() > 0, "the fault was met");
    }
}

/// The checkpoint's own disk fails or hangs: batches are taken and delivered all the same.
fn without_a_checkpoint(name: &str, rule: Rule, time: Duration) {
    let layout = Layout {
        checkpoint: CheckpointOn::OwnDisk,
        ..layout(name, &[Ext4])
    };
    let Some(mut trial) = Trial::start(layout, 2, 3_000) else {
        return;
    };
    let before = trial.now();
    trial.bench.places[1].disk().inject(rule);
    rest(time);
    let answers = trial.since(before);
    assert!(
        count(&answers, Outcome::Ok) > 100,
        "{} answers",
        answers.len()
    );
    let refused = answers.len() - count(&answers, Outcome::Ok);
    assert_eq!(refused, 0, "a checkpoint is never needed to store");
    trial.heal();
    trial.end(ANSWER_LIMIT);
}

#[test]
fn a_dead_checkpoint_disk_stops_nothing() {
    without_a_checkpoint("checkpoint-dead", Rule::every(EIO), Duration::from_secs(8));
}

#[test]
fn a_checkpoint_disk_that_hangs_stops_no_batch() {
    let hang = Rule::every(Effect::Delay(Duration::from_secs(30)));
    without_a_checkpoint("checkpoint-hangs", hang, Duration::from_secs(8));
}

#[test]
fn a_full_checkpoint_disk_stops_nothing_and_is_written_again() {
    let Some(mut trial) = Trial::start(layout("checkpoint-full", &[Ext4]), 2, 3_000) else {
        return;
    };
    let folder = trial.bench.checkpoint.clone();
    let fill = format!("cd {}; cat /dev/zero > filler; true", folder.display());
    trial.bench.place().script(&fill).expect("it fills up");
    trial.wait_for(Outcome::Ok, 100, Duration::from_secs(20));
    let collector = trial.bench.collector();
    wait_until(
        "the checkpoint error in the log",
        Duration::from_secs(10),
        || collector.log().contains("No space left on device"),
    );
    let free = format!("rm {}/filler", folder.display());
    trial.bench.place().script(&free).expect("our own file");
    let written = || {
        let newest = format!(
            "test -n \"$(find {} -newermt '-1 second' -name 'checkpoint-*')\"",
            folder.display()
        );
        trial.bench.place().script(&newest).is_ok()
    };
    wait_until("a new checkpoint", Duration::from_secs(10), written);
    trial.end(ANSWER_LIMIT);
}

#[test]
fn a_disk_fills_and_drains_and_fills_again() {
    let cycles = environment("FLUMEN_FAULT_DISK_CYCLES", 3);
    let layout = Layout {
        output_bytes: Some(512 << 20),
        ..layout("fills", &[Ext4])
    };
    let Some(mut trial) = Trial::start(layout, 3, 20_000) else {
        return;
    };
    let data = trial.bench.place().mount_point();
    let leave = format!("fallocate -l 90M {}/filler", data.display());
    trial.bench.place().script(&leave).expect("there is room");
    let output = trial.bench.output_inside().to_owned();
    for cycle in 0..cycles {
        let sink_full = format!(
            "cd {}; cat /dev/zero > ../output/.filler; true",
            output.display()
        );
        trial.bench.place().script(&sink_full).expect("it fills up");
        trial.wait_for(Outcome::Failed, 10, Duration::from_secs(60));
        trial.wait_unready("usable space exhausted");
        let free = format!("rm {}/.filler", output.display());
        trial.bench.place().script(&free).expect("our own file");
        let clock = Deadline::after(Duration::MAX);
        trial.recovers();
        println!("cycle {cycle}: served again after {:?}", clock.elapsed());
    }
    let attempts = trial.end(ANSWER_LIMIT);
    assert_eq!(
        count(&attempts, Outcome::Silence),
        0,
        "each call is answered"
    );
}
