//! The two headers on disk, byte for byte: one at the start of a segment, one at the start of a block.
//!
//! Pure functions; `docs/FORMAT.md` describes the same bytes and a tidy test holds the two together.
//! What each field catches: the checksum catches rot and torn writes; `segment` and `offset` a write
//! that went astray; `epoch` what an earlier use of a recycled segment left behind; `chain` a block
//! that was never written in the middle of others.

#![deny(clippy::indexing_slicing)]

use crc32c::crc32c;

use crate::limits;

/// First bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"FLUMENS1";
/// First bytes of a block.
pub const BLOCK_MAGIC: [u8; 8] = *b"FLUMENB1";
/// Version of both formats. Another version is refused, not guessed at.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes a segment keeps for its header; blocks begin here.
pub const SEGMENT_HEADER_BYTES: u64 = limits::ALIGN_BYTES as u64;
/// Bytes of a block before its payload.
pub const BLOCK_HEADER_BYTES: usize = 96;
/// Segments, blocks and events are numbered from 0 in steps of one: no log reaches this. A header with
/// such a number was made by nobody we know, and counting on from it would overflow.
pub const NUMBER_MAX: u64 = u64::MAX / 2;

const STATE_IN_USE: u32 = 0;
const STATE_RELEASED: u32 = 1;

const SEGMENT_FIELDS_BYTES: usize = 68;
const BLOCK_FIELDS_BYTES: usize = 92;

/// Why bytes are not the header they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// All zeros: never written.
    #[error("nothing was ever written here")]
    Blank,
    /// Another magic, or too few bytes.
    #[error("no header begins here")]
    Magic,
    /// Written by another format version.
    #[error("format version {version} is not {FORMAT_VERSION}")]
    Version {
        /// What it says.
        version: u32,
    },
    /// The header's own checksum does not hold.
    #[error("header checksum {found:#010x} is not {computed:#010x}")]
    Checksum {
        /// On disk.
        found: u32,
        /// Over the bytes.
        computed: u32,
    },
    /// A segment that every consumer group has passed: what it holds was delivered.
    #[error("segment {segment} was let go")]
    Released {
        /// Its id.
        segment: u64,
    },
    /// The checksum holds, but the lengths cannot be.
    #[error("block of {block_bytes} bytes with a payload of {payload_bytes} bytes")]
    Lengths {
        /// `block_bytes`.
        block_bytes: u32,
        /// `payload_bytes`.
        payload_bytes: u32,
    },
    /// The checksum holds, but no log counts so far.
    #[error("number {number} is beyond any that a log can reach")]
    Number {
        /// Of a segment, block or event.
        number: u64,
    },
}

/// ```text
/// offset  size  field              all integers little-endian
///      0     8  magic              "FLUMENS1"
///      8     4  version
///     12     4  shard
///     16     8  segment            id, grows by one with each segment of the shard's log
///     24     8  epoch              random, new for each use of the file
///     32     8  segment_bytes      size of the file
///     40     8  first_sequence     of the first block that will be written to it
///     48     8  first_event        of that block
///     56     4  chain              header checksum of the block before
///     60     4  state              0 in use, 1 released: what it holds was delivered
///     64     4  header_crc         CRC32C of bytes 0..64
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Shard number.
    pub shard: u32,
    /// Segment id.
    pub segment: u64,
    /// Random number of this use of the file.
    pub epoch: u64,
    /// Size of the file.
    pub segment_bytes: u64,
    /// Sequence of the first block to come.
    pub first_sequence: u64,
    /// Event number of the first event to come.
    pub first_event: u64,
    /// Header checksum of the block before, 0 for the first of a log.
    pub chain: u32,
}

impl SegmentHeader {
    /// Writes the header to the start of `out`.
    ///
    /// # Panics
    /// When `out` is shorter than the header.
    pub fn encode(&self, out: &mut [u8]) {
        self.encode_state(out, STATE_IN_USE);
    }

