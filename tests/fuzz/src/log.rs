//! A log as the appender would have written it, made of an input, and what can happen to it.
//!
//! What is kept beside the files is the truth: every block that was written, and where.

use std::path::PathBuf;
use std::rc::Rc;

use crc32c::crc32c;
use flumen::channel::wal::{
    BLOCK_HEADER_BYTES, BlockHeader, LogPosition, SegmentHeader, SegmentInfo, SegmentTable,
    block_bytes, segment_file_name,
};
use flumen::limits::{ALIGN_BYTES, READ_PROBES};

use crate::ground::MemoryFile;
use crate::input::Input;

pub(crate) const SHARD: u32 = 3;
const FIRST_SEGMENT: u64 = 7;
const FIRST_SEQUENCE: u64 = 100;
const FIRST_EVENT: u64 = 5_000;
const SEGMENTS_MAX: usize = 3;
const BLOCKS_MAX: usize = 7;
const DAMAGES_MAX: usize = 8;

/// A block that was written and acknowledged.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) header: BlockHeader,
    /// Header checksum, the next block's `chain`.
    pub(crate) crc: u32,
    pub(crate) payload: Vec<u8>,
}

/// One segment's file, and what a reader knows of it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) info: SegmentInfo,
    pub(crate) file: Rc<MemoryFile>,
    /// As it was written.
    original: Vec<u8>,
}

/// The log, and the truth about it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) segments: Vec<Segment>,
    pub(crate) blocks: Vec<Written>,
}

/// What a table of the log's segments is.
#[derive(Debug, Clone)]
pub(crate) struct Table(Rc<Vec<SegmentInfo>>);

impl SegmentTable for Table {
    fn segment_of(&self, sequence: u64) -> Option<SegmentInfo> {
        let holds = |segment: &&SegmentInfo| segment.first_sequence <= sequence;
        self.0.iter().rfind(holds).cloned()
    }

    fn segment_after(&self, id: u64) -> Option<SegmentInfo> {
        self.0.iter().find(|segment| segment.id > id).cloned()
    }

    fn first(&self) -> Option<SegmentInfo> {
        self.0.first().cloned()
    }
}

impl Log {
    /// Writes what the input says: a count, then for each block its length and whether the log rolls
    /// before it.
    pub(crate) fn write(input: &mut Input<'_>, folder: &str) -> Self {
        let mut log = Self::default();
        let mut end = LogPosition {
            segment: FIRST_SEGMENT,
            offset: ALIGN_BYTES as u64,
            sequence: FIRST_SEQUENCE,
            event: FIRST_EVENT,
            chain: 0x1234_5678,
        };
        let count = 1 + usize::from(input.u8()) % BLOCKS_MAX;
        let mut image = log.begin(&mut end, folder);
        for _ in 0..count {
            let shape = usize::from(input.u8());
            if shape % 8 == 7 && log.segments.len() < SEGMENTS_MAX {
                log.finish(image);
                end.segment += 1 + (shape as u64 / 8) % 2;
                image = log.begin(&mut end, folder);
            }
            let epoch = log.last().info.epoch;
            let payload = payload_of(end.sequence, shape * if shape % 16 == 5 { 48 } else { 12 });
            let event_count = u32::from(input.u8() % 16);
            let (header, crc) = append(&mut image, end, epoch, event_count, &payload);
            end.offset += u64::from(header.block_bytes);
            end.sequence += 1;
            end.event += u64::from(event_count);
            end.chain = crc;
            log.blocks.push(Written {
                header,
                crc,
                payload,
            });
        }
        log.finish(image);
        log
    }

    fn last(&self) -> &Segment {
        self.segments.last().expect("a segment was begun")
    }

    fn begin(&mut self, end: &mut LogPosition, folder: &str) -> Vec<u8> {
        end.offset = ALIGN_BYTES as u64;
        let slot = self.segments.len() as u64;
        let info = SegmentInfo {
            id: end.segment,
            epoch: 0xabcd_ef01_2345_6789 ^ end.segment.rotate_left(40),
            path: PathBuf::from(folder).join(segment_file_name(slot)),
            bytes: 0,
            first_sequence: end.sequence,
            first_event: end.event,
            failed: false,
        };
        self.segments.push(Segment {
            info,
            file: Rc::default(),
            original: Vec::new(),
        });
        let mut image = Vec::with_capacity(16 * ALIGN_BYTES);
        image.resize(ALIGN_BYTES, 0);
        // The size of the file is known at the end; the chain is not read by anybody.
        self.header(end.chain).encode(&mut image);
        image
    }

    fn header(&self, chain: u32) -> SegmentHeader {
        let info = &self.last().info;
        SegmentHeader {
            shard: SHARD,
            segment: info.id,
            epoch: info.epoch,
            segment_bytes: info.bytes,
            first_sequence: info.first_sequence,
            first_event: info.first_event,
            chain,
        }
    }

