//! Whole sectors that are zeroed, swapped, duplicated, or stale.
//!
//! A stale sector holds what an earlier use of the file had there, or elsewhere; a duplicate is a write
//! that went astray. Every sector, every pair, in 512 bytes and in 4 KiB.

use flumen::channel::wal::SegmentHeader;
use flumen::reactor::Defence;

use crate::log::{Written, write};
use crate::still::Still;
use crate::verdict::{Tally, judge};

const SEGMENT: u64 = 96 << 10;

/// Blocks of one sector and of several, in one segment.
fn small() -> Written {
    let batches = [
        (2, 100),
        (1, 60),
        (3, 2000),
        (1, 3700),
        (9, 1500),
        (1, 100),
        (1, 80),
        (5, 1000),
        (4, 100),
        (1, 5000),
    ];
    let written = write(&Still::new(11, &[]), SEGMENT, &batches);
    assert_eq!(written.segments().len(), 1, "it fits one segment");
    written
}

/// What an earlier use of the same file held. Its blocks have the same numbers, so that only the epoch
/// tells them apart; its header's is lower, because no file is given one number twice.
fn earlier_use() -> Vec<u8> {
    let batches = [
        (2, 100),
        (1, 60),
        (3, 2000),
        (1, 3700),
        (9, 1400),
        (1, 90),
        (20, 900),
        (1, 70),
    ];
    let earlier = write(&Still::new(12, &[]), SEGMENT, &batches);
    let mut bytes = earlier.files[earlier.segments()[0]].clone();
    let header = SegmentHeader::decode(&bytes).expect("just written");
    SegmentHeader {
        segment: 0,
        ..header
    }
    .encode(&mut bytes);
    bytes
}

/// Damages a copy of the log, again and again.
struct Lane {
    written: Written,
    lacks: Vec<Defence>,
    tally: Tally,
}

impl Lane {
    fn new(written: Written, lacks: &[Defence]) -> Self {
        let lacks = lacks.to_vec();
        Self {
            written,
            lacks,
            tally: Tally::default(),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.written.files[self.written.segments()[0]]
    }

    /// Judges the log with `change` done to its segment, with and without a checkpoint.
    fn check(&mut self, what: &str, change: impl Fn(&mut [u8])) -> Result<(), String> {
        let path = self.written.segments()[0];
        for checkpoint in [Some(&self.written.checkpoint), None] {
            let world = self.written.world(&self.lacks);
            world.change(path, |bytes| change(bytes));
            let judged = judge(&self.written, &world, checkpoint);
            let how = if checkpoint.is_some() {
                "with"
            } else {
                "without"
            };
            let one = judged.map_err(|reason| format!("{what}, {how} a checkpoint: {reason}"))?;
            self.tally.add(one);
        }
        Ok(())
    }

    fn zeroed(&mut self, size: usize) -> Result<(), String> {
        for sector in sectors(self.bytes().len(), size) {
            self.check(&format!("{size} bytes at {sector} zeroed"), |bytes| {
                bytes[sector..sector + size].fill(0);
            })?;
        }
        Ok(())
    }

    fn swapped(&mut self, size: usize) -> Result<(), String> {
        let length = self.bytes().len();
        for one in sectors(length, size) {
            for other in sectors(length, size).filter(|other| *other > one) {
                self.check(
                    &format!("{size} bytes at {one} and {other} swapped"),
                    |bytes| {
                        let (front, back) = bytes.split_at_mut(other);
                        front[one..one + size].swap_with_slice(&mut back[..size]);
                    },
                )?;
            }
        }
        Ok(())
    }

    fn duplicated(&mut self, size: usize) -> Result<(), String> {
        let length = self.bytes().len();
        for from in sectors(length, size) {
            for to in sectors(length, size).filter(|to| *to != from) {
                self.check(&format!("{size} bytes from {from} also at {to}"), |bytes| {
                    bytes.copy_within(from..from + size, to);
                })?;
            }
        }
        Ok(())
    }

    /// Sectors of `earlier`, each at its own place (`elsewhere` false) or at every other.
    fn stale(&mut self, earlier: &[u8], size: usize, elsewhere: bool) -> Result<(), String> {
        let length = self.bytes().len();
        for from in sectors(length, size) {
            let places: Vec<usize> = match elsewhere {
                true => sectors(length, size).filter(|to| *to != from).collect(),
                false => vec![from],
            };
            for to in places {
                self.check(&format!("{size} stale bytes of {from} at {to}"), |bytes| {
                    bytes[to..to + size].copy_from_slice(&earlier[from..from + size]);
                })?;
            }
        }
        Ok(())
    }
}

fn sectors(length: usize, size: usize) -> impl Iterator<Item = usize> {
    (0..length / size).map(move |number| number * size)
}

fn sizes() -> &'static [usize] {
    if crate::long() { &[512, 4096] } else { &[4096] }
}

#[test]
fn a_zeroed_sector_costs_its_block() {
    let mut lane = Lane::new(small(), &[]);
    for size in [512, 4096, 8192, 32768] {
        lane.zeroed(size).unwrap();
    }
    println!("zeroed sectors: {:?}", lane.tally);
}

/// A segment whose header is zeros may be a spare that was never used. What tells is that it holds
/// anything, however little.
#[test]
fn a_zeroed_beginning_costs_the_blocks_in_it() {
    let batches = [(2, 100), (1, 60), (3, 2000), (1, 60), (1, 80)];
    let written = write(&Still::new(13, &[]), SEGMENT, &batches);
    let end = written.entries[4].offset;
    let mut lane = Lane::new(written, &[]);
    for length in (512..=end).step_by(512) {
        lane.check(&format!("the first {length} bytes zeroed"), |bytes| {
            bytes[..length].fill(0);
        })
        .unwrap();
    }
    println!("zeroed beginnings: {:?}", lane.tally);
}

#[test]
fn two_swapped_sectors_cost_their_blocks() {
    let mut lane = Lane::new(small(), &[]);
    for size in sizes() {
        lane.swapped(*size).unwrap();
    }
    println!("swapped sectors: {:?}", lane.tally);
}

#[test]
fn a_sector_written_twice_costs_the_block_below() {
    let mut lane = Lane::new(small(), &[]);
    for size in sizes() {
        lane.duplicated(*size).unwrap();
    }
    println!("duplicated sectors: {:?}", lane.tally);
}

#[test]
fn a_stale_sector_costs_its_block() {
    let earlier = earlier_use();
    let mut lane = Lane::new(small(), &[]);
    for size in [512, 4096] {
        lane.stale(&earlier, size, false).unwrap();
    }
    for size in sizes() {
        lane.stale(&earlier, *size, true).unwrap();
    }
    println!("stale sectors: {:?}", lane.tally);
}

/// The lane finds what a missing defence lets through.
#[track_caller]
fn finds(result: Result<(), String>) {
    let failure = result.expect_err("a defence is missing");
    println!("found: {failure}");
}

#[test]
fn without_the_epoch_a_stale_sector_is_taken_for_a_block() {
    let mut lane = Lane::new(small(), &[Defence::Epoch]);
    finds(lane.stale(&earlier_use(), 4096, false));
}

#[test]
fn without_the_place_a_block_elsewhere_is_taken_for_one() {
    let mut lane = Lane::new(small(), &[Defence::Place]);
    finds(lane.duplicated(4096));
}

#[test]
fn without_the_blocks_word_a_zeroed_header_costs_the_segment() {
    let mut lane = Lane::new(small(), &[Defence::HeaderFromBlocks]);
    finds(lane.zeroed(4096));
}