    /// Writes the mark of a released segment to the start of `out`. Unlike zeros, it cannot be what
    /// damage left of a header.
    ///
    /// # Panics
    /// When `out` is shorter than the header.
    pub fn encode_released(&self, out: &mut [u8]) {
        self.encode_state(out, STATE_RELEASED);
    }

    fn encode_state(&self, out: &mut [u8], state: u32) {
        let mut fields = Writer::new(out, SEGMENT_FIELDS_BYTES);
        fields.bytes(&SEGMENT_MAGIC);
        fields.u32(FORMAT_VERSION);
        fields.u32(self.shard);
        fields.u64(self.segment);
        fields.u64(self.epoch);
        fields.u64(self.segment_bytes);
        fields.u64(self.first_sequence);
        fields.u64(self.first_event);
        fields.u32(self.chain);
        fields.u32(state);
        fields.finish_with_crc();
    }

    /// Reads a header from the start of `bytes`.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut fields = Reader::checked(bytes, SEGMENT_FIELDS_BYTES, SEGMENT_MAGIC, true)?;
        let header = Self {
            shard: fields.u32(),
            segment: fields.u64(),
            epoch: fields.u64(),
            segment_bytes: fields.u64(),
            first_sequence: fields.u64(),
            first_event: fields.u64(),
            chain: fields.u32(),
        };
        check_numbers([header.segment, header.first_sequence, header.first_event])?;
        match fields.u32() {
            STATE_RELEASED => Err(HeaderError::Released {
                segment: header.segment,
            }),
            _ => Ok(header),
        }
    }
}

/// ```text
/// offset  size  field              all integers little-endian
///      0     8  magic              "FLUMENB1"
///      8     4  version
///     12     4  shard
///     16     8  segment            id of the segment it belongs to
///     24     8  epoch              of that segment
///     32     8  offset             of this block in the segment
///     40     8  sequence           grows by one with each block of the shard's log
///     48     8  first_event        number of its first event
///     56     4  event_count
///     60     4  record_count
///     64     4  payload_bytes      records, without header and padding
///     68     4  block_bytes        header, payload and padding
///     72     4  chain              header_crc of the block before
///     76     4  payload_crc        CRC32C of the payload
///     80     8  reserved           0
///     88     4  header_crc         CRC32C of bytes 0..88
///     92     4  padding            0
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// Shard number.
    pub shard: u32,
    /// Segment id.
    pub segment: u64,
    /// The segment's epoch.
    pub epoch: u64,
    /// Where the block begins in the segment.
    pub offset: u64,
    /// Block number.
    pub sequence: u64,
    /// Number of the first event.
    pub first_event: u64,
    /// Events in the block.
    pub event_count: u32,
    /// Records in the block.
    pub record_count: u32,
    /// Bytes of records.
    pub payload_bytes: u32,
    /// Bytes on disk.
    pub block_bytes: u32,
    /// Header checksum of the block before.
    pub chain: u32,
    /// CRC32C of the payload.
    pub payload_crc: u32,
}

impl BlockHeader {
    /// Writes the header to the start of `out`; returns its checksum, the next block's `chain`.
    ///
    /// # Panics
    /// When `out` is shorter than the header.
    pub fn encode(&self, out: &mut [u8]) -> u32 {
        assert!(self.lengths_agree(), "a block is as long as what it holds");
        let (fields, tail) = out.split_at_mut(BLOCK_FIELDS_BYTES);
        if let Some(padding) = tail.get_mut(..BLOCK_HEADER_BYTES - BLOCK_FIELDS_BYTES) {
            padding.fill(0);
        }
        let mut fields = Writer::new(fields, BLOCK_FIELDS_BYTES);
        fields.bytes(&BLOCK_MAGIC);
        fields.u32(FORMAT_VERSION);
        fields.u32(self.shard);
        fields.u64(self.segment);
        fields.u64(self.epoch);
        fields.u64(self.offset);
        fields.u64(self.sequence);
        fields.u64(self.first_event);
        fields.u32(self.event_count);
        fields.u32(self.record_count);
        fields.u32(self.payload_bytes);
        fields.u32(self.block_bytes);
        fields.u32(self.chain);
        fields.u32(self.payload_crc);
        fields.u64(0);
        fields.finish_with_crc()
    }