    /// One sector stays free, as after a roll.
    fn finish(&mut self, mut image: Vec<u8>) {
        image.resize(image.len() + ALIGN_BYTES, 0);
        let segment = self.segments.last_mut().expect("a segment was begun");
        segment.info.bytes = image.len() as u64;
        self.header(0).encode(&mut image);
        let segment = self.segments.last_mut().expect("a segment was begun");
        segment.original.clone_from(&image);
        segment.file.bytes.replace(image);
    }

    /// What a reader is given.
    pub(crate) fn table(&self) -> Table {
        let infos = self.segments.iter().map(|segment| segment.info.clone());
        Table(Rc::new(infos.collect()))
    }

    /// Where block `index` begins, as the block before it knows.
    pub(crate) fn position(&self, index: usize) -> LogPosition {
        let header = &self.blocks[index].header;
        LogPosition {
            segment: header.segment,
            offset: header.offset,
            sequence: header.sequence,
            event: header.first_event,
            chain: header.chain,
        }
    }

    fn segment_of(&self, header: &BlockHeader) -> &Segment {
        let found = self
            .segments
            .iter()
            .find(|segment| segment.info.id == header.segment);
        found.expect("a block lies in a segment")
    }

    /// Whether a block's bytes are as they were written, and can be read.
    pub(crate) fn is_intact(&self, block: &Written) -> bool {
        let segment = self.segment_of(&block.header);
        let bytes = segment.file.bytes.borrow();
        let start = at(block.header.offset);
        let payload_end = start + BLOCK_HEADER_BYTES + block.payload.len();
        let sectors = start / ALIGN_BYTES..payload_end.div_ceil(ALIGN_BYTES);
        // Behind the checksum of the header lie 4 bytes that mean nothing.
        let same = |from: usize, to: usize| {
            bytes
                .get(from..to)
                .is_some_and(|now| now == &segment.original[from..to])
        };
        segment
            .file
            .refused
            .borrow()
            .range(sectors)
            .next()
            .is_none()
            && same(start, start + BLOCK_HEADER_BYTES - 4)
            && same(start + BLOCK_HEADER_BYTES, payload_end)
    }

    /// Whether so much of a segment is refused that its disk may pass for dead: that is waited for, not
    /// passed over.
    pub(crate) fn passes_for_dead(&self, segment: u64) -> bool {
        let found = self.segments.iter().find(|known| known.info.id == segment);
        found.is_some_and(|known| {
            let sectors = known.file.bytes.borrow().len().div_ceil(ALIGN_BYTES);
            let probes = usize::try_from(READ_PROBES).expect("a few");
            known.file.refused.borrow().len() >= sectors.min(probes)
        })
    }

    /// Sectors that the medium refuses.
    pub(crate) fn refused_count(&self) -> usize {
        let refused = |segment: &Segment| segment.file.refused.borrow().len();
        self.segments.iter().map(refused).sum()
    }

    /// Whether every segment's own header is as it was written.
    pub(crate) fn headers_are_intact(&self) -> bool {
        self.segments.iter().all(|segment| {
            let bytes = segment.file.bytes.borrow();
            !segment.file.refused.borrow().contains(&0)
                && bytes.len() == segment.original.len()
                && bytes[..68] == segment.original[..68]
        })
    }

    /// Does to the files what the input says. None of it makes a block that was never written: copies
    /// lie where they do not belong, and what is stale has another epoch.
    pub(crate) fn damage(&mut self, input: &mut Input<'_>) {
        for _ in 0..DAMAGES_MAX {
            if input.is_empty() {
                return;
            }
            let kind = input.u8();
            let (one, other) = (usize::from(input.u16()), usize::from(input.u16()));
            let number = usize::from(kind / 16) % self.segments.len();
            self.damage_once(kind % 11, number, one, other);
        }
    }

    fn damage_once(&mut self, kind: u8, number: usize, one: usize, other: usize) {
        let segment = &self.segments[number];
        let mut bytes = segment.file.bytes.borrow_mut();
        let length = bytes.len();
        if length < 2 * ALIGN_BYTES {
            return;
        }
        let sector_count = length / ALIGN_BYTES;
        let sector = |number: usize| (number % sector_count) * ALIGN_BYTES;
        let (low, high) = (sector(one), sector(other));
        let whole = |start: usize| start..start + ALIGN_BYTES;
        match kind {
            // A bit, a byte, a few bytes.
            0 => bytes[(one * 61 + other) % length] ^= 1 << (one % 8),
            1 => bytes[low + other % 100] ^= 0xff,
            2 => bytes[low + other % ALIGN_BYTES..]
                .iter_mut()
                .take(9)
                .for_each(|byte| *byte = 0xa5),
            // A sector that was never written, went astray, came twice, was exchanged.
            3 => bytes[whole(low)].fill(0),
            4 => bytes.copy_within(whole(low), high),
            5 => {
                let kept = bytes[whole(low)].to_vec();
                bytes.copy_within(whole(high), low);
                bytes[whole(high)].copy_from_slice(&kept);
            }
            // A torn tail, a file cut short.
            6 => bytes[low + other % ALIGN_BYTES..].fill(0),
            7 => bytes.truncate(low),
            // What an earlier use of the file left.
            8 => stale(&mut bytes[whole(low)], &segment.info, low, other),
            // A write that failed: the block went to the next segment.
            9 => self.failed_copy(number, &mut bytes),
            // The medium refuses.
            _ => {
                segment.file.refused.borrow_mut().insert(low / ALIGN_BYTES);
            }
        }
    }

