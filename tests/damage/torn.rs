//! The last block, torn in every way a power cut can tear it.
//!
//! The block was under way when the power went: nobody was told that it is stored. What the disk holds of
//! it is every prefix, byte by byte; every subset of its sectors of 512 bytes and of 4 KiB; over zeros,
//! and over what an earlier use of the file left there. The log must end in front of it (or behind it, if
//! all of it that counts is there), count nothing as lost, and go on.

use flumen::channel::wal::Checkpoint;

use crate::log::{Entry, Written, append, open_and_drain, write};
use crate::still::Still;

const SEGMENT: u64 = 128 << 10;
/// The batch that is appended after the start.
const AFTER: (u64, usize) = (3, 90);

/// A log whose last block is `sectors` times 4 KiB long, and what lies below that block.
struct Torn {
    written: Written,
    below: Vec<u8>,
}

impl Torn {
    /// Over zeros.
    fn over_zeros(sectors: usize) -> Self {
        let batches = [(4, 100), (2, 3000), (1, 50), (1, sectors * 4096 - 300)];
        let written = write(&Still::new(5, &[]), SEGMENT, &batches);
        let length = written.entries.last().expect("four").length();
        assert_eq!(length, sectors * 4096);
        let below = vec![0; length];
        Self { written, below }
    }

    /// Over an earlier use of the file: other blocks at other offsets, whole and well formed.
    fn over_an_earlier_use(sectors: usize) -> Self {
        let batches = [
            (1, 200),
            (30, 200),
            (1, 9000),
            (8, 100),
            (2, 60),
            (70, 1000),
        ];
        let earlier = write(&Still::new(6, &[]), SEGMENT, &batches);
        let earlier_bytes = &earlier.files[earlier.segments()[0]];
        let mut torn = Self::over_zeros(sectors);
        let last = torn.last().clone();
        let bytes = torn.written.files.get_mut(&last.path).expect("its file");
        bytes[last.end()..].copy_from_slice(&earlier_bytes[last.end()..]);
        torn.below = earlier_bytes[last.offset..last.end()].to_vec();
        torn
    }

    fn last(&self) -> &Entry {
        self.written.entries.last().expect("four")
    }

    /// Opens the log with only `keep` of the last block's bytes there, then appends to it.
    fn check(&self, what: &str, checkpoint: Option<&Checkpoint>, keep: impl Fn(usize) -> bool) {
        let last = self.last();
        let world = self.written.world(&[]);
        world.change(&last.path, |bytes| {
            for (at, below) in self.below.iter().enumerate() {
                if !keep(at) {
                    bytes[last.offset + at] = *below;
                }
            }
        });
        let is_whole = self.written.damaged(&world.files()).is_empty();
        let entries = &self.written.entries;
        let expected: Vec<u64> = (0..entries.len() as u64 - u64::from(!is_whole)).collect();
        let found = open_and_drain(&world, checkpoint).expect("it opens");
        let arrived = |found: &crate::log::Found| -> Vec<u64> {
            found.blocks.iter().map(|block| block.sequence).collect()
        };
        assert_eq!(arrived(&found), expected, "{what}");
        for (block, entry) in found.blocks.iter().zip(entries) {
            assert_eq!(block.payload, entry.payload, "{what}");
        }
        assert_eq!(
            (found.lost_blocks, found.recovered.lost.len()),
            (0, 0),
            "{what}"
        );

        // The log goes on behind it, in another segment, and is whole.
        append(&world, SEGMENT, checkpoint.cloned(), &[AFTER], 1000);
        let found = open_and_drain(&world, checkpoint).expect("it opens again");
        let all: Vec<u64> = (0..=expected.len() as u64).collect();
        assert_eq!(arrived(&found), all, "{what}, then appended to");
        assert_eq!(found.lost_blocks, 0, "{what}, then appended to");
        let appended = found.blocks.last().expect("just appended");
        assert_eq!(u64::from(appended.event_count), AFTER.0, "{what}");
    }

    /// With no checkpoint, and with one of before the torn block.
    fn check_each(&self, what: &str, keep: impl Fn(usize) -> bool) {
        self.check(what, None, &keep);
        let last = self.written.entries.len() - 1;
        for index in 1..=last {
            let checkpoint = self.written.checkpoint_before(index);
            self.check(
                &format!("{what}, checkpoint at {index}"),
                Some(&checkpoint),
                &keep,
            );
        }
    }
}

fn logs(sectors: usize) -> [(&'static str, Torn); 2] {
    [
        ("over zeros", Torn::over_zeros(sectors)),
        ("over an earlier use", Torn::over_an_earlier_use(sectors)),
    ]
}

#[test]
fn a_tail_torn_after_any_byte_ends_the_log() {
    let sectors = if crate::long() { 8 } else { 2 };
    let step = if crate::long() { 1 } else { 7 };
    for (below, torn) in logs(sectors) {
        for length in (0..=sectors * 4096).step_by(step) {
            torn.check_each(&format!("{length} bytes {below}"), |at| at < length);
        }
    }
}

#[test]
fn a_tail_torn_into_any_subset_of_its_sectors_ends_the_log() {
    // One block of eight sectors of 512 bytes, one of eight sectors of 4 KiB.
    for (blocks, sector_bytes) in [(1, 512), (8, 4096)] {
        for (below, torn) in logs(blocks) {
            for subset in 0..256u32 {
                let what = format!("sectors {subset:08b} of {sector_bytes} bytes {below}");
                torn.check_each(&what, |at| subset >> (at / sector_bytes) & 1 == 1);
            }
        }
    }
}

#[test]
fn a_tail_torn_backwards_after_any_sector_ends_the_log() {
    for (below, torn) in logs(8) {
        for sector in 0..64 {
            let what = format!("the sectors from {sector} on {below}");
            torn.check_each(&what, |at| at / 512 >= sector);
        }
    }
}