    /// Reads a header from the start of `bytes`; returns it with its checksum.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), HeaderError> {
        Self::decode_with(bytes, true)
    }

    /// The same; `is_checked` false lets any checksum pass, for the tests that want to see it missed.
    pub(super) fn decode_with(bytes: &[u8], is_checked: bool) -> Result<(Self, u32), HeaderError> {
        let mut fields = Reader::checked(bytes, BLOCK_FIELDS_BYTES, BLOCK_MAGIC, is_checked)?;
        let header = Self {
            shard: fields.u32(),
            segment: fields.u64(),
            epoch: fields.u64(),
            offset: fields.u64(),
            sequence: fields.u64(),
            first_event: fields.u64(),
            event_count: fields.u32(),
            record_count: fields.u32(),
            payload_bytes: fields.u32(),
            block_bytes: fields.u32(),
            chain: fields.u32(),
            payload_crc: fields.u32(),
        };
        if !header.lengths_agree() {
            let Self {
                block_bytes,
                payload_bytes,
                ..
            } = header;
            return Err(HeaderError::Lengths {
                block_bytes,
                payload_bytes,
            });
        }
        check_numbers([header.segment, header.sequence, header.first_event])?;
        Ok((header, fields.crc))
    }

    fn lengths_agree(&self) -> bool {
        block_bytes(self.payload_bytes as usize) == self.block_bytes as usize
    }
}

fn check_numbers(numbers: [u64; 3]) -> Result<(), HeaderError> {
    let beyond = numbers.into_iter().find(|number| *number > NUMBER_MAX);
    beyond.map_or(Ok(()), |number| Err(HeaderError::Number { number }))
}

/// Bytes on disk of a block with a payload of `payload_bytes`.
#[must_use]
pub fn block_bytes(payload_bytes: usize) -> usize {
    (BLOCK_HEADER_BYTES + payload_bytes).next_multiple_of(limits::ALIGN_BYTES)
}

/// Writes fields one after another; the length was agreed at the start.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut [u8], length: usize) -> Self {
        let out = out
            .get_mut(..length)
            .expect("the caller makes room for a header");
        Self { out, at: 0 }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.out
            .get_mut(self.at..end)
            .expect("fields fit the header")
            .copy_from_slice(bytes);
        self.at = end;
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    fn finish_with_crc(mut self) -> u32 {
        let crc = crc32c(self.out.get(..self.at).unwrap_or_default());
        self.u32(crc);
        assert_eq!(
            self.at,
            self.out.len(),
            "the header is as long as its table says"
        );
        crc
    }
}

/// Reads fields one after another, after the checksum held.
struct Reader<'a> {
    fields: &'a [u8],
    crc: u32,
}

impl<'a> Reader<'a> {
    fn checked(
        bytes: &'a [u8],
        length: usize,
        magic: [u8; 8],
        is_checked: bool,
    ) -> Result<Self, HeaderError> {
        let header = bytes.get(..length).ok_or(HeaderError::Magic)?;
        let Some((start, rest)) = header.split_first_chunk::<8>() else {
            return Err(HeaderError::Magic);
        };
        if *start != magic {
            let blank = header.iter().all(|byte| *byte == 0);
            return Err(if blank {
                HeaderError::Blank
            } else {
                HeaderError::Magic
            });
        }
        let Some((covered, found)) = header.split_last_chunk::<4>() else {
            return Err(HeaderError::Magic);
        };
        let (found, computed) = (u32::from_le_bytes(*found), crc32c(covered));
        if found != computed && is_checked {
            return Err(HeaderError::Checksum { found, computed });
        }
        let mut fields = Self {
            fields: rest,
            crc: found,
        };
        match fields.u32() {
            FORMAT_VERSION => Ok(fields),
            version => Err(HeaderError::Version { version }),
        }
    }

