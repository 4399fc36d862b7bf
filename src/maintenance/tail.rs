//! What stands behind the last block of a log.

use serde::Serialize;

use super::damage::header_at;
use crate::channel::wal::{LogPosition, SegmentList};
use crate::reactor::ReadOnlyWorld;

/// What stands behind the last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Tail {
    /// Nothing.
    Clean,
    /// A block that is not whole. No damage: nobody was told that it was there.
    Torn {
        /// Bytes it would have.
        bytes: u32,
        /// Events it would hold.
        events: u32,
    },
}

impl Tail {
    /// Looks at `end`, in one of the segments of `list`.
    pub async fn of(
        ground: &ReadOnlyWorld,
        shard: u32,
        list: &SegmentList,
        end: LogPosition,
    ) -> Self {
        let mut segments = list.as_slice().iter();
        let Some(segment) = segments.find(|segment| segment.id == end.segment) else {
            return Self::Clean;
        };
        match header_at(ground, segment, end.offset).await {
            Some(header)
                if header.shard == shard
                    && header.segment == segment.id
                    && header.epoch == segment.epoch
                    && header.sequence == end.sequence =>
            {
                Self::Torn {
                    bytes: header.block_bytes,
                    events: header.event_count,
                }
            }
            _ => Self::Clean,
        }
    }
}