    fn failed_copy(&self, number: usize, bytes: &mut [u8]) {
        let (segment, next) = (&self.segments[number].info, self.segments.get(number + 1));
        let Some(next) = next else { return };
        let again = self.blocks.iter().find(|block| {
            block.header.sequence == next.info.first_sequence && block.payload.len() <= 4000
        });
        let (Some(again), Some(at)) = (again, bytes.len().checked_sub(ALIGN_BYTES)) else {
            return;
        };
        let header = BlockHeader {
            segment: segment.id,
            epoch: segment.epoch,
            offset: at as u64,
            ..again.header
        };
        header.encode(&mut bytes[at..]);
        let start = at + BLOCK_HEADER_BYTES;
        bytes[start..start + again.payload.len()].copy_from_slice(&again.payload);
    }

    /// Changes fields of a header and puts its checksum right: nothing that happens to a disk, but a
    /// file that somebody made.
    pub(crate) fn forge(&mut self, input: &mut Input<'_>) {
        let (choice, value, which) = (input.u8(), input.u64(), usize::from(input.u8()));
        if choice >= 128 {
            self.forge_segment(choice, value, which);
            return;
        }
        let block = &self.blocks[which % self.blocks.len()];
        let mut header = block.header;
        match choice % 6 {
            0 => header.sequence = value,
            1 => header.first_event = value,
            2 => header.event_count = u32::MAX,
            3 => header.record_count = 0,
            4 => {
                header.payload_bytes = u32::try_from(value % (1 << 31)).unwrap_or(0);
                let bytes = block_bytes(header.payload_bytes as usize);
                header.block_bytes = u32::try_from(bytes).unwrap_or(0);
            }
            _ => header.chain = 0,
        }
        let segment = self.segment_of(&block.header);
        let mut bytes = segment.file.bytes.borrow_mut();
        header.encode(&mut bytes[at(block.header.offset)..]);
    }

    fn forge_segment(&mut self, choice: u8, value: u64, which: usize) {
        let segment = &self.segments[which % self.segments.len()];
        let mut bytes = segment.file.bytes.borrow_mut();
        let mut header = SegmentHeader::decode(&bytes).expect("as it was written");
        match choice % 6 {
            0 => header.segment = value,
            1 => header.first_sequence = value,
            2 => header.first_event = value,
            3 => header.segment_bytes = value,
            4 => header.epoch = value,
            _ => header.shard = 0,
        }
        header.encode(&mut bytes);
    }
}

pub(crate) fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("files are small")
}

/// Bytes that differ from block to block.
fn payload_of(sequence: u64, length: usize) -> Vec<u8> {
    let word = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let mut payload = word.repeat(length.div_ceil(word.len()));
    payload.truncate(length);
    payload
}

fn append(
    image: &mut Vec<u8>,
    end: LogPosition,
    epoch: u64,
    event_count: u32,
    payload: &[u8],
) -> (BlockHeader, u32) {
    let bytes = block_bytes(payload.len());
    let header = BlockHeader {
        shard: SHARD,
        segment: end.segment,
        epoch,
        offset: end.offset,
        sequence: end.sequence,
        first_event: end.event,
        event_count,
        record_count: 1,
        payload_bytes: u32::try_from(payload.len()).expect("payloads are small"),
        block_bytes: u32::try_from(bytes).expect("blocks are small"),
        chain: end.chain,
        payload_crc: crc32c(payload),
    };
    let start = image.len();
    image.resize(start + bytes, 0);
    let crc = header.encode(&mut image[start..]);
    let payload_start = start + BLOCK_HEADER_BYTES;
    image[payload_start..payload_start + payload.len()].copy_from_slice(payload);
    (header, crc)
}

/// A block that is valid but for its epoch, or its segment, or its shard.
fn stale(sector: &mut [u8], segment: &SegmentInfo, at: usize, choice: usize) {
    let payload = payload_of(choice as u64, 100);
    let header = BlockHeader {
        shard: if choice % 4 == 1 { SHARD + 1 } else { SHARD },
        // An id that no other file has, living or stale: no id is given twice.
        segment: if choice % 4 == 2 {
            2 * FIRST_SEGMENT - 1 - segment.id
        } else {
            segment.id
        },
        epoch: if matches!(choice % 4, 1 | 2) {
            segment.epoch
        } else {
            !segment.epoch
        },
        offset: at as u64,
        sequence: segment.first_sequence + choice as u64 / 4 % 16,
        first_event: segment.first_event,
        event_count: 1,
        record_count: 1,
        payload_bytes: 100,
        block_bytes: 4096,
        chain: 0,
        payload_crc: crc32c(&payload),
    };
    header.encode(sector);
    sector[BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + payload.len()].copy_from_slice(&payload);
}
