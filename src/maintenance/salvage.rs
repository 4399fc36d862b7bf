//! Blocks of one segment file by their own headers, whatever the file's header says.
//!
//! A block names its shard, segment, epoch, offset and number, so a file whose header is lost, or that
//! was set aside, still tells what it holds. A recycled file holds blocks of several uses: the newest
//! use counts, the one with the highest segment id.

use std::path::Path;

use serde::Serialize;

use super::error::MaintenanceError;
use crate::channel::wal::{
    BlockHeader, FileError, Found, LogPosition, LogReader, SEGMENT_HEADER_BYTES, SegmentInfo,
    SegmentList,
};
use crate::limits;
use crate::reactor::{DiskFile, Ground, ReadOnlyWorld};

/// What one file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// Shard that wrote it.
    pub shard: u32,
    /// Segment id.
    pub segment: u64,
    /// Number of the first block that is whole.
    pub first_block: u64,
    /// Number behind the last block that is whole.
    pub end_block: u64,
    /// Number of the first event.
    pub first_event: u64,
    /// Number behind the last event.
    pub end_event: u64,
    /// Blocks that are whole.
    pub blocks: u64,
    /// Events in them.
    pub events: u64,
    /// Header checksum of the last one: the `chain` of what follows it.
    #[serde(skip)]
    pub chain: u32,
}

/// One file as a log of its own.
#[derive(Debug)]
pub struct Salvage {
    /// Shard that wrote it.
    pub shard: u32,
    segment: SegmentInfo,
}

impl Salvage {
    /// Looks for blocks in `path`. None: there is not one.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub async fn of(ground: &ReadOnlyWorld, path: &Path) -> Result<Option<Self>, FileError> {
        let failed = |operation| {
            let path = path.to_path_buf();
            move |source| FileError {
                path,
                operation,
                source,
            }
        };
        let file = ground.open(path).await.map_err(failed("opening"))?;
        let bytes = file.size().await.map_err(failed("asking for the size"))?;
        let mut newest: Option<BlockHeader> = None;
        let mut offset = SEGMENT_HEADER_BYTES;
        while offset < bytes {
            let chunk = file.read(offset, limits::READ_BACK_BYTES).await;
            // Where the medium refuses, the next sectors may be readable.
            let chunk = chunk.unwrap_or_default();
            for (index, sector) in chunk.chunks(limits::ALIGN_BYTES).enumerate() {
                let place = offset + (index * limits::ALIGN_BYTES) as u64;
                let header = BlockHeader::decode(sector).map(|(header, _)| header);
                if let Ok(header) = header
                    && header.offset == place
                    && newest.is_none_or(|newest| newest.segment < header.segment)
                {
                    newest = Some(header);
                }
            }
            offset += limits::READ_BACK_BYTES as u64;
        }
        Ok(newest.map(|block| Self {
            shard: block.shard,
            segment: SegmentInfo {
                id: block.segment,
                epoch: block.epoch,
                path: path.to_path_buf(),
                bytes,
                first_sequence: 0,
                first_event: 0,
                failed: false,
            },
        }))
    }

    /// A reader of its blocks, from the first one on.
    #[must_use]
    pub fn reader(&self, ground: &ReadOnlyWorld) -> LogReader<ReadOnlyWorld, SegmentList> {
        let list = SegmentList::new(vec![self.segment.clone()]);
        let mut reader = LogReader::new(
            ground.clone(),
            list,
            self.shard,
            LogPosition {
                segment: self.segment.id,
                offset: SEGMENT_HEADER_BYTES,
                ..LogPosition::default()
            },
        );
        reader.pass_unreadable(true);
        reader
    }

    /// Counts what it holds. None: not one block is whole.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn holding(
        &self,
        ground: &ReadOnlyWorld,
    ) -> Result<Option<Holding>, MaintenanceError> {
        let mut reader = self.reader(ground);
        let mut holding: Option<Holding> = None;
        while let Found::Block { block, next, .. } = reader.next(u64::MAX).await? {
            let held = holding.get_or_insert(Holding {
                shard: self.shard,
                segment: self.segment.id,
                first_block: block.sequence,
                end_block: block.sequence,
                first_event: block.first_event,
                end_event: block.first_event,
                blocks: 0,
                events: 0,
                chain: 0,
            });
            held.end_block = next.sequence;
            held.end_event = next.event;
            held.blocks += 1;
            held.events += u64::from(block.event_count);
            held.chain = next.chain;
        }
        Ok(holding)
    }
}
