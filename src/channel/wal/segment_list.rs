//! A shard's segments in the order of their ids, as a census finds them, and what a checkpoint says of
//! them.
//!
//! Pure: no disk. The table that recovery and the tools read a log with.

use super::checkpoint::ShardCheckpoint;
use super::header::SEGMENT_HEADER_BYTES;
use super::reader::SegmentTable;
use super::shared::{LogPosition, SegmentInfo};

/// Segments, oldest first.
#[derive(Debug, Clone, Default)]
pub struct SegmentList(Vec<SegmentInfo>);

impl SegmentTable for SegmentList {
    fn segment_of(&self, sequence: u64) -> Option<SegmentInfo> {
        let after = self
            .0
            .partition_point(|segment| segment.first_sequence <= sequence);
        self.0.get(after.checked_sub(1)?).cloned()
    }

    fn segment_after(&self, id: u64) -> Option<SegmentInfo> {
        self.0.iter().find(|segment| segment.id > id).cloned()
    }

    fn first(&self) -> Option<SegmentInfo> {
        self.0.first().cloned()
    }
}

impl SegmentList {
    /// Sorts `segments`.
    #[must_use]
    pub fn new(mut segments: Vec<SegmentInfo>) -> Self {
        segments.sort_by_key(|segment| segment.id);
        Self(segments)
    }

    /// The segments.
    #[must_use]
    pub fn as_slice(&self) -> &[SegmentInfo] {
        &self.0
    }

    /// The segments.
    #[must_use]
    pub fn into_vec(self) -> Vec<SegmentInfo> {
        self.0
    }

    /// Takes out the first `count`.
    pub(super) fn take_first(&mut self, count: usize) -> Vec<SegmentInfo> {
        self.0.drain(..count).collect()
    }

    /// Takes out the last one if the log, which ends with block `end_sequence`, has no block in it.
    pub(super) fn take_last_empty(&mut self, end_sequence: u64) -> Option<SegmentInfo> {
        self.0.pop_if(|last| last.first_sequence == end_sequence)
    }

    /// Pairs of files with one id: a disk came back that was missing when its number was given again.
    pub fn twins(&self) -> impl Iterator<Item = (&SegmentInfo, &SegmentInfo)> {
        self.0.windows(2).filter_map(|pair| match pair {
            [one, other] if one.id == other.id => Some((one, other)),
            _ => None,
        })
    }

    /// Whether the checkpoint's end lies in a segment that is here, and the later ones go on behind it.
    /// Otherwise it speaks of another log, of one whose segments were reused since, or of blocks that
    /// were destroyed when nobody knew of them, so that their numbers were given again; a scan is right.
    #[must_use]
    pub fn knows(&self, entry: &ShardCheckpoint) -> bool {
        let end = &entry.end;
        let holds_end =
            |segment: &SegmentInfo| segment.id == end.segment && segment.epoch == entry.end_epoch;
        let goes_on = |segment: &SegmentInfo| {
            segment.first_sequence >= end.sequence && segment.first_event >= end.event
        };
        let mut later = self.0.iter().filter(|segment| segment.id > end.segment);
        self.0.iter().any(holds_end) && later.all(goes_on)
    }

    /// How many segments at the front every group has passed.
    #[must_use]
    pub fn released(&self, checkpoint: Option<&ShardCheckpoint>, groups: &[String]) -> usize {
        let Some(entry) = checkpoint else {
            return 0;
        };
        let cursors = groups.iter().map(|group| entry.cursor(group));
        // A group without a cursor is new: it gets what is still there.
        let Some(Some(released)) = cursors.map(|cursor| cursor.map(|c| c.block)).min() else {
            return 0;
        };
        self.0
            .windows(2)
            .take_while(|pair| matches!(pair, [_, next] if next.first_sequence <= released))
            .count()
    }

    /// Where the first segment's first block is.
    #[must_use]
    pub fn first_position(&self) -> LogPosition {
        self.0
            .first()
            .map_or_else(LogPosition::default, |first| LogPosition {
                segment: first.id,
                offset: SEGMENT_HEADER_BYTES,
                sequence: first.first_sequence,
                event: first.first_event,
                chain: 0,
            })
    }

    /// Bytes of segments from `begin` on.
    #[must_use]
    pub fn bytes_from(&self, begin: LogPosition) -> u64 {
        let rest = self.0.iter().filter(|segment| segment.id >= begin.segment);
        rest.map(|segment| segment.bytes)
            .sum::<u64>()
            .saturating_sub(begin.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(id: u64, first_sequence: u64, first_event: u64) -> SegmentInfo {
        SegmentInfo {
            id,
            epoch: 100 + id,
            path: format!("segment-{id}").into(),
            bytes: 1 << 20,
            first_sequence,
            first_event,
            failed: false,
        }
    }

    /// A checkpoint that ends in segment 1, behind blocks 0 to 2 with 14 events.
    fn entry() -> ShardCheckpoint {
        ShardCheckpoint {
            shard: 0,
            end: LogPosition {
                segment: 1,
                offset: 1 << 14,
                sequence: 3,
                event: 14,
                chain: 7,
            },
            end_epoch: 101,
            cursors: Vec::new(),
        }
    }

    #[test]
    fn a_checkpoint_fits_the_log_that_goes_on_behind_it() {
        let fits = |segments: &[SegmentInfo]| SegmentList::new(segments.to_vec()).knows(&entry());
        assert!(fits(&[segment(1, 0, 0)]));
        assert!(fits(&[segment(1, 0, 0), segment(2, 3, 14)]));
        assert!(!fits(&[segment(2, 3, 14)]), "its segment is gone");
        let other = SegmentInfo {
            epoch: 5,
            ..segment(1, 0, 0)
        };
        assert!(!fits(&[other]), "the file was used again");
        // Somebody put an old checkpoint back.
        assert!(!fits(&[segment(1, 0, 0), segment(2, 0, 0)]));
        assert!(!fits(&[segment(1, 0, 0), segment(2, 3, 9)]));
    }
}
