//! Every bit of a megabyte of log, flipped.
//!
//! The long form flips all 8.4 million; the short one every bit of all headers and of a sample of the
//! rest. Each flip is met by the code that meets it in the field: recovery, then a drain from the block
//! before the flip to the second one behind it, where the drain stands as if nothing had happened and
//! the bytes to come are those it has read before. A part of the flips is drained from the first block
//! to the last, and also without a checkpoint.

use std::path::Path;

use flumen::channel::wal::Checkpoint;
use flumen::reactor::Defence;

use crate::log::{Written, open_and_drain_until, write};
use crate::still::Still;
use crate::verdict::{Tally, compare, judge};

const SEGMENT: u64 = 1 << 20;

/// One segment of a megabyte, full: blocks of one sector, of a few, of many.
pub(crate) fn megabyte() -> Written {
    let sizes: [(u64, usize); 7] = [
        (1, 60),
        (10, 100),
        (3, 3000),
        (40, 300),
        (1, 30_000),
        (100, 40),
        (20, 3500),
    ];
    let mut batches = Vec::new();
    let mut bytes = 4096;
    for &(count, body_bytes) in sizes.iter().cycle() {
        let events = usize::try_from(count).expect("small") * (body_bytes + 60);
        bytes += events.next_multiple_of(4096) + 4096;
        if bytes > 1 << 20 {
            break;
        }
        batches.push((count, body_bytes));
    }
    let written = write(&Still::new(1, &[]), SEGMENT, &batches);
    assert_eq!(written.segments().len(), 1, "it fits one segment");
    written
}

struct Lane<'a> {
    written: &'a Written,
    path: &'a Path,
    world: Still,
    /// By block: the checkpoint whose cursor has passed all before it.
    checkpoints: Vec<Checkpoint>,
    /// Every so many flips, the drain goes from the first block to the last.
    whole_every: usize,
}

impl<'a> Lane<'a> {
    fn new(written: &'a Written, lacks: &[Defence], whole_every: usize) -> Self {
        let blocks = 0..written.entries.len();
        let path = written.segments()[0];
        let world = written.world(lacks);
        // Spares are looked through at every start: three of a megabyte cost more than all the rest.
        for spare in written.files.keys().filter(|file| **file != path) {
            world.take(spare);
        }
        Self {
            path,
            world,
            checkpoints: blocks
                .map(|index| written.delivered_before(index))
                .collect(),
            written,
            whole_every,
        }
    }

    /// Flips these bits, one at a time.
    fn run(&self, bits: impl Iterator<Item = usize>) -> Result<Tally, String> {
        let mut tally = Tally::default();
        for bit in bits {
            let one = self.check(bit);
            tally.add(one.map_err(|reason| {
                format!("bit {} of byte {} flipped: {reason}", bit % 8, bit / 8)
            })?);
        }
        Ok(tally)
    }

    fn flip(&self, bit: usize) {
        self.world
            .change(self.path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }

    fn check(&self, bit: usize) -> Result<Tally, String> {
        self.flip(bit);
        let result = match bit.is_multiple_of(self.whole_every) {
            true => judge(self.written, &self.world, None)
                .and_then(|_| judge(self.written, &self.world, Some(&self.written.checkpoint))),
            false => self.check_near(bit / 8),
        };
        self.flip(bit);
        result
    }

    fn check_near(&self, byte: usize) -> Result<Tally, String> {
        let entries = &self.written.entries;
        // The block that the byte is in; before the first one it may matter to that, behind the last
        // one to the log's end.
        let near = entries.partition_point(|entry| entry.offset <= byte);
        let near = near.saturating_sub(1);
        let first = near.saturating_sub(1);
        let last = (near + 2).min(entries.len() - 1);
        let damaged = match entries[near].counts(byte) {
            true => vec![entries[near].header.sequence],
            false => Vec::new(),
        };
        let last_sequence = entries[last].header.sequence;
        let found = open_and_drain_until(&self.world, Some(&self.checkpoints[first]), |block| {
            block.sequence == last_sequence
        });
        let found = found.map_err(|error| format!("refused: {error}"))?;
        compare(
            &entries[first..=last],
            &damaged,
            last_sequence + 1,
            &found,
            &Tally::default(),
        )
    }
}

/// Bits of the segment's header, of all block headers, and every `step`-th of the rest.
fn sample(written: &Written, step: usize) -> impl Iterator<Item = usize> {
    let headers = written
        .entries
        .iter()
        .map(|entry| entry.offset..entry.offset + 96);
    let headers = std::iter::once(0..96).chain(headers).flatten();
    let bits = headers.flat_map(|byte| byte * 8..byte * 8 + 8);
    let rest = (0..(1usize << 23)).step_by(step);
    bits.chain(rest).collect::<Vec<_>>().into_iter()
}

#[test]
fn a_flipped_bit_costs_its_block_and_is_counted() {
    let written = megabyte();
    let lane = Lane::new(&written, &[], 499);
    let tally = match crate::long() {
        true => lane.run(0..1 << 23),
        false => lane.run(sample(&written, 211)),
    };
    let tally = tally.unwrap();
    println!("flipped bits: {tally:?}");
    assert!(tally.harmless > 0, "padding is flipped too");
    assert!(tally.lost_blocks > 10_000, "{tally:?}");
}

#[test]
fn without_the_checksum_of_the_payload_a_flip_arrives_altered() {
    let written = megabyte();
    let bits = sample(&written, 2111);
    let failure = Lane::new(&written, &[Defence::PayloadChecksum], 499)
        .run(bits)
        .unwrap_err();
    assert!(failure.contains("was hit and arrived"), "{failure}");
}

#[test]
fn without_the_checksum_of_the_header_a_flip_passes_for_a_number() {
    let written = megabyte();
    let bits = sample(&written, 2111);
    let failure = Lane::new(&written, &[Defence::HeaderChecksum], 499)
        .run(bits)
        .unwrap_err();
    println!("found: {failure}");
}

#[test]
fn without_the_blocks_word_a_flip_in_a_header_costs_the_segment() {
    let written = megabyte();
    let lane = Lane::new(&written, &[Defence::HeaderFromBlocks], 499);
    let failure = lane.run(0..96 * 8).unwrap_err();
    assert!(
        failure.contains("is intact and did not arrive"),
        "{failure}"
    );
}
