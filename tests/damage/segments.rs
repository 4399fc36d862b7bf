//! Segment files: headers with any bit flipped, files cut short, missing, copied, renamed, exchanged.

use std::path::{Path, PathBuf};

use flumen::channel::wal::RecoveryError;
use flumen::reactor::Defence;

use crate::log::{Written, append, open_and_drain, write};
use crate::still::Still;
use crate::verdict::{Tally, judge};

const SEGMENT: u64 = 48 << 10;

/// A log over four segments.
pub(crate) fn several(seed: u64) -> Written {
    let sizes = [
        (2, 100),
        (3, 2000),
        (1, 60),
        (5, 3000),
        (1, 6000),
        (12, 700),
    ];
    let batches: Vec<(u64, usize)> = sizes.iter().cycle().take(16).copied().collect();
    let written = write(&Still::new(seed, &[]), SEGMENT, &batches);
    assert!(written.segments().len() > 3, "{}", written.segments().len());
    written
}

/// Judges the log, with and without a checkpoint, after `change` was done to its box.
fn check(written: &Written, lacks: &[Defence], change: impl Fn(&Still)) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for checkpoint in [Some(&written.checkpoint), None] {
        let world = written.world(lacks);
        change(&world);
        let how = if checkpoint.is_some() {
            "with"
        } else {
            "without"
        };
        let judged = judge(written, &world, checkpoint);
        tally.add(judged.map_err(|reason| format!("{how} a checkpoint: {reason}"))?);
    }
    Ok(tally)
}

fn paths(written: &Written) -> Vec<PathBuf> {
    written
        .segments()
        .into_iter()
        .map(Path::to_path_buf)
        .collect()
}

