//! What the blocks of a file say about the segment they were written to.
//!
//! Every block names its shard, segment, epoch and place, under a checksum of its own. So a segment
//! whose header is damaged, zeroed, or another one's is still known by its blocks, and one bad sector
//! does not cost a whole segment. Used by the census, which decides whether header or blocks are right.

use std::io;

use super::header::{BlockHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::limits;
use crate::reactor::DiskFile;

/// How much of a file is searched for blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// The place of the first block: enough where the header is whole.
    First,
    /// This many bytes from there on.
    Bytes(u64),
}

/// What the blocks claim: the header of the last segment that was written to the file. `None`: no block
/// of `shard` is where the search goes. Sectors that the medium refuses hold no block, and blocks of the
/// segments `elsewhere` went astray.
pub(super) async fn claim<F: DiskFile>(
    file: &F,
    file_bytes: u64,
    shard: u32,
    search: Search,
    step_bytes: usize,
    elsewhere: &[u64],
) -> io::Result<Option<SegmentHeader>> {
    let align = limits::ALIGN_BYTES;
    let here = |block: &BlockHeader| !elsewhere.contains(&block.segment);
    let first = block_in(file, SEGMENT_HEADER_BYTES, shard)
        .await?
        .filter(here);
    let Search::Bytes(search_bytes) = search else {
        return Ok(first.map(|block| header_of(&block, file_bytes)));
    };
    if let Some(block) = first {
        // Blocks are written from the front: what an earlier use left is only behind it.
        return Ok(Some(header_of(&block, file_bytes)));
    }
    let mut newest: Option<BlockHeader> = None;
    let end = file_bytes.min(SEGMENT_HEADER_BYTES.saturating_add(search_bytes));
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < end {
        let read = match file.read(offset, step_bytes).await {
            Err(error) if is_medium(&error) && step_bytes > align => {
                // One bad sector of many: the others are read one by one.
                let step = step_bytes as u64;
                let sectors = (offset..end.min(offset + step)).step_by(align);
                for sector in sectors {
                    newer(
                        &mut newest,
                        block_in(file, sector, shard).await?.filter(here),
                    );
                }
                offset += step;
                continue;
            }
            other => other?,
        };
        if read.is_empty() {
            break;
        }
        for (sector, bytes) in (offset..).step_by(align).zip(read.chunks(align)) {
            newer(&mut newest, block_at(bytes, sector, shard).filter(here));
        }
        offset += (read.len() as u64).next_multiple_of(align as u64);
    }
    Ok(newest.map(|block| header_of(&block, file_bytes)))
}

/// Keeps the block of the newest segment, and of its blocks the first.
fn newer(newest: &mut Option<BlockHeader>, found: Option<BlockHeader>) {
    if let Some(found) = found
        && newest.is_none_or(|known| known.segment < found.segment)
    {
        *newest = Some(found);
    }
}

async fn block_in<F: DiskFile>(
    file: &F,
    offset: u64,
    shard: u32,
) -> io::Result<Option<BlockHeader>> {
    match file.read(offset, limits::ALIGN_BYTES).await {
        Ok(bytes) => Ok(block_at(&bytes, offset, shard)),
        Err(error) if is_medium(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn block_at(bytes: &[u8], offset: u64, shard: u32) -> Option<BlockHeader> {
    let (block, _) = BlockHeader::decode(bytes).ok()?;
    (block.shard == shard && block.offset == offset).then_some(block)
}

fn header_of(block: &BlockHeader, segment_bytes: u64) -> SegmentHeader {
    SegmentHeader {
        shard: block.shard,
        segment: block.segment,
        epoch: block.epoch,
        segment_bytes,
        first_sequence: block.sequence,
        first_event: block.first_event,
        chain: block.chain,
    }
}

/// Whether the medium itself refuses; other errors say nothing about the data.
pub(super) fn is_medium(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
