//! Blocks: headers that are accepted are headers that would be written, records come back as they went
//! in, and a payload of any bytes is read to its end or to its first fault.
//!
//! ```text
//! offset  size  field
//!      0     1  mode               1: a block header, 2: a segment header, 4: its checksum is put right;
//!                                  8: batches, written and read; else a payload as it is
//! ```

use bytes::Bytes;
use flumen::channel::wal::{
    BLOCK_HEADER_BYTES, BLOCK_MAGIC, BlockHeader, SEGMENT_MAGIC, SegmentHeader, block_bytes,
};
use flumen::channel::{Block, record_bytes, write_record};
use flumen::event::{Batch, Cursor, Events, Overlay, OverlayHeader, write_bytes, write_long};

use crate::crc::crc32c;
use crate::input::Input;
use crate::meter::held;
use crate::planted::is_planted;

/// Bytes under the checksum of a block header, and of a segment header.
const BLOCK_COVERED: usize = 88;
const SEGMENT_COVERED: usize = 64;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.u8();
    match mode {
        mode if mode & 1 != 0 => block_header(input.rest(), mode & 4 != 0),
        mode if mode & 2 != 0 => segment_header(input.rest(), mode & 4 != 0),
        mode if mode & 8 != 0 => batches(input),
        _ => payload(input.rest()),
    }
}

/// The fields of a header from the input, its magic, and its checksum if it is to be right.
fn header_bytes(fields: &[u8], magic: [u8; 8], covered: usize, put_right: bool) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&fields[..fields.len().min(BLOCK_HEADER_BYTES - 8)]);
    if put_right {
        bytes.resize(BLOCK_HEADER_BYTES, 0);
        let crc = crc32c(&bytes[..covered]);
        bytes[covered..covered + 4].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

fn block_header(fields: &[u8], put_right: bool) {
    let mut bytes = header_bytes(fields, BLOCK_MAGIC, BLOCK_COVERED, put_right);
    if is_planted() {
        // The defect: the checksum is not looked at.
        bytes = header_bytes(fields, BLOCK_MAGIC, BLOCK_COVERED, true);
    }
    let Ok((header, crc)) = held(0, || BlockHeader::decode(&bytes)) else {
        return;
    };
    let whole = header_bytes(fields, BLOCK_MAGIC, BLOCK_COVERED, put_right);
    assert!(
        whole.len() >= BLOCK_COVERED + 4,
        "block: half a header is accepted"
    );
    let found = [whole[88], whole[89], whole[90], whole[91]].map(u32::from);
    let found = found[0] | found[1] << 8 | found[2] << 16 | found[3] << 24;
    assert_eq!(crc, found, "block: another checksum than on disk");
    assert_eq!(
        crc,
        crc32c(&whole[..BLOCK_COVERED]),
        "block: a wrong checksum is accepted"
    );
    assert_eq!(
        header.block_bytes as usize,
        block_bytes(header.payload_bytes as usize),
        "block: lengths"
    );
    let mut again = [0; BLOCK_HEADER_BYTES];
    header.encode(&mut again);
    // The reserved bytes may become something: they are covered and not looked at.
    assert_eq!(
        again[..80],
        whole[..80],
        "block: accepted, but never written so"
    );
}

fn segment_header(fields: &[u8], put_right: bool) {
    let bytes = header_bytes(fields, SEGMENT_MAGIC, SEGMENT_COVERED, put_right);
    let Ok(header) = held(0, || SegmentHeader::decode(&bytes)) else {
        return;
    };
    let mut again = [0; BLOCK_HEADER_BYTES];
    header.encode(&mut again);
    assert_eq!(
        again[..60],
        bytes[..60],
        "block: segment header never written so"
    );
}

/// A payload of any bytes.
fn payload(bytes: &[u8]) {
    // An overlay's header is two vectors and a flag for 3 bytes at least; lists double.
    let memory = 96 * bytes.len() + 4096;
    let block = block_of(bytes.to_vec());
    let mut offset = 0;
    loop {
        let record = match held(memory, || block.record_at(offset)) {
            Ok(Some(record)) => record,
            Ok(None) | Err(_) => return,
        };
        assert!(
            record.next_offset > offset,
            "block: a record without length"
        );
        assert!(
            record.next_offset <= bytes.len(),
            "block: a record beyond the payload"
        );
        let mut left = record.events.len();
        for event in record.iter() {
            let Ok(event) = event else { break };
            assert!(
                event.encoded().len() <= left,
                "block: events beyond their record"
            );
            left -= event.encoded().len();
            held(memory, || drop(event.headers_in_flume_order()));
        }
        offset = record.next_offset;
    }
}

fn block_of(payload: Vec<u8>) -> Block {
    Block {
        sequence: 1,
        first_event: 1,
        event_count: 0,
        segment: 1,
        offset: 4096,
        held_bytes: payload.len(),
        payload: Bytes::from(payload),
    }
}

/// Batches of the input, written as records and read back.
fn batches(mut input: Input<'_>) {
    let mut payload = Vec::new();
    let mut written = Vec::new();
    while !input.is_empty() && written.len() < 8 {
        let shape = input.u8();
        let mut overlay = Overlay::default();
        for _ in 0..shape % 4 {
            overlay.push(OverlayHeader {
                key: input.short(8).to_vec(),
                value: input.short(8).to_vec(),
                preserve_existing: shape & 0x80 != 0,
            });
        }
        let mut events = Vec::new();
        let event_count = usize::from(shape / 4 % 8);
        for _ in 0..event_count {
            let (key, value) = (input.short(8), input.short(8));
            if !key.is_empty() {
                write_long(&mut events, 1);
                write_bytes(&mut events, key);
                write_bytes(&mut events, value);
            }
            events.push(0);
            write_bytes(&mut events, input.short(40));
        }
        let arrival_ms = u64::from(input.u32());
        let (one, other) = events.split_at(events.len() / 2);
        let pieces = [one, other];
        let batch = Batch {
            pieces: &pieces,
            event_count,
            overlay: &overlay,
            arrival_ms,
        };
        let mut encoded = Vec::new();
        if !overlay.is_empty() {
            overlay.encode(&mut encoded);
        }
        let start = payload.len();
        payload.resize(start + record_bytes(&batch, &encoded), 0xaa);
        let length = write_record(&mut payload[start..], &batch, &encoded);
        assert_eq!(start + length, payload.len(), "block: length of a record");
        written.push((event_count, arrival_ms, overlay.clone(), events));
    }
    let block = block_of(payload);
    let mut offset = 0;
    for (event_count, arrival_ms, overlay, events) in written {
        let record = block.record_at(offset).expect("block: our own record");
        let record = record.expect("block: a record is missing");
        assert_eq!(
            record.event_count as usize, event_count,
            "block: event count"
        );
        assert_eq!(record.arrival_ms, arrival_ms, "block: arrival");
        assert_eq!(record.overlay, overlay, "block: overlay");
        assert_eq!(record.events, events, "block: events");
        let count = record.iter().filter(Result::is_ok).count();
        assert_eq!(count, event_count, "block: events that can be read");
        let mut cursor = Cursor::new(&record.events);
        for _ in 0..event_count {
            Events::skip(&mut cursor).expect("block: an event that can be passed");
        }
        assert_eq!(cursor.bytes_left(), 0, "block: bytes behind the events");
        offset = record.next_offset;
    }
    assert!(
        block.record_at(offset).expect("block: the end").is_none(),
        "block: the end"
    );
}
