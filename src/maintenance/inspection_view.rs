//! What `inspect` shows: a segment or a block, as text and as JSON.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::channel::wal::{BlockHeader, SegmentHeader};

/// What was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Inspection {
    /// A segment with a line for each block.
    Segment(Box<SegmentView>),
    /// A block with its events.
    Block(Box<BlockView>),
}

/// A segment.
#[derive(Debug, Serialize)]
pub struct SegmentView {
    /// The file.
    pub file: PathBuf,
    /// Length.
    pub bytes: u64,
    /// Header fields.
    pub header: SegmentFields,
    /// Its blocks, and what stands between them.
    pub blocks: Vec<BlockLine>,
}

/// Fields of a segment's header, as in `docs/FORMAT.md`.
#[derive(Debug, Serialize)]
pub struct SegmentFields {
    pub shard: u32,
    pub segment: u64,
    pub epoch: String,
    pub segment_bytes: u64,
    pub first_sequence: u64,
    pub first_event: u64,
    pub chain: String,
}

/// One block of a segment.
#[derive(Debug, Serialize)]
pub struct BlockLine {
    /// Where it begins.
    pub offset: u64,
    /// Its number.
    pub block: u64,
    /// Its first event's.
    pub first_event: u64,
    /// Events in it, or lost with it.
    pub events: u64,
    /// Bytes on disk, 0 when it is lost.
    pub bytes: u64,
    /// Why it is lost; with `lost_blocks`.
    pub lost: Option<String>,
    /// How many blocks are lost here.
    pub lost_blocks: u64,
}

/// A block.
#[derive(Debug, Serialize)]
pub struct BlockView {
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// Header fields; none when there is no header.
    pub header: Option<BlockFields>,
    /// Why it is no block of the log.
    pub damage: Option<String>,
    /// Its batches.
    pub records: Vec<RecordView>,
}

/// Fields of a block's header, as in `docs/FORMAT.md`.
#[derive(Debug, Serialize)]
pub struct BlockFields {
    pub shard: u32,
    pub segment: u64,
    pub epoch: String,
    pub offset: u64,
    pub sequence: u64,
    pub first_event: u64,
    pub event_count: u32,
    pub record_count: u32,
    pub payload_bytes: u32,
    pub block_bytes: u32,
    pub chain: String,
    pub payload_crc: String,
    pub header_crc: String,
}

/// One batch.
#[derive(Debug, Serialize)]
pub struct RecordView {
    /// Offset in the payload.
    pub offset: usize,
    /// When it reached the collector, in milliseconds since the epoch.
    pub arrival_ms: u64,
    /// What interceptors added to each event.
    pub overlay: Vec<(String, String)>,
    /// Its events.
    pub events: Vec<EventLine>,
}

/// One event.
#[derive(Debug, Serialize)]
pub struct EventLine {
    /// Its number.
    pub event: u64,
    /// Bytes of its body.
    pub body_bytes: usize,
    /// What a logger sink would print.
    pub line: String,
}

impl SegmentFields {
    /// Those of `header`.
    pub fn of(header: &SegmentHeader) -> Self {
        Self {
            shard: header.shard,
            segment: header.segment,
            epoch: format!("{:016x}", header.epoch),
            segment_bytes: header.segment_bytes,
            first_sequence: header.first_sequence,
            first_event: header.first_event,
            chain: format!("{:08x}", header.chain),
        }
    }
}

impl BlockFields {
    /// Those of `header`.
    pub fn of(header: &BlockHeader, crc: u32) -> Self {
        Self {
            shard: header.shard,
            segment: header.segment,
            epoch: format!("{:016x}", header.epoch),
            offset: header.offset,
            sequence: header.sequence,
            first_event: header.first_event,
            event_count: header.event_count,
            record_count: header.record_count,
            payload_bytes: header.payload_bytes,
            block_bytes: header.block_bytes,
            chain: format!("{:08x}", header.chain),
            payload_crc: format!("{:08x}", header.payload_crc),
            header_crc: format!("{crc:08x}"),
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(segment) => segment.fmt(f),
            Self::Block(block) => block.fmt(f),
        }
    }
}

impl fmt::Display for SegmentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SegmentFields {
            shard,
            segment,
            epoch,
            segment_bytes,
            first_sequence,
            first_event,
            chain,
        } = &self.header;
        writeln!(f, "{}: {} bytes", self.file.display(), self.bytes)?;
        writeln!(
            f,
            "shard {shard}, segment {segment}, epoch {epoch}, {segment_bytes} bytes, first block \
             {first_sequence}, first event {first_event}, chain {chain}"
        )?;
        for line in &self.blocks {
            match &line.lost {
                None => writeln!(
                    f,
                    "{:>10}  block {}, {} bytes, {} events from {}",
                    line.offset, line.block, line.bytes, line.events, line.first_event
                )?,
                Some(reason) => writeln!(
                    f,
                    "{:>10}  DAMAGE: {} blocks from {} on with {} events: {reason}",
                    line.offset, line.lost_blocks, line.block, line.events
                )?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for BlockView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} offset {}", self.file.display(), self.offset)?;
        if let Some(header) = &self.header {
            writeln!(
                f,
                "shard {}, segment {}, epoch {}, offset {}, block {}, {} events from {}, {} records, \
                 payload {} bytes, block {} bytes, chain {}, payload_crc {}, header_crc {}",
                header.shard,
                header.segment,
                header.epoch,
                header.offset,
                header.sequence,
                header.event_count,
                header.first_event,
                header.record_count,
                header.payload_bytes,
                header.block_bytes,
                header.chain,
                header.payload_crc,
                header.header_crc
            )?;
        }
        if let Some(damage) = &self.damage {
            writeln!(f, "DAMAGE: {damage}")?;
        }
        for record in &self.records {
            write!(
                f,
                "record at {}: {} events, arrived {} ms after the epoch",
                record.offset,
                record.events.len(),
                record.arrival_ms
            )?;
            for (key, value) in &record.overlay {
                write!(f, ", adds {key}={value}")?;
            }
            writeln!(f)?;
            for event in &record.events {
                writeln!(f, "{:>12}  {}", event.event, event.line)?;
            }
        }
        Ok(())
    }
}
