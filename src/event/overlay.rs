//! Headers that interceptors add to every event of a batch, written once per batch.
//!
//! `timestamp`, `host` and `static` add the same header to each event. Flume rewrites every event's
//! map; we keep the addition beside the batch and lay it over when an event is read. Entries apply in
//! interceptor order, so a later one sees what an earlier one set.

use super::avro::{AvroError, Cursor, write_bytes, write_long};

/// One header an interceptor adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayHeader {
    /// Header name.
    pub key: Vec<u8>,
    /// Header value.
    pub value: Vec<u8>,
    /// Flume's `preserveExisting`: an event that has the header already keeps its own.
    pub preserve_existing: bool,
}

/// The additions of one batch, in interceptor order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overlay {
    headers: Vec<OverlayHeader>,
}

impl Overlay {
    /// Adds a header after those already there.
    pub fn push(&mut self, header: OverlayHeader) {
        self.headers.push(header);
    }

    /// The additions, in interceptor order.
    #[must_use]
    pub fn headers(&self) -> &[OverlayHeader] {
        &self.headers
    }

    /// Whether no interceptor added anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Appends the encoded overlay: count, then per header a flag, key and value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_long(out, self.headers.len() as i64);
        for header in &self.headers {
            out.push(u8::from(header.preserve_existing));
            write_bytes(out, &header.key);
            write_bytes(out, &header.value);
        }
    }

    /// Reads what [`Overlay::encode`] wrote.
    ///
    /// # Errors
    /// The slice is not an encoded overlay.
    pub fn decode(encoded: &[u8]) -> Result<Self, AvroError> {
        let mut cursor = Cursor::new(encoded);
        let count = cursor.length()?;
        let mut overlay = Self::default();
        for _ in 0..count {
            let preserve_existing = cursor.fixed(1)? == [1];
            let key = cursor.bytes()?.to_vec();
            let value = cursor.bytes()?.to_vec();
            overlay.push(OverlayHeader {
                key,
                value,
                preserve_existing,
            });
        }
        Ok(overlay)
    }
}
