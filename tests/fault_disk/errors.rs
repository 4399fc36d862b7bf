//! What does flumen do while a disk fails? It answers in time, never exits, never trusts a descriptor
//! that failed, and serves again by itself.

use std::time::Duration;

use crate::bench::{Bench, CheckpointOn, Layout, Sink};
use crate::caller::Outcome;
use crate::disk::FileSystem::{self, Ext4, Xfs};
use crate::disk::{Effect, Operation, Part, Rule};
use crate::recording::{show, verdict};
use crate::support::Oracle;
use crate::support::load::{Load, LoadPlan};
use crate::trial::{ANSWER_LIMIT, EIO, Trial, count, layout, rest};

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
