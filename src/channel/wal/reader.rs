//! Reading a log back: blocks in order, from a position, across segments, and past damage.
//!
//! Used by recovery on the shard, which wants to know where the log ends, and by the drain, which
//! wants the blocks. Every block is verified: header checksum, place, epoch, chain, payload checksum.
//!
//! Which segment holds block `n` is never guessed from where the reader stands: it is the last one
//! that begins with `n` or before it. So a copy of `n` whose write failed, in a segment that was then
//! closed, is never read: its successor begins with `n`.
//!
//! | at the place of block `n`                  | behind it                      | verdict                       |
//! |--------------------------------------------|--------------------------------|-------------------------------|
//! | block `n`, all checks hold                 | any                            | the block                     |
//! | a valid block `m < n`                      | any                            | skip it: only `n` was known   |
//! | anything else                              | in the segment, a valid `m ≥ n`| blocks `n..m` are lost        |
//! | anything else                              | a segment that begins with `m` | blocks `n..m` are lost        |
//! | anything else                              | nothing                        | the end of the log            |

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use crc32c::crc32c;
use futures_lite::future::{self, BoxedLocal};

use super::header::{BLOCK_HEADER_BYTES, BlockHeader, SEGMENT_HEADER_BYTES};
use super::shared::{LogPosition, LogShared, SegmentInfo};
use crate::channel::block::Block;
use crate::limits;
use crate::reactor::{Defence, DiskFile, Ground};

/// Where the segments of a log are found; recovery has a list, the drain the live log.
pub trait SegmentTable {
    /// The last segment that begins with block `sequence` or before it.
    fn segment_of(&self, sequence: u64) -> Option<SegmentInfo>;
    /// The first segment behind `id`.
    fn segment_after(&self, id: u64) -> Option<SegmentInfo>;
    /// The oldest segment.
    fn first(&self) -> Option<SegmentInfo>;
}

impl SegmentTable for Arc<LogShared> {
    fn segment_of(&self, sequence: u64) -> Option<SegmentInfo> {
        LogShared::segment_of(self, sequence)
    }

    fn segment_after(&self, id: u64) -> Option<SegmentInfo> {
        LogShared::segment_after(self, id)
    }

