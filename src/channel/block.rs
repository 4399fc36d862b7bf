//! A block: the batches of one group commit, as they lie on disk and in memory.
//!
//! The payload of a block is records back to back, one record a batch (or a part of one, when a batch
//! is larger than a block):
//!
//! ```text
//! offset  size  field                      all integers little-endian
//!      0     4  record_bytes               of the whole record, this field included
//!      4     4  event_count
//!      8     8  arrival_ms                 since the epoch
//!     16     4  overlay_bytes              0 when no interceptor added anything
//!     20     …  overlay                    event::Overlay::encode
//!      …     …  events                     AvroFlumeEvents back to back, to the end of the record
//! ```

use bytes::Bytes;

use crate::event::{AvroError, Batch, Events, Overlay};

/// Bytes of a record before its overlay.
pub const RECORD_HEADER_BYTES: usize = 20;

/// A committed block, shared by the drain threads.
#[derive(Debug, Clone)]
pub struct Block {
    /// Number of the block in its shard's log; grows by one.
    pub sequence: u64,
    /// Number of its first event in its shard's log; grows by one an event.
    pub first_event: u64,
    /// Events in all records.
    pub event_count: u32,
    /// Where it lies on disk: segment id. 0 in a memory channel.
    pub segment: u64,
    /// Where it lies on disk: offset of the block in the segment. 0 in a memory channel.
    pub offset: u64,
    /// Records back to back.
    pub payload: Bytes,
    /// Memory that the payload keeps from being used otherwise; at least its length.
    pub held_bytes: usize,
}

/// Why the payload of a block is not records. The checksum held, so this is a defect of ours or
/// damage that a checksum cannot see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A record's lengths contradict each other.
    #[error("record at payload offset {offset}: {record_bytes} bytes do not fit")]
    RecordLength {
        /// Offset in the payload.
        offset: usize,
        /// What the record claims.
        record_bytes: usize,
    },
    /// The events of a record do not parse.
    #[error("record at payload offset {offset}")]
    Events {
        /// Offset in the payload.
        offset: usize,
        /// What is wrong.
        #[source]
        source: AvroError,
    },
}

/// One batch of a block.
#[derive(Debug, Clone)]
pub struct Record {
    /// Events in it.
    pub event_count: u32,
    /// When the batch reached us, in milliseconds since the epoch.
    pub arrival_ms: u64,
    /// What interceptors added.
    pub overlay: Overlay,
    /// `AvroFlumeEvent`s back to back.
    pub events: Bytes,
    /// Offset of the next record in the payload.
    pub next_offset: usize,
    /// Of a memory channel.
    pub in_memory: bool,
}

impl Record {
    /// The record's events.
    pub fn iter(&self) -> Events<'_> {
        Events::new(&self.events, &self.overlay, self.arrival_ms).in_memory(self.in_memory)
    }
}

impl Block {
    /// The record at `offset` of the payload, or none at its end.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn record_at(&self, offset: usize) -> Result<Option<Record>, BlockError> {
        let rest = &self.payload[offset.min(self.payload.len())..];
        if rest.is_empty() {
            return Ok(None);
        }
        let wrong = |record_bytes| BlockError::RecordLength {
            offset,
            record_bytes,
        };
        let header = rest
            .first_chunk::<RECORD_HEADER_BYTES>()
            .ok_or(wrong(rest.len()))?;
        let record_bytes = u32_at(header, 0) as usize;
        let overlay_bytes = u32_at(header, 16) as usize;
        let events_start = RECORD_HEADER_BYTES + overlay_bytes;
        if record_bytes < events_start || record_bytes > rest.len() {
            return Err(wrong(record_bytes));
        }
        let overlay = match overlay_bytes {
            0 => Overlay::default(),
            _ => Overlay::decode(&rest[RECORD_HEADER_BYTES..events_start])
                .map_err(|source| BlockError::Events { offset, source })?,
        };
        Ok(Some(Record {
            event_count: u32_at(header, 4),
            arrival_ms: u64::from(u32_at(header, 8)) | u64::from(u32_at(header, 12)) << 32,
            overlay,
            events: self
                .payload
                .slice(offset + events_start..offset + record_bytes),
            next_offset: offset + record_bytes,
            in_memory: self.segment == 0,
        }))
    }
}

fn u32_at(header: &[u8; RECORD_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// Bytes the record of `batch` takes, given its encoded overlay.
#[must_use]
pub fn record_bytes(batch: &Batch<'_>, overlay_encoded: &[u8]) -> usize {
    RECORD_HEADER_BYTES + overlay_encoded.len() + batch.encoded_bytes()
}

/// Writes the record of `batch` to the start of `out` and returns its length.
///
/// # Panics
/// When `out` is shorter than [`record_bytes`] or a length does not fit 32 bits: the caller has
/// checked both.
pub fn write_record(out: &mut [u8], batch: &Batch<'_>, overlay_encoded: &[u8]) -> usize {
    let total = record_bytes(batch, overlay_encoded);
    let as_u32 = |value: usize| u32::try_from(value).expect("blocks are smaller than 4 GiB");
    assert!(total <= out.len(), "the caller made room for the record");
    out[0..4].copy_from_slice(&as_u32(total).to_le_bytes());
    out[4..8].copy_from_slice(&as_u32(batch.event_count).to_le_bytes());
    out[8..16].copy_from_slice(&batch.arrival_ms.to_le_bytes());
    out[16..20].copy_from_slice(&as_u32(overlay_encoded.len()).to_le_bytes());
    let mut at = RECORD_HEADER_BYTES;
    for piece in std::iter::once(&overlay_encoded).chain(batch.pieces) {
        out[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    }
    assert_eq!(at, total, "every piece was copied");
    total
}
