//! A batch: the events of one call, as the client encoded them.

use std::collections::BTreeMap;

use super::avro::{write_bytes, write_long};
use super::overlay::Overlay;

/// Scanned events on their way to a channel. Borrows the connection's buffer: the copy into the WAL
/// buffer is the only one on the way in.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    /// `AvroFlumeEvent`s back to back, in pieces that follow one another. Java sends one piece; an
    /// array in several Avro blocks comes as one piece a block.
    pub pieces: &'a [&'a [u8]],
    /// Events in all pieces.
    pub event_count: usize,
    /// What interceptors add to each event.
    pub overlay: &'a Overlay,
    /// When the call was read, in milliseconds since the epoch.
    pub arrival_ms: u64,
}

impl Batch<'_> {
    /// Bytes of all pieces.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }
}

/// Appends one event in the encoding of `AvroFlumeEvent`.
pub fn encode_event(out: &mut Vec<u8>, headers: &BTreeMap<String, String>, body: &[u8]) {
    if !headers.is_empty() {
        write_long(out, headers.len() as i64);
        for (key, value) in headers {
            write_bytes(out, key.as_bytes());
            write_bytes(out, value.as_bytes());
        }
    }
    write_long(out, 0);
    write_bytes(out, body);
}
