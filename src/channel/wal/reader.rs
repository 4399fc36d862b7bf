//! Reading a log back: blocks in order, from a position, across segments, and past damage.
//!
//! Used by recovery on the shard, which wants to know where the log ends, and by the drain, which
//! wants the blocks. Every block is verified: header checksum, place, epoch, chain, payload checksum.
//!
//! What a position that should hold block `n` may hold instead:
//!
//! | found at the position          | a successor segment     | verdict                                  |
//! |--------------------------------|-------------------------|------------------------------------------|
//! | block `n`, all checks hold     | any                     | the block                                |
//! | anything else                  | begins with block `n`   | this segment ended here: go on there     |
//! | anything else, later in the    | any                     | damage: blocks `n..m` are lost, go on    |
//! | segment a valid block `m > n`  |                         | with `m`                                 |
//! | anything else                  | begins with `m > n`     | damage: `n..m` are lost, go on there     |
//! | anything else                  | none                    | the end of the log                       |

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use crc32c::crc32c;

use super::header::{BLOCK_HEADER_BYTES, BlockHeader, SEGMENT_HEADER_BYTES};
use super::shared::{LogPosition, LogShared, SegmentInfo};
use crate::channel::block::Block;
use crate::limits;
use crate::reactor::{DiskFile, Ground};

/// Where the segments of a log are found; recovery has a list, the drain the live log.
pub trait SegmentTable {
    /// The segment that holds block `sequence`.
    fn segment_of(&self, sequence: u64) -> Option<SegmentInfo>;
    /// The first segment behind `id`.
    fn segment_after(&self, id: u64) -> Option<SegmentInfo>;
}

impl SegmentTable for Arc<LogShared> {
    fn segment_of(&self, sequence: u64) -> Option<SegmentInfo> {
        LogShared::segment_of(self, sequence)
    }

    fn segment_after(&self, id: u64) -> Option<SegmentInfo> {
        LogShared::segment_after(self, id)
    }
}

/// A read that the device refused.
#[derive(Debug, thiserror::Error)]
#[error("segment {segment} offset {offset}: reading failed")]
pub struct ReadError {
    /// Segment id.
    pub segment: u64,
    /// Offset in the segment.
    pub offset: u64,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// What the reader found.
#[derive(Debug)]
pub enum Found {
    /// The next block, and where the one behind it will be.
    Block {
        /// The block.
        block: Block,
        /// The position behind it.
        next: LogPosition,
        /// Blocks that were lost before it.
        lost: Option<Lost>,
    },
    /// No valid block at the position or behind it.
    End,
}

/// Blocks that damage took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Segment where the damage begins.
    pub segment: u64,
    /// Offset where it begins.
    pub offset: u64,
    /// Number of the first lost block.
    pub sequence: u64,
    /// How many blocks.
    pub blocks: u64,
    /// How many events.
    pub events: u64,
}

/// Walks a log. Lives on one thread.
#[derive(Debug)]
pub struct LogReader<G: Ground, T> {
    ground: G,
    table: T,
    shard: u32,
    position: LogPosition,
    open: Option<(SegmentInfo, G::File)>,
    /// Bytes of the open segment that have been read, and where they begin.
    chunk: Bytes,
    chunk_offset: u64,
}

impl<G: Ground, T: SegmentTable> LogReader<G, T> {
    /// A reader whose next block is the one `position` names. Segment and offset 0 mean that only
    /// the sequence is known; a `chain` of 0 is not checked.
    pub fn new(ground: G, table: T, shard: u32, position: LogPosition) -> Self {
        Self {
            ground,
            table,
            shard,
            position,
            open: None,
            chunk: Bytes::new(),
            chunk_offset: 0,
        }
    }

    /// The position of the next block.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// Goes to another position.
    pub fn seek(&mut self, position: LogPosition) {
        self.position = position;
    }

    /// The next block.
    ///
    /// # Errors
    /// The device; the position is unchanged, so that the read can be tried again.
    pub async fn next(&mut self) -> Result<Found, ReadError> {
        let mut fresh = false;
        loop {
            if !self.open_segment().await? {
                return Ok(Found::End);
            }
            if let Some((block, next)) = self.block_at(self.position).await? {
                self.position = next;
                return Ok(Found::Block {
                    block,
                    next,
                    lost: None,
                });
            }
            // The bytes may have been read before the block was written.
            if !fresh {
                fresh = true;
                self.chunk = Bytes::new();
                continue;
            }
            let (segment, _) = self.open.as_ref().expect("opened above");
            let successor = self.table.segment_after(segment.id);
            if let Some(successor) = &successor
                && successor.first_sequence <= self.position.sequence
            {
                self.enter(successor.clone()).await?;
                continue;
            }
            return self.pass_damage(successor).await;
        }
    }