    fn first(&self) -> Option<SegmentInfo> {
        self.first_segment()
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

impl ReadError {
    /// Whether the medium itself failed: other errors (no descriptor, no memory, no right) say
    /// nothing about the data and pass.
    #[must_use]
    pub fn is_medium(&self) -> bool {
        is_medium(&self.source)
    }
}

/// Whether it is the medium that failed.
pub(super) fn is_medium(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
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

/// A read under way, and where it begins and ends.
struct Ahead {
    offset: u64,
    end: u64,
    read: BoxedLocal<Result<Bytes, ReadError>>,
    /// Set when it ended at the first poll.
    done: Option<Result<Bytes, ReadError>>,
}

/// Walks a log. Lives on one thread.
pub struct LogReader<G: Ground, T> {
    ground: G,
    table: T,
    shard: u32,
    position: LogPosition,
    /// Whether `position.event` is the block's first event. A cursor names an event inside its block.
    event_is_first: bool,
    open: Option<(SegmentInfo, Rc<G::File>)>,
    /// Bytes of the open segment that have been read, and where they begin.
    chunk: Bytes,
    chunk_offset: u64,
    /// The reads of the chunks behind, under way while this one is looked at.
    ahead: VecDeque<Ahead>,
    /// Sectors that the medium refuses count as damage instead of an error.
    passes_unreadable: bool,
}

impl<G: Ground, T: SegmentTable> LogReader<G, T> {
    /// A reader whose next block is `position.sequence`. Segment and offset are where it should be;
    /// 0 when only the number is known. A `chain` of 0 is not checked; `event` may lie in the block.
    pub fn new(ground: G, table: T, shard: u32, position: LogPosition) -> Self {
        let event_is_first = ground.lacks(Defence::CursorInBlock);
        Self {
            ground,
            table,
            shard,
            position,
            event_is_first,
            open: None,
            chunk: Bytes::new(),
            chunk_offset: 0,
            ahead: VecDeque::new(),
            passes_unreadable: false,
        }
    }

    /// The position of the next block.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// Goes to another position.
    pub fn seek(&mut self, position: LogPosition) {
        self.position = position;
        self.event_is_first = self.ground.lacks(Defence::CursorInBlock);
    }

    /// Whether sectors that the medium refuses (EIO) are passed over as damage.
    pub fn pass_unreadable(&mut self, passes: bool) {
        self.passes_unreadable = passes;
    }

    /// The next block among those below `sequence_end`.
    ///
    /// # Errors
    /// The device; the position is unchanged, so that the read can be tried again.
    pub async fn next(&mut self, sequence_end: u64) -> Result<Found, ReadError> {
        let asked = self.position;
        if !self.enter_segment().await? {
            return Ok(Found::End);
        }
        // A block that should begin a segment is missed there, not behind the last one.
        let wanted = match self.table.segment_of(asked.sequence) {
            Some(_) => self.position,
            None => asked,
        };
        loop {
            if !self.enter_segment().await? {
                return Ok(Found::End);
            }
            let (segment, _) = self.open.as_ref().expect("entered above");
            let (segment_id, segment_bytes) = (segment.id, segment.bytes);
            let successor = self.table.segment_after(segment_id);
            let end = successor
                .as_ref()
                .map_or(sequence_end, |next| next.first_sequence);
            let end = match self.ground.lacks(Defence::LastCopy) {
                true => sequence_end,
                false => end.min(sequence_end),
            };
            if let Some(found) = self.find_block(wanted, end, segment_bytes).await? {
                return Ok(found);
            }
            // Nothing of what is wanted is in this segment.
            let Some(successor) = successor.filter(|next| next.first_sequence < sequence_end)
            else {
                self.position = wanted;
                return Ok(Found::End);
            };
            self.position = start_of(&successor);
            self.open_file(successor).await?;
        }
    }

    /// The first valid block from the position on, in the open segment, whose number lies in
    /// `wanted.sequence..end`.
    async fn find_block(
        &mut self,
        wanted: LogPosition,
        end: u64,
        segment_bytes: u64,
    ) -> Result<Option<Found>, ReadError> {
        let align = limits::ALIGN_BYTES as u64;
        let mut offset = self.position.offset;
        let mut fresh = false;
        while offset + align <= segment_bytes {
            let Some((header, crc)) = self.header_at(offset).await? else {
                // The bytes may have been read before the block was written.
                if !fresh {
                    fresh = true;
                    self.forget();
                    continue;
                }
                offset += align;
                continue;
            };
            if header.sequence >= end {
                return Ok(None);
            }
            if header.sequence < wanted.sequence {
                offset += u64::from(header.block_bytes);
                continue;
            }
            let is_wanted = header.sequence == wanted.sequence;
            let follows = !is_wanted
                || wanted.chain == 0
                || header.chain == wanted.chain
                || self.ground.lacks(Defence::Chain);
            let starts = !is_wanted || !self.event_is_first || header.first_event == wanted.event;
            if follows
                && starts
                && let Some(block) = self.verified(offset, &header).await?
            {
                self.position = behind(&header, crc);
                self.event_is_first = true;
                let lost = (!is_wanted).then(|| lost_between(wanted, &header));
                return Ok(Some(Found::Block {
                    block,
                    next: self.position,
                    lost,
                }));
            }
            if !fresh {
                fresh = true;
                self.forget();
                continue;
            }
            tracing::debug!(
                "shard {}: segment {} offset {offset}: not the block that is wanted: {header:?}, wanted \
                 {wanted:?}; it follows: {follows}, it starts right: {starts}",
                self.shard,
                header.segment
            );
            offset += align;
        }
        Ok(None)
    }

    /// Opens the segment that holds the wanted block, unless it is open. False: there is none.
    async fn enter_segment(&mut self) -> Result<bool, ReadError> {
        let sequence = self.position.sequence;
        if self.ground.lacks(Defence::LastCopy)
            && let Some((open, _)) = &self.open
            && open.id == self.position.segment
        {
            return Ok(true);
        }
        // A log whose oldest segments are gone begins with its first.
        let segment = self
            .table
            .segment_of(sequence)
            .or_else(|| self.table.first());
        let Some(segment) = segment else {
            return Ok(false);
        };
        let is_open = self
            .open
            .as_ref()
            .is_some_and(|(open, _)| open.id == segment.id);
        let is_there =
            self.position.segment == segment.id && self.position.offset >= SEGMENT_HEADER_BYTES;
        if !is_there {
            let LogPosition {
                sequence,
                event,
                chain,
                ..
            } = self.position;
            self.position = LogPosition {
                segment: segment.id,
                offset: SEGMENT_HEADER_BYTES,
                sequence,
                event,
                chain,
            };
        }
        if !is_open {
            self.open_file(segment).await?;
        }
        Ok(true)
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
        self.open = Some((segment, Rc::new(file)));
        self.forget();
        Ok(())
    }

    /// The block of `header` if its payload is what was written.
    async fn verified(
        &mut self,
        offset: u64,
        header: &BlockHeader,
    ) -> Result<Option<Block>, ReadError> {
        let bytes = self.bytes_at(offset, header.block_bytes as usize).await?;
        let payload_end = BLOCK_HEADER_BYTES + header.payload_bytes as usize;
        if bytes.len() < payload_end {
            return Ok(None);
        }
        let payload = bytes.slice(BLOCK_HEADER_BYTES..payload_end);
        if crc32c(&payload) != header.payload_crc && !self.ground.lacks(Defence::PayloadChecksum) {
            return Ok(None);
        }
        Ok(Some(Block {
            sequence: header.sequence,
            first_event: header.first_event,
            event_count: header.event_count,
            segment: header.segment,
            offset: header.offset,
            held_bytes: payload.len(),
            payload,
        }))
    }

    /// The header at `offset` of the open segment if it is whole and belongs there.
    async fn header_at(&mut self, offset: u64) -> Result<Option<(BlockHeader, u32)>, ReadError> {
        let bytes = self.bytes_at(offset, limits::ALIGN_BYTES).await?;
        let (segment, _) = self.open.as_ref().expect("a segment is open");
        let is_checked = !self.ground.lacks(Defence::HeaderChecksum);
        let Ok((header, crc)) = BlockHeader::decode_with(&bytes, is_checked) else {
            return Ok(None);
        };
        let belongs = header.shard == self.shard
            && (header.segment == segment.id || self.ground.lacks(Defence::Place))
            && (header.epoch == segment.epoch || self.ground.lacks(Defence::Epoch))
            && (header.offset == offset || self.ground.lacks(Defence::Place))
            && u64::from(header.block_bytes) <= segment.bytes - offset;
        Ok(belongs.then_some((header, crc)))
    }

    /// `length` bytes at `offset` of the open segment; fewer at its end, or where the medium refuses
    /// and that is passed over.
    async fn bytes_at(&mut self, offset: u64, length: usize) -> Result<Bytes, ReadError> {
        if !self.chunk_holds(offset) && !self.load(offset, length).await? {
            return Ok(Bytes::new());
        }
        let start = usize::try_from(offset - self.chunk_offset).expect("inside the chunk");
        if start + length <= self.chunk.len() {
            return Ok(self.chunk.slice(start..start + length));
        }
        // The range goes on in the chunk behind, which has been asked for already.
        let mut whole = BytesMut::with_capacity(length);
        whole.extend_from_slice(&self.chunk[start..]);
        while whole.len() < length {
            let behind = self.chunk_offset + self.chunk.len() as u64;
            if !self.load(behind, length - whole.len()).await? {
                break;
            }
            let take = self.chunk.len().min(length - whole.len());
            whole.extend_from_slice(&self.chunk[..take]);
        }
        Ok(whole.freeze())
    }

    fn chunk_holds(&self, offset: u64) -> bool {
        let end = self.chunk_offset + self.chunk.len() as u64;
        (self.chunk_offset..end).contains(&offset)
    }

    /// What has been read may be older than what was written since.
    fn forget(&mut self) {
        self.chunk = Bytes::new();
        self.ahead.clear();
    }

    /// Makes the chunk begin at `offset`, and asks for those behind. False: nothing is there.
    async fn load(&mut self, offset: u64, needed: usize) -> Result<bool, ReadError> {
        let (segment, file) = self.open.as_ref().expect("a segment is open");
        let (segment, file) = (segment.clone(), Rc::clone(file));
        let ahead_bytes = self.ground.bounds().read_back_bytes;
        let wanted = needed.max(ahead_bytes);
        if self
            .ahead
            .front()
            .is_some_and(|ahead| ahead.offset != offset)
        {
            self.ahead.clear();
        }
        let read = match self.ahead.pop_front() {
            Some(Ahead {
                done: Some(result), ..
            }) => result,
            Some(Ahead { read, .. }) => read.await,
            None => read_from(&segment, &*file, offset, wanted).await,
        };
        let read = match read {
            // A large read fails for one bad sector in it: read what is needed only.
            Err(error) if error.is_medium() && wanted > needed => {
                read_from(&segment, &*file, offset, needed).await
            }
            other => other,
        };
        let passes = self.passes_unreadable || self.ground.lacks(Defence::ReadAgain);
        let read = match read {
            Err(error) if passes => self.insist(&segment, &file, offset, needed, error).await,
            other => other,
        };
        self.chunk = match read {
            Err(error) if error.is_medium() && passes => {
                if !self.answers_elsewhere(&segment, &file).await {
                    // Not a bad sector but a dead disk. It may come back, and what it holds with it.
                    return Err(error);
                }
                tracing::error!("{error}: {}; passed over as damage", error.source);
                self.chunk = Bytes::new();
                return Ok(false);
            }
            other => other?,
        };
        self.chunk_offset = offset;
        if !self.chunk.is_empty() {
            self.read_ahead(&segment, &file).await;
        }
        Ok(!self.chunk.is_empty())
    }

    /// Asks for the chunks behind this one, so that the disk always has something to do.
    async fn read_ahead(&mut self, segment: &SegmentInfo, file: &Rc<G::File>) {
        let length = self.ground.bounds().read_back_bytes;
        while self.ahead.len() < limits::READS_AHEAD {
            let chunk_end = self.chunk_offset + self.chunk.len() as u64;
            let offset = self.ahead.back().map_or(chunk_end, |last| last.end);
            if offset >= segment.bytes {
                return;
            }
            let (segment, file) = (segment.clone(), Rc::clone(file));
            let read = async move { read_from(&segment, &*file, offset, length).await };
            let mut read: BoxedLocal<_> = Box::pin(read);
            // The first poll submits it.
            let done = future::poll_once(&mut read).await;
            self.ahead.push_back(Ahead {
                offset,
                end: offset + length as u64,
                read,
                done,
            });
        }
    }

    /// Whether any other part of the segment can be read.
    async fn answers_elsewhere(&self, segment: &SegmentInfo, file: &Rc<G::File>) -> bool {
        if self.ground.lacks(Defence::ReadAgain) {
            return true;
        }
        let sector = limits::ALIGN_BYTES as u64;
        let sectors = (segment.bytes / sector).max(1);
        for part in 0..limits::READ_PROBES {
            let offset = (sectors - 1) * part / (limits::READ_PROBES - 1) * sector;
            let read = read_from(segment, &**file, offset, limits::ALIGN_BYTES).await;
            let read = match read {
                Err(error) => {
                    self.insist(segment, file, offset, limits::ALIGN_BYTES, error)
                        .await
                }
                read => read,
            };
            if read.is_ok() {
                return true;
            }
        }
        false
    }

    /// Reads again what will otherwise be passed over: the error may pass first.
    async fn insist(
        &self,
        segment: &SegmentInfo,
        file: &Rc<G::File>,
        offset: u64,
        length: usize,
        mut error: ReadError,
    ) -> Result<Bytes, ReadError> {
        for _ in 1..limits::READ_ATTEMPTS_MAX {
            if !error.is_medium() || self.ground.lacks(Defence::ReadAgain) {
                break;
            }
            self.ground.sleep(limits::READ_AGAIN_AFTER).await;
            match read_from(segment, &**file, offset, length).await {
                Ok(read) => return Ok(read),
                Err(again) => error = again,
            }
        }
        Err(error)
    }
}

impl<G: Ground, T> std::fmt::Debug for LogReader<G, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Up to `length` bytes at `offset`; fewer only at the end of the segment.
async fn read_from<F: DiskFile>(
    segment: &SegmentInfo,
    file: &F,
    offset: u64,
    length: usize,
) -> Result<Bytes, ReadError> {
    let left = segment.bytes.saturating_sub(offset);
    let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let have = first.len() + rest.len();
        if have >= length {
            break;
        }
        let more = file.read(offset + have as u64, length - have).await;
        let more = more.map_err(|source| ReadError {
            segment: segment.id,
            offset,
            source,
        })?;
        if more.is_empty() {
            break;
        }
        // One read gives all of it, except after a short one.
        match have {
            0 => first = more,
            _ => rest.extend_from_slice(&more),
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first.as_ref());
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn start_of(segment: &SegmentInfo) -> LogPosition {
    LogPosition {
        segment: segment.id,
        offset: SEGMENT_HEADER_BYTES,
        sequence: segment.first_sequence,
        event: segment.first_event,
        chain: 0,
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

fn lost_between(wanted: LogPosition, found: &BlockHeader) -> Lost {
    assert!(found.sequence > wanted.sequence, "something was lost");
    Lost {
        segment: wanted.segment,
        offset: wanted.offset,
        sequence: wanted.sequence,
        blocks: found.sequence - wanted.sequence,
        events: found.first_event.saturating_sub(wanted.event),
    }
}
