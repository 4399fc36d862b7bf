//! Do the lanes see it when a defence is missing? Each test takes one away (`FLUMEN_WITHOUT`, debug
//! builds) and looks until the lane finds what that does, within a bound.

use std::time::Duration;

use crate::bench::{Bench, CheckpointOn, Layout, Sink};
use crate::caller::Outcome;
use crate::disk::{FileSystem, Operation, Part, Rule};
use crate::random::Random;
use crate::replay::{Tally, look_at_cuts};
use crate::trial::{EIO, Trial};

/// Power cuts looked at before a missing defence counts as unseen.
const STATES_MAX: u32 = 200;

/// Looks at power cuts without this defence until they find `what`.
fn seen_by_power_cuts(defence: &str, sink: Sink, what: &str) {
    let name = format!("without-{defence}");
    let Some(mut bench) = Bench::new(&name, FileSystem::Ext4, defence) else {
        return;
    };
    let (mut random, mut tally) = (Random(1), Tally::default());
    while tally.states < STATES_MAX {
        let looked = look_at_cuts(&mut bench, sink, 12, &mut random, &mut tally);
        if let Err(wrong) = looked {
            println!(
                "without {defence}: found after {} cuts: {wrong}",
                tally.states
            );
            assert!(wrong.contains(what), "{wrong}");
            return;
        }
    }
    panic!("without {defence}, {STATES_MAX} power cuts lost nothing: this lane would not see it");
}

#[test]
fn a_write_without_its_flush_is_seen() {
    seen_by_power_cuts("flush", Sink::Missing, "acknowledged events lost");
}

#[test]
fn an_answer_before_the_write_is_seen() {
    seen_by_power_cuts("ack-after-write", Sink::Missing, "acknowledged events lost");
}

#[test]
fn a_torn_block_that_is_taken_for_whole_is_seen() {
    // What comes out depends on where the block was torn: altered events, or a sink that finds no event
    // where one should begin.
    seen_by_power_cuts("payload-checksum", Sink::Missing, "");
}

#[test]
fn a_segment_that_is_written_after_a_failure_is_seen() {
    let layout = Layout {
        name: "without-failed-segment-ends",
        data: &[FileSystem::Ext4],
        checkpoint: CheckpointOn::Memory(1 << 20),
        output_bytes: None,
        without: "failed-segment-ends",
    };
    let Some(trial) = Trial::start(layout, 2, 300) else {
        return;
    };
    let rule = Rule::on(Operation::Write, EIO).of(Part::Blocks).times(1);
    trial.bench.place().disk().inject(rule);
    trial.wait_for(Outcome::Ok, 50, Duration::from_secs(20));
    let wrong = trial
        .bench
        .place()
        .disk()
        .take_log()
        .written_after_failure();
    assert!(
        !wrong.is_empty(),
        "nothing was written to the segment that failed"
    );
}