    /// Nothing valid is where block `position.sequence` should be, and no segment begins with it.
    async fn pass_damage(&mut self, successor: Option<SegmentInfo>) -> Result<Found, ReadError> {
        let damaged = self.position;
        let (segment, _) = self.open.as_ref().expect("a segment is open");
        let (bytes, mut offset) = (segment.bytes, damaged.offset);
        let align = limits::ALIGN_BYTES as u64;
        let sequence_end = successor
            .as_ref()
            .map_or(u64::MAX, |next| next.first_sequence);
        loop {
            offset += align;
            if offset + align > bytes {
                break;
            }
            let header = self.header_at(offset).await?;
            let Some((header, _)) = header else { continue };
            let after = header.sequence > damaged.sequence && header.sequence < sequence_end;
            if !after || header.first_event < damaged.event {
                continue;
            }
            let candidate = LogPosition {
                offset,
                sequence: header.sequence,
                event: header.first_event,
                chain: 0,
                ..damaged
            };
            if let Some((block, next)) = self.block_at(candidate).await? {
                let lost = lost_between(damaged, header.sequence, header.first_event);
                self.position = next;
                return Ok(Found::Block {
                    block,
                    next,
                    lost: Some(lost),
                });
            }
        }
        let Some(successor) = successor else {
            return Ok(Found::End);
        };
        let lost = lost_between(damaged, successor.first_sequence, successor.first_event);
        self.position.sequence = successor.first_sequence;
        self.position.event = successor.first_event;
        self.enter(successor).await?;
        // What the successor holds may be damaged too: its own losses are added.
        match Box::pin(self.next()).await? {
            Found::Block {
                block,
                next,
                lost: more,
            } => {
                let more = more.map_or((0, 0), |more| (more.blocks, more.events));
                let lost = Lost {
                    blocks: lost.blocks + more.0,
                    events: lost.events + more.1,
                    ..lost
                };
                Ok(Found::Block {
                    block,
                    next,
                    lost: Some(lost),
                })
            }
            Found::End => Ok(Found::End),
        }
    }

    /// Opens the segment of the position, unless it is open. False: there is no such segment.
    async fn open_segment(&mut self) -> Result<bool, ReadError> {
        if let Some((segment, _)) = &self.open
            && segment.id == self.position.segment
        {
            return Ok(true);
        }
        let Some(segment) = self.table.segment_of(self.position.sequence) else {
            return Ok(false);
        };
        if segment.id == self.position.segment && self.position.offset >= SEGMENT_HEADER_BYTES {
            self.open_file(segment).await?;
        } else {
            // Only the sequence is known, or the place is stale: walk from the segment's start.
            let wanted = self.position;
            self.enter(segment).await?;
            self.skip_to(wanted.sequence).await?;
        }
        Ok(true)
    }

    /// Walks headers from the start of the open segment to block `sequence`.
    async fn skip_to(&mut self, sequence: u64) -> Result<(), ReadError> {
        while self.position.sequence < sequence {
            let header = self.header_at(self.position.offset).await?;
            let Some((header, crc)) = header.filter(|(h, _)| h.sequence == self.position.sequence)
            else {
                // Damage before the wanted block: let `next` find the first valid one behind it.
                self.position.sequence = sequence;
                return Ok(());
            };
            self.position = behind(&header, crc);
        }
        Ok(())
    }

    async fn enter(&mut self, segment: SegmentInfo) -> Result<(), ReadError> {
        let chain = if segment.first_sequence == self.position.sequence {
            self.position.chain
        } else {
            0
        };
        self.position = LogPosition {
            segment: segment.id,
            offset: SEGMENT_HEADER_BYTES,
            sequence: segment.first_sequence,
            event: segment.first_event,
            chain,
        };
        self.open_file(segment).await
    }

