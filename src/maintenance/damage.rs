//! One place where a log is not what was written: where, why, and what it costs.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::channel::wal::{
    BLOCK_HEADER_BYTES, BlockHeader, HeaderError, LogPosition, SEGMENT_HEADER_BYTES, SegmentInfo,
    SegmentList,
};
use crate::limits;
use crate::reactor::{DiskFile, Ground, ReadOnlyWorld};

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Blocks of a segment.
    Block,
    /// The header of a segment file, and with it all its blocks.
    SegmentHeader,
    /// A file that is shorter than its header says.
    SegmentLength,
    /// Segments that are not there.
    Missing,
    /// Two files with one segment id.
    Twins,
    /// A file of another shard.
    ForeignShard,
    /// A checkpoint file, or what it says.
    Checkpoint,
    /// A block whose checksums hold and whose content is not events.
    Content,
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Shard, except for a checkpoint file, which is of all.
    pub shard: Option<u32>,
    /// What is damaged.
    pub kind: Kind,
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// Segment id, where it is known.
    pub segment: Option<u64>,
    /// Number of the first lost block.
    pub first_block: Option<u64>,
    /// Why.
    pub reason: String,
    /// Blocks that are lost by it.
    pub blocks: u64,
    /// Events that are lost by it.
    pub events: u64,
    /// Those of them that not every consumer group has delivered.
    pub undelivered_events: u64,
}

impl Damage {
    /// A damage that takes no event by itself.
    #[must_use]
    pub fn without_loss(shard: Option<u32>, kind: Kind, file: PathBuf, reason: String) -> Self {
        Self {
            shard,
            kind,
            file,
            offset: 0,
            segment: None,
            first_block: None,
            reason,
            blocks: 0,
            events: 0,
            undelivered_events: 0,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DAMAGE {} offset {}", self.file.display(), self.offset)?;
        if let Some(segment) = self.segment {
            write!(f, " (segment {segment}")?;
            if let Some(block) = self.first_block {
                write!(f, ", block {block}")?;
            }
            f.write_str(")")?;
        }
        write!(f, ": {}", self.reason)?;
        write!(f, "; lost: {} blocks, {} events", self.blocks, self.events)?;
        if self.events > 0 {
            write!(f, " ({} not delivered yet)", self.undelivered_events)?;
        }
        Ok(())
    }
}

/// What is damaged, and why, where block `wanted` of `shard` should be, in `segment` of `list`.
pub async fn explain(
    ground: &ReadOnlyWorld,
    shard: u32,
    list: &SegmentList,
    segment: &SegmentInfo,
    wanted: LogPosition,
) -> (Kind, String) {
    match missing_behind(list, segment) {
        Some(missing) if !is_block_there(ground, shard, segment, wanted).await => {
            (Kind::Missing, missing)
        }
        _ => (Kind::Block, reason(ground, shard, segment, wanted).await),
    }
}

fn missing_behind(list: &SegmentList, segment: &SegmentInfo) -> Option<String> {
    let mut segments = list.as_slice().iter();
    let next = segments.find(|next| next.id > segment.id)?;
    let (first, last) = (segment.id + 1, next.id - 1);
    let missing = match first <= last {
        false => return None,
        true if first == last => format!("segment {first} is"),
        true => format!("segments {first} to {last} are"),
    };
    Some(format!(
        "{missing} not there: is a data directory not mounted?"
    ))
}

/// Whether the place of a block looks as if the block, or something in its stead, had been written.
async fn is_block_there(
    ground: &ReadOnlyWorld,
    shard: u32,
    segment: &SegmentInfo,
    wanted: LogPosition,
) -> bool {
    match header_at(ground, segment, wanted.offset).await {
        Some(header) => {
            header.shard == shard && header.segment == segment.id && header.epoch == segment.epoch
        }
        None => false,
    }
}

/// The header of a block at `offset`, whosever it is.
pub async fn header_at(
    ground: &ReadOnlyWorld,
    segment: &SegmentInfo,
    offset: u64,
) -> Option<BlockHeader> {
    let file = ground.open(&segment.path).await.ok()?;
    let start = file.read(offset, limits::ALIGN_BYTES).await.ok()?;
    BlockHeader::decode(&start).ok().map(|(header, _)| header)
}

/// Why block `wanted` of `shard` is not in `segment` where it should be.
pub async fn reason(
    ground: &ReadOnlyWorld,
    shard: u32,
    segment: &SegmentInfo,
    wanted: LogPosition,
) -> String {
    let offset = wanted.offset.max(SEGMENT_HEADER_BYTES);
    if offset >= segment.bytes {
        return "the log goes on in a segment that is not there".to_owned();
    }
    let file = match ground.open(&segment.path).await {
        Ok(file) => file,
        Err(error) => return format!("the file cannot be opened: {error}"),
    };
    let start = match file.read(offset, limits::ALIGN_BYTES).await {
        Ok(start) => start,
        Err(error) => return format!("the medium refuses to read it: {error}"),
    };
    let header = match BlockHeader::decode(&start) {
        Ok((header, _)) => header,
        Err(HeaderError::Blank) if start.is_empty() => return "the file ends here".to_owned(),
        Err(HeaderError::Blank) => return "zeros stand where the block should begin".to_owned(),
        Err(HeaderError::Magic) => return "no block begins here".to_owned(),
        Err(error) => return format!("block header: {error}"),
    };
    if let Some(reason) = misplaced(shard, segment, offset, wanted, &header) {
        return reason;
    }
    let payload_bytes = header.payload_bytes as usize;
    match file.read(offset, header.block_bytes as usize).await {
        Ok(block) if block.len() < BLOCK_HEADER_BYTES + payload_bytes => {
            "the file ends inside the block".to_owned()
        }
        Ok(block) => {
            let payload = &block[BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + payload_bytes];
            format!(
                "payload checksum {:#010x} is not {:#010x}",
                header.payload_crc,
                crc32c::crc32c(payload)
            )
        }
        Err(error) => format!("the medium refuses to read it: {error}"),
    }
}

/// What about a whole header says that it does not belong where it is.
fn misplaced(
    shard: u32,
    segment: &SegmentInfo,
    offset: u64,
    wanted: LogPosition,
    header: &BlockHeader,
) -> Option<String> {
    if header.shard != shard {
        return Some(format!("a block of shard {} stands here", header.shard));
    }
    if header.segment == segment.id && header.epoch != segment.epoch || header.segment < segment.id
    {
        return Some(format!(
            "a block of an earlier use of the file stands here (segment {}, block {})",
            header.segment, header.sequence
        ));
    }
    if (header.segment, header.offset) != (segment.id, offset) {
        return Some(format!(
            "a block stands here that belongs to segment {} offset {}: a write or a copy went astray",
            header.segment, header.offset
        ));
    }
    if header.sequence != wanted.sequence {
        return Some(format!(
            "block {} stands where block {} should be",
            header.sequence, wanted.sequence
        ));
    }
    if wanted.chain != 0 && header.chain != wanted.chain {
        return Some(format!(
            "the block does not follow the one before: chain {:#010x} is not {:#010x}",
            header.chain, wanted.chain
        ));
    }
    None
}
