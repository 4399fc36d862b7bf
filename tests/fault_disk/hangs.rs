//! What does flumen do while a disk does not answer? It waits for a slow one, gives up one that hangs, and
//! takes it back when it answers.

use std::time::Duration;

use crate::caller::Outcome;
use crate::disk::FileSystem::{self, Ext4, Ext4Lazytime, Xfs};
use crate::disk::{Effect, Operation, Rule};
use crate::random::environment;
use crate::trial::{HANG_LIMIT, Trial, count, layout, rest};

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
