//! What the blocks of a file say about the segment they were written to.
//!
//! Every block names its shard, segment, epoch and place, under a checksum of its own. So a segment
//! whose header is damaged, zeroed, or another one's is still known by its blocks, and one bad sector
//! does not cost a whole segment. Used by the census, which decides whether header or blocks are right.

use std::io;

use bytes::Bytes;

use super::header::{BlockHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::reader::is_medium;
use crate::limits;
use crate::reactor::{DiskFile, Ground};

/// How much of a file is searched for blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// The place of the first block: enough where the header is whole.
    First,
    /// All of it, unless samples of it are zeros.
    UnlessBlank,
    /// All of it.
    Whole,
}

/// What the blocks claim: the header of the last segment that was written to the file. `None`: no block
/// of `shard` is where the search goes. Sectors that the medium refuses hold no block, and blocks of the
/// segments `elsewhere` went astray.
pub(super) async fn claim<G: Ground>(
    ground: &G,
    file: &G::File,
    file_bytes: u64,
    shard: u32,
    search: Search,
    elsewhere: &[u64],
) -> io::Result<Option<SegmentHeader>> {
    let align = limits::ALIGN_BYTES;
    let step_bytes = ground.bounds().read_back_bytes;
    let here = |block: &BlockHeader| !elsewhere.contains(&block.segment);
    let first = block_in(ground, file, SEGMENT_HEADER_BYTES, shard)
        .await?
        .filter(here);
    // Blocks are written from the front: what an earlier use left is only behind the first one.
    if first.is_some() || search == Search::First {
        return Ok(first.map(|block| header_of(&block, file_bytes)));
    }
    if search == Search::UnlessBlank && is_blank(ground, file, file_bytes).await? {
        return Ok(None);
    }
    let mut newest: Option<BlockHeader> = None;
    let end = file_bytes;
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < end {
        let read = match file.read(offset, step_bytes).await {
            Err(error) if is_medium(&error) => {
                // One bad sector of many: all are read one by one, with patience.
                let step = step_bytes as u64;
                let sectors = (offset..end.min(offset + step)).step_by(align);
                for sector in sectors {
                    newer(
                        &mut newest,
                        block_in(ground, file, sector, shard).await?.filter(here),
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

/// Whether the first step of the file and a sector at every further one hold zeros: a file that was never
/// used does, and the payload of a block does not. The first step whole, because a log that has just begun
/// lies in it, and the first of its sectors may be what was zeroed.
async fn is_blank<G: Ground>(ground: &G, file: &G::File, file_bytes: u64) -> io::Result<bool> {
    let step_bytes = ground.bounds().read_back_bytes as u64;
    let sector_bytes = limits::ALIGN_BYTES as u64;
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < file_bytes {
        let length = step_bytes.saturating_sub(offset).max(sector_bytes);
        let length = usize::try_from(length).unwrap_or(limits::ALIGN_BYTES);
        let read = match read_patiently(ground, file, offset, length).await {
            Ok(bytes) if is_zeros(&bytes) => bytes.len() as u64,
            Err(error) if !is_medium(&error) => return Err(error),
            Ok(_) | Err(_) => return Ok(false),
        };
        if read == 0 {
            break;
        }
        offset += read.next_multiple_of(sector_bytes);
        if offset >= step_bytes {
            offset = offset.next_multiple_of(step_bytes);
        }
    }
    Ok(true)
}

/// By the sector, which the processor compares at once: a start on many spares spends its time here.
fn is_zeros(bytes: &[u8]) -> bool {
    static ZEROS: [u8; limits::ALIGN_BYTES] = [0; limits::ALIGN_BYTES];
    let mut sectors = bytes.chunks(ZEROS.len());
    sectors.all(|sector| sector == &ZEROS[..sector.len()])
}

/// Keeps the block of the newest segment, and of its blocks the first.
fn newer(newest: &mut Option<BlockHeader>, found: Option<BlockHeader>) {
    if let Some(found) = found
        && newest.is_none_or(|known| known.segment < found.segment)
    {
        *newest = Some(found);
    }
}

async fn block_in<G: Ground>(
    ground: &G,
    file: &G::File,
    offset: u64,
    shard: u32,
) -> io::Result<Option<BlockHeader>> {
    match read_patiently(ground, file, offset, limits::ALIGN_BYTES).await {
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

/// Reads again what the medium refuses: taking an error that passes for damage would lose data.
pub(super) async fn read_patiently<G: Ground>(
    ground: &G,
    file: &G::File,
    offset: u64,
    length: usize,
) -> io::Result<Bytes> {
    let mut read = file.read(offset, length).await;
    for _ in 1..limits::READ_ATTEMPTS_MAX {
        if !read.as_ref().is_err_and(is_medium) {
            break;
        }
        ground.sleep(limits::READ_AGAIN_AFTER).await;
        read = file.read(offset, length).await;
    }
    read
}