    async fn open_file(&mut self, segment: SegmentInfo) -> Result<(), ReadError> {
        let file = self
            .ground
            .open(&segment.path)
            .await
            .map_err(|source| ReadError {
                segment: segment.id,
                offset: 0,
                source,
            })?;
        self.open = Some((segment, file));
        self.chunk = Bytes::new();
        Ok(())
    }

    /// The block at `place` if every check holds.
    async fn block_at(
        &mut self,
        place: LogPosition,
    ) -> Result<Option<(Block, LogPosition)>, ReadError> {
        let Some((header, crc)) = self.header_at(place.offset).await? else {
            return Ok(None);
        };
        let expected = header.sequence == place.sequence
            && header.first_event == place.event
            && (place.chain == 0 || header.chain == place.chain);
        if !expected {
            return Ok(None);
        }
        let bytes = self
            .bytes_at(place.offset, header.block_bytes as usize)
            .await?;
        let payload_end = BLOCK_HEADER_BYTES + header.payload_bytes as usize;
        if bytes.len() < payload_end {
            return Ok(None);
        }
        let payload = bytes.slice(BLOCK_HEADER_BYTES..payload_end);
        if crc32c(&payload) != header.payload_crc {
            return Ok(None);
        }
        let block = Block {
            sequence: header.sequence,
            first_event: header.first_event,
            event_count: header.event_count,
            segment: header.segment,
            offset: header.offset,
            payload,
        };
        Ok(Some((block, behind(&header, crc))))
    }

    /// The header at `offset` of the open segment if it is whole and belongs there.
    async fn header_at(&mut self, offset: u64) -> Result<Option<(BlockHeader, u32)>, ReadError> {
        let bytes = self.bytes_at(offset, limits::ALIGN_BYTES).await?;
        let (segment, _) = self.open.as_ref().expect("a segment is open");
        let Ok((header, crc)) = BlockHeader::decode(&bytes) else {
            return Ok(None);
        };
        let belongs = header.shard == self.shard
            && header.segment == segment.id
            && header.epoch == segment.epoch
            && header.offset == offset
            && u64::from(header.block_bytes) <= segment.bytes - offset;
        Ok(belongs.then_some((header, crc)))
    }

    /// `length` bytes at `offset` of the open segment; fewer at its end.
    async fn bytes_at(&mut self, offset: u64, length: usize) -> Result<Bytes, ReadError> {
        let (segment, file) = self.open.as_ref().expect("a segment is open");
        let chunk_end = self.chunk_offset + self.chunk.len() as u64;
        if offset < self.chunk_offset || offset + length as u64 > chunk_end {
            let wanted = length.max(limits::READ_BACK_BYTES) as u64;
            let wanted = usize::try_from(wanted.min(segment.bytes.saturating_sub(offset)))
                .expect("no more than a read");
            let mut read = BytesMut::new();
            let mut first = Bytes::new();
            while first.len() + read.len() < wanted {
                let have = first.len() + read.len();
                let more = file.read(offset + have as u64, wanted - have).await;
                let more = more.map_err(|source| ReadError {
                    segment: segment.id,
                    offset,
                    source,
                })?;
                if more.is_empty() {
                    break;
                }
                // One read gives all of it, except after a short one.
                if have == 0 {
                    first = more;
                } else {
                    if read.is_empty() {
                        read.extend_from_slice(&first);
                        first = Bytes::new();
                    }
                    read.extend_from_slice(&more);
                }
            }
            self.chunk = if read.is_empty() {
                first
            } else {
                read.freeze()
            };
            self.chunk_offset = offset;
        }
        let start = usize::try_from(offset - self.chunk_offset).expect("inside the chunk");
        let end = (start + length).min(self.chunk.len());
        Ok(self.chunk.slice(start.min(end)..end))
    }
}

fn behind(header: &BlockHeader, crc: u32) -> LogPosition {
    LogPosition {
        segment: header.segment,
        offset: header.offset + u64::from(header.block_bytes),
        sequence: header.sequence + 1,
        event: header.first_event + u64::from(header.event_count),
        chain: crc,
    }
}

fn lost_between(damaged: LogPosition, sequence: u64, event: u64) -> Lost {
    assert!(sequence > damaged.sequence, "something was lost");
    Lost {
        segment: damaged.segment,
        offset: damaged.offset,
        sequence: damaged.sequence,
        blocks: sequence - damaged.sequence,
        events: event.saturating_sub(damaged.event),
    }
}