#[test]
fn no_bit_of_a_segment_header_costs_a_block() {
    let written = several(21);
    for path in paths(&written) {
        for bit in 0..4096 * 8 {
            // The fields, and a sample of the rest of the sector.
            if bit >= 72 * 8 && bit % 97 != 0 {
                continue;
            }
            let flipped = check(&written, &[], |world| {
                world.change(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            });
            let tally = flipped.unwrap_or_else(|reason| panic!("bit {bit}: {reason}"));
            assert_eq!((tally.harmless, tally.lost_blocks), (2, 0), "bit {bit}");
        }
    }
}

#[test]
fn a_header_that_went_to_another_segment_costs_no_block() {
    let written = several(22);
    for from in paths(&written) {
        for to in paths(&written) {
            let header = written.files[&from][..4096].to_vec();
            let strayed = check(&written, &[], |world| {
                world.change(&to, |bytes| bytes[..4096].copy_from_slice(&header));
            });
            let tally = strayed.unwrap_or_else(|reason| panic!("{from:?} on {to:?}: {reason}"));
            assert_eq!(tally.lost_blocks, 0, "{from:?} on {to:?}");
        }
    }
}

#[test]
fn a_sector_that_went_to_another_segment_costs_the_block_below() {
    let written = several(23);
    let step = if crate::long() { 4096 } else { 12288 };
    let segment = usize::try_from(SEGMENT).unwrap();
    for from in paths(&written) {
        for to in paths(&written).into_iter().filter(|to| *to != from) {
            for source in (4096..segment).step_by(4096) {
                for place in (0..segment).step_by(step) {
                    let sector = written.files[&from][source..source + 4096].to_vec();
                    let strayed = check(&written, &[], |world| {
                        let there = place..place + 4096;
                        world.change(&to, |bytes| bytes[there].copy_from_slice(&sector));
                    });
                    strayed.unwrap_or_else(|reason| {
                        panic!("{source} of {from:?} at {place} of {to:?}: {reason}")
                    });
                }
            }
        }
    }
}

#[test]
fn a_segment_cut_at_any_sector_costs_what_was_behind_the_cut() {
    let written = several(24);
    let step = if crate::long() { 1 } else { 512 };
    for path in paths(&written) {
        for length in (0..written.files[&path].len()).step_by(step) {
            let cut = check(&written, &[], |world| {
                world.change(&path, |bytes| bytes.truncate(length));
            });
            cut.unwrap_or_else(|reason| panic!("{path:?} cut to {length}: {reason}"));
        }
    }
}

/// The payload is gone and so is the file's header: the block's own header still says which segment it
/// is, and that the checkpoint speaks of this log.
#[test]
fn a_segment_known_by_a_cut_blocks_header_alone_is_known() {
    let written = several(31);
    for path in paths(&written) {
        for length in (4096..16384).step_by(512) {
            let cut = check(&written, &[], |world| {
                world.change(&path, |bytes| {
                    bytes[..4096].fill(0x5a);
                    bytes.truncate(length);
                });
            });
            cut.unwrap_or_else(|reason| panic!("{path:?} cut to {length}: {reason}"));
        }
    }
}

#[test]
fn any_segments_missing_cost_what_they_held() {
    let written = several(25);
    let paths = paths(&written);
    for subset in 0..1u32 << paths.len() {
        let missing = check(&written, &[], |world| {
            let gone = paths
                .iter()
                .enumerate()
                .filter(|(bit, _)| subset >> bit & 1 == 1);
            gone.for_each(|(_, path)| world.take(path));
        });
        missing.unwrap_or_else(|reason| panic!("segments {subset:b} missing: {reason}"));
    }
}

#[test]
fn names_of_segment_files_do_not_matter() {
    let written = several(26);
    let paths = paths(&written);
    let renamed = check(&written, &[], |world| {
        // Every file gets the name of the next one, the last one that of the first.
        for (path, next) in paths.iter().zip(paths.iter().cycle().skip(1)) {
            world.put(next, written.files[path].clone());
        }
    });
    // The ledger looks for blocks by name: nothing is where it was, and all of it arrives.
    let reason = renamed.unwrap_err();
    assert!(reason.contains("was hit and arrived"), "{reason}");
    let world = written.world(&[]);
    for (path, next) in paths.iter().zip(paths.iter().cycle().skip(1)) {
        world.put(next, written.files[path].clone());
    }
    let found = open_and_drain(&world, Some(&written.checkpoint)).unwrap();
    assert_eq!(
        (found.blocks.len(), found.lost_blocks),
        (written.entries.len(), 0)
    );
}

#[test]
fn a_copied_segment_stops_the_start_and_both_files_are_named() {
    let written = several(27);
    for path in paths(&written) {
        let world = written.world(&[]);
        let copy = path.with_file_name("segment-00000077.wal");
        world.put(&copy, written.files[&path].clone());
        let before = world.files();
        let refused = open_and_drain(&world, Some(&written.checkpoint)).unwrap_err();
        assert!(matches!(refused, RecoveryError::Twins { .. }), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("segment-00000077.wal"), "{said}");
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert_eq!(world.files(), before, "everything is as it was");
    }
}

/// What comes out of a log that lost sight of its last segment for one start, in which it was appended to.
fn back_after_one_start(lacks: &[Defence]) -> Result<u64, RecoveryError> {
    let written = several(28);
    let world = written.world(lacks);
    let last = paths(&written).pop().expect("a log has segments");
    world.take(&last);
    let checkpoint = Some(written.checkpoint.clone());
    append(&world, SEGMENT, checkpoint, &[(3, 100), (4, 100)], 5000);
    world.put(
        &PathBuf::from("/data/shard-000/segment-00000078.wal"),
        written.files[&last].clone(),
    );
    let found = open_and_drain(&world, None)?;
    Ok(found
        .blocks
        .iter()
        .map(|block| u64::from(block.event_count))
        .sum())
}

#[test]
fn a_segment_that_was_missing_for_one_start_is_delivered_when_it_is_back() {
    let written = several(28);
    let events = written
        .entries
        .iter()
        .map(|entry| u64::from(entry.header.event_count));
    assert_eq!(back_after_one_start(&[]).unwrap(), events.sum::<u64>() + 7);
}

#[test]
fn with_numbers_given_twice_a_segment_that_is_back_stops_the_start() {
    back_after_one_start(&[Defence::NumbersOnce]).unwrap_err();
}

/// A block whose write failed, and which is there all the same; its successor has the number now.
fn failed_copy(lacks: &[Defence]) -> Result<Tally, String> {
    let mut written = write(
        &Still::new(29, &[]),
        SEGMENT,
        &[(2, 100), (1, 60), (5, 300)],
    );
    let last = written.entries.pop().expect("a log has blocks");
    let first = &written.entries[0].path.clone();
    let world = written.world(lacks);
    world.change(first, |bytes| bytes[last.offset..last.end()].fill(0));
    append(&world, SEGMENT, None, &[(9, 200), (1, 80)], 2000);
    let written = Written::read(&world);
    world.change(first, |bytes| {
        let copy = &last.payload;
        bytes[last.offset..last.end()].fill(0);
        last.header.encode(&mut bytes[last.offset..]);
        bytes[last.offset + 96..last.offset + 96 + copy.len()].copy_from_slice(copy);
    });
    judge(&written, &world, Some(&written.checkpoint))
}

#[test]
fn of_two_blocks_with_one_number_the_later_segments_counts() {
    assert_eq!(failed_copy(&[]).unwrap().lost_blocks, 0);
}

#[test]
fn without_that_the_failed_copy_arrives() {
    println!("found: {}", failed_copy(&[Defence::LastCopy]).unwrap_err());
}

/// Two histories of one log, as two halves of a mirror may hold them: the same up to a block, then other
/// events in blocks of the same size. One block of the other history takes the place of ours.
fn other_history(lacks: &[Defence], transplanted: usize) -> Result<Tally, String> {
    let common = [(2, 100), (1, 60)];
    let log = |own: [(u64, usize); 4]| {
        let batches: Vec<_> = common.into_iter().chain(own).collect();
        write(&Still::new(30, &[]), SEGMENT, &batches)
    };
    let written = log([(3, 100), (3, 100), (3, 100), (3, 100)]);
    let other = log([(3, 90), (3, 90), (3, 90), (3, 90)]);
    let (entry, stray) = (&written.entries[transplanted], &other.entries[transplanted]);
    assert_eq!(
        (entry.offset, entry.length()),
        (stray.offset, stray.length())
    );
    let world = written.world(lacks);
    let bytes = &other.files[&stray.path][stray.offset..stray.end()];
    world.change(&entry.path, |ours| {
        ours[stray.offset..stray.end()].copy_from_slice(bytes)
    });
    judge(&written, &world, Some(&written.checkpoint))
}

#[test]
fn a_block_of_another_history_is_told_by_the_chain() {
    for transplanted in 3..5 {
        assert_eq!(other_history(&[], transplanted).unwrap().lost_blocks, 1);
    }
}

#[test]
fn without_the_chain_a_block_of_another_history_arrives() {
    let failure = other_history(&[Defence::Chain], 3).unwrap_err();
    assert!(failure.contains("was hit and arrived"), "{failure}");
}