    fn u32(&mut self) -> u32 {
        let (value, rest) = self
            .fields
            .split_first_chunk::<4>()
            .expect("length was checked");
        self.fields = rest;
        u32::from_le_bytes(*value)
    }

    fn u64(&mut self) -> u64 {
        let (value, rest) = self
            .fields
            .split_first_chunk::<8>()
            .expect("length was checked");
        self.fields = rest;
        u64::from_le_bytes(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> BlockHeader {
        BlockHeader {
            shard: 1,
            segment: 2,
            epoch: 3,
            offset: 4096,
            sequence: 5,
            first_event: 6,
            event_count: 7,
            record_count: 1,
            payload_bytes: 100,
            block_bytes: 4096,
            chain: 9,
            payload_crc: 10,
        }
    }

    #[test]
    fn headers_survive_the_round_trip() {
        let mut out = [0xffu8; BLOCK_HEADER_BYTES];
        let crc = block().encode(&mut out);
        assert_eq!(BlockHeader::decode(&out), Ok((block(), crc)));
        let segment = SegmentHeader {
            shard: 1,
            segment: 2,
            epoch: 3,
            segment_bytes: 1 << 27,
            first_sequence: 5,
            first_event: 6,
            chain: 7,
        };
        let mut out = [0u8; 4096];
        segment.encode(&mut out);
        assert_eq!(SegmentHeader::decode(&out), Ok(segment));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let mut out = [0u8; BLOCK_HEADER_BYTES];
        block().encode(&mut out);
        for bit in 0..BLOCK_FIELDS_BYTES * 8 {
            let mut flipped = out;
            *flipped.get_mut(bit / 8).unwrap() ^= 1 << (bit % 8);
            assert!(BlockHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    /// Found by fuzzing: the reader counted on from such a block, and recovery from such a segment.
    #[test]
    fn numbers_that_no_log_reaches_are_refused() {
        let number = NUMBER_MAX + 1;
        let forged = |change: fn(&mut BlockHeader)| {
            let mut header = block();
            change(&mut header);
            let mut out = [0; BLOCK_HEADER_BYTES];
            header.encode(&mut out);
            BlockHeader::decode(&out)
        };
        let refused = Err(HeaderError::Number { number });
        assert_eq!(forged(|header| header.segment = NUMBER_MAX + 1), refused);
        assert_eq!(forged(|header| header.sequence = NUMBER_MAX + 1), refused);
        assert_eq!(
            forged(|header| header.first_event = NUMBER_MAX + 1),
            refused
        );
        assert!(forged(|header| header.sequence = NUMBER_MAX).is_ok());
        let segment = SegmentHeader {
            shard: 1,
            segment: number,
            epoch: 3,
            segment_bytes: 1 << 27,
            first_sequence: 5,
            first_event: 6,
            chain: 7,
        };
        let mut out = [0; BLOCK_HEADER_BYTES];
        segment.encode(&mut out);
        let refused = Err(HeaderError::Number { number });
        assert_eq!(SegmentHeader::decode(&out), refused);
    }

    #[test]
    fn a_released_segment_is_told_from_one_in_use() {
        let header = SegmentHeader {
            shard: 1,
            segment: 2,
            epoch: 3,
            segment_bytes: 1 << 27,
            first_sequence: 5,
            first_event: 6,
            chain: 7,
        };
        let mut out = [0u8; 4096];
        header.encode_released(&mut out);
        let released = Err(HeaderError::Released { segment: 2 });
        assert_eq!(SegmentHeader::decode(&out), released);
        header.encode(&mut out);
        assert_eq!(SegmentHeader::decode(&out), Ok(header));
    }

    #[test]
    fn blank_is_told_from_damage() {
        assert_eq!(BlockHeader::decode(&[0; 4096]), Err(HeaderError::Blank));
        assert_eq!(BlockHeader::decode(&[7; 4096]), Err(HeaderError::Magic));
        assert_eq!(BlockHeader::decode(&[]), Err(HeaderError::Magic));
    }
}
