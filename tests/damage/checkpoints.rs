//! The checkpoint: missing, cut, flipped, old, both generations gone, of another log.
//!
//! Whatever happens to it, the log opens, nothing undelivered is missing, and nothing is called lost. What
//! it costs is duplicates: blocks between the cursor that was and the one that is used.

use flumen::channel::wal::Checkpoint;
use flumen::reactor::Defence;

use crate::log::{Written, checkpoint_path, load_checkpoint, open_and_drain};
use crate::segments::several;
use crate::still::Still;
use crate::verdict::judge;

/// The checkpoint of generation `index`: that many blocks are delivered.
fn generation(written: &Written, index: usize) -> Checkpoint {
    let mut checkpoint = written.delivered_before(index);
    checkpoint.generation = index as u64;
    checkpoint
}

/// A box with the log and the generations 9 and 10.
fn two_generations(written: &Written) -> Still {
    let world = written.world(&[]);
    for index in [9, 10] {
        let checkpoint = generation(written, index);
        world.put(&checkpoint_path(checkpoint.generation), checkpoint.encode());
    }
    world
}

/// Opens with whatever a start takes for the checkpoint, which must be `expected`.
fn check(written: &Written, world: &Still, expected: Option<u64>, what: &str) {
    let loaded = load_checkpoint(world);
    let generation = loaded.as_ref().map(|checkpoint| checkpoint.generation);
    assert_eq!(generation, expected, "{what}");
    let tally = judge(written, world, loaded.as_ref());
    let tally = tally.unwrap_or_else(|reason| panic!("{what}: {reason}"));
    assert_eq!(tally.lost_blocks, 0, "{what}");
}

/// Every way to hurt a file of these bytes: cut at each length, each bit flipped, each byte zeroed, more
/// bytes behind it.
fn hurt(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let cut = (0..bytes.len()).map(|length| (format!("cut to {length}"), bytes[..length].to_vec()));
    let flipped = (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit} flipped"), flipped)
    });
    let values = (0..bytes.len()).flat_map(|at| [(at, 0), (at, 0xff)]);
    let altered = values.filter(|(at, value)| bytes[*at] != *value);
    let altered = altered.map(|(at, value)| {
        let mut altered = bytes.to_vec();
        altered[at] = value;
        (format!("byte {at} made {value}"), altered)
    });
    let longer = [1, 4, 512].map(|more| {
        let mut longer = bytes.to_vec();
        longer.resize(bytes.len() + more, 0);
        (format!("{more} zeros longer"), longer)
    });
    cut.chain(flipped).chain(altered).chain(longer)
}

#[test]
fn a_hurt_generation_leaves_the_other_one() {
    let written = several(41);
    for (victim, left) in [(10, 9), (9, 10)] {
        let path = checkpoint_path(victim);
        let bytes = generation(&written, usize::try_from(victim).unwrap()).encode();
        for (what, bytes) in hurt(&bytes) {
            let world = two_generations(&written);
            world.put(&path, bytes);
            check(
                &written,
                &world,
                Some(left),
                &format!("generation {victim} {what}"),
            );
        }
        let world = two_generations(&written);
        world.take(&path);
        check(
            &written,
            &world,
            Some(left),
            &format!("generation {victim} missing"),
        );
    }
}

#[test]
fn both_generations_hurt_cost_a_scan() {
    let written = several(42);
    let older = generation(&written, 9).encode();
    let newer = generation(&written, 10).encode();
    for ((what, older), (_, newer)) in hurt(&older).zip(hurt(&newer)) {
        let world = two_generations(&written);
        world.put(&checkpoint_path(9), older);
        world.put(&checkpoint_path(10), newer);
        check(&written, &world, None, &format!("both {what}"));
    }
    check(&written, &written.world(&[]), None, "both missing");
}

#[test]
fn every_older_generation_opens_the_log() {
    let written = several(43);
    for index in 1..written.entries.len() {
        // Older cursors, and older ends.
        let mut older = written.checkpoint_before(index);
        older.generation = 1;
        for delivered in 0..index {
            let cursor = generation(&written, delivered).shards[0].cursors.clone();
            older.shards[0].cursors = cursor;
            let world = written.world(&[]);
            world.put(&checkpoint_path(1), older.encode());
            check(
                &written,
                &world,
                Some(1),
                &format!("of block {index}, cursor {delivered}"),
            );
        }
    }
}

/// A cursor at each event of each block: the rest of the block comes, and no event is called lost.
fn cursors_in_blocks(lacks: &[Defence]) -> Result<(), String> {
    let written = several(44);
    for index in 0..written.entries.len() {
        let header = &written.entries[index].header;
        for event in 0..u64::from(header.event_count) {
            let mut checkpoint = generation(&written, index);
            checkpoint.shards[0].cursors[0].1.event = header.first_event + event;
            judge(&written, &written.world(lacks), Some(&checkpoint))
                .map_err(|reason| format!("event {event} of block {index}: {reason}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_cursor_at_any_event_gives_the_rest() {
    cursors_in_blocks(&[]).unwrap();
}

#[test]
fn without_cursors_in_blocks_a_block_is_called_lost() {
    println!(
        "found: {}",
        cursors_in_blocks(&[Defence::CursorInBlock]).unwrap_err()
    );
}

/// The checkpoint of another log, which has gone further than this one in every number but its own.
fn of_another_log(lacks: &[Defence]) -> Result<(), String> {
    let (written, other) = (several(45), several(46));
    let last = other.entries.len() - 1;
    let mut foreign = generation(&other, last);
    foreign.shards[0].end.segment = written.checkpoint.shards[0].end.segment;
    let found = open_and_drain(&written.world(lacks), Some(&foreign));
    let found = found.map_err(|error| error.to_string())?;
    match (
        found.blocks.len() == written.entries.len(),
        found.lost_blocks,
    ) {
        (true, 0) => Ok(()),
        (_, lost) => Err(format!(
            "{} blocks arrived, {lost} are called lost",
            found.blocks.len()
        )),
    }
}

#[test]
fn a_checkpoint_of_another_log_is_not_believed() {
    of_another_log(&[]).unwrap_or_else(|reason| panic!("{reason}"));
}

#[test]
fn without_that_its_cursor_hides_events() {
    println!(
        "found: {}",
        of_another_log(&[Defence::CheckpointFits]).unwrap_err()
    );
}
