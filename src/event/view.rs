//! Reading one event in place, and walking the events of a batch.
//!
//! An [`EventView`] borrows the batch's bytes. The scan at the source has proved the encoding, so a
//! view that fails to parse is damage and is reported, never guessed at.

use super::avro::{AvroError, Cursor};
use super::java_map::flume_header_order;
use super::overlay::Overlay;

/// Key and value, each key once.
type Headers<'a> = Vec<(&'a [u8], &'a [u8])>;

/// One event, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    encoded: &'a [u8],
    headers: &'a [u8],
    body: &'a [u8],
    overlay: &'a Overlay,
    arrival_ms: u64,
    in_memory: bool,
}

impl<'a> EventView<'a> {
    /// The event's body.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// When the batch reached us, in milliseconds since the epoch.
    #[must_use]
    pub fn arrival_ms(&self) -> u64 {
        self.arrival_ms
    }

    /// The `AvroFlumeEvent` as the client sent it, without what interceptors added.
    #[must_use]
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// What interceptors added to the batch.
    #[must_use]
    pub fn overlay(&self) -> &'a Overlay {
        self.overlay
    }

    /// The value of one header, or none. Of duplicate keys the last wins, as in Java's map.
    #[must_use]
    pub fn header(&self, key: &[u8]) -> Option<&'a [u8]> {
        let mut found = None;
        for (own_key, value) in self.own_headers() {
            if own_key == key {
                found = Some(value);
            }
        }
        for added in self.overlay.headers() {
            if added.key == key && !(added.preserve_existing && found.is_some()) {
                found = Some(&added.value);
            }
        }
        found
    }

    /// All headers, each key once, in the order in which each key was first set.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'a [u8], &'a [u8])> {
        self.headers_and_own_count().0
    }

    /// All headers, each key once, in the order in which a Flume collector prints and writes them.
    #[must_use]
    pub fn headers_in_flume_order(&self) -> Vec<(&'a [u8], &'a [u8])> {
        let (mut all, own_count) = self.headers_and_own_count();
        flume_header_order(&mut all, own_count, self.in_memory);
        all
    }

    /// The headers, and how many of them, at the front, the client sent.
    fn headers_and_own_count(&self) -> (Headers<'a>, usize) {
        let mut all = Headers::new();
        for (key, value) in self.own_headers() {
            set(&mut all, key, value, false);
        }
        let own_count = all.len();
        for added in self.overlay.headers() {
            set(&mut all, &added.key, &added.value, added.preserve_existing);
        }
        (all, own_count)
    }

    /// The headers the client sent, duplicates and all.
    pub fn own_headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new(self.headers);
        let mut left_in_block = 0;
        std::iter::from_fn(move || {
            if left_in_block == 0 {
                left_in_block = cursor.block_count().ok().filter(|count| *count > 0)?;
            }
            left_in_block -= 1;
            Some((cursor.bytes().ok()?, cursor.bytes().ok()?))
        })
    }
}

fn set<'a>(all: &mut Vec<(&'a [u8], &'a [u8])>, key: &'a [u8], value: &'a [u8], preserve: bool) {
    match all.iter_mut().find(|(existing, _)| *existing == key) {
        Some(_) if preserve => {}
        Some(entry) => entry.1 = value,
        None => all.push((key, value)),
    }
}

/// Walks back-to-back encoded events.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    cursor: Cursor<'a>,
    overlay: &'a Overlay,
    arrival_ms: u64,
    in_memory: bool,
}

impl<'a> Events<'a> {
    /// Walks `encoded`, `AvroFlumeEvent`s back to back.
    #[must_use]
    pub fn new(encoded: &'a [u8], overlay: &'a Overlay, arrival_ms: u64) -> Self {
        Self {
            cursor: Cursor::new(encoded),
            overlay,
            arrival_ms,
            in_memory: false,
        }
    }

    /// Whether the events come from a memory channel: Flume prints their headers in another order.
    #[must_use]
    pub fn in_memory(mut self, in_memory: bool) -> Self {
        self.in_memory = in_memory;
        self
    }

    /// Moves past one event without building a view; returns the offset behind it.
    ///
    /// # Errors
    /// The bytes are no event.
    #[inline]
    pub fn skip(cursor: &mut Cursor<'a>) -> Result<usize, AvroError> {
        loop {
            let count = cursor.block_count()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                cursor.bytes()?;
                cursor.bytes()?;
            }
        }
        cursor.bytes()?;
        Ok(cursor.offset())
    }

    fn read(&mut self) -> Result<EventView<'a>, AvroError> {
        let start = self.cursor.offset();
        loop {
            let count = self.cursor.block_count()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                self.cursor.bytes()?;
                self.cursor.bytes()?;
            }
        }
        let headers = self.cursor.since(start);
        let body = self.cursor.bytes()?;
        let encoded = self.cursor.since(start);
        let overlay = self.overlay;
        Ok(EventView {
            encoded,
            headers,
            body,
            overlay,
            arrival_ms: self.arrival_ms,
            in_memory: self.in_memory,
        })
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<EventView<'a>, AvroError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.bytes_left() == 0 {
            return None;
        }
        Some(self.read())
    }
}
