//! Flume's event serializers: how an event becomes bytes of a file.
//!
//! `TEXT`, `HEADER_AND_TEXT` and `AVRO_EVENT`, byte for byte as Flume 1.11 writes them. A serializer
//! belongs to one open file: it begins the file, appends events to a buffer of the caller's, and ends
//! what it holds back (an Avro block) at each flush.

mod avro_container;
mod text;

use crate::config::SerializerConfig;
use crate::event::EventView;
use avro_container::AvroContainer;

pub use avro_container::CodecError;

/// The serializer of one file.
#[derive(Debug)]
pub struct Serializer(Kind);

#[derive(Debug)]
enum Kind {
    Text { append_newline: bool },
    HeaderAndText { append_newline: bool },
    Avro(Box<AvroContainer>),
}

impl Serializer {
    /// A serializer for a new file. `sync_marker` is random; only Avro uses it.
    ///
    /// # Errors
    /// An Avro `compressionCodec` that does not exist.
    pub fn new(config: &SerializerConfig, sync_marker: [u8; 16]) -> Result<Self, CodecError> {
        let kind = match config {
            SerializerConfig::Text { append_newline } => Kind::Text {
                append_newline: *append_newline,
            },
            SerializerConfig::HeaderAndText { append_newline } => Kind::HeaderAndText {
                append_newline: *append_newline,
            },
            SerializerConfig::AvroEvent {
                sync_interval_bytes,
                codec,
            } => Kind::Avro(Box::new(AvroContainer::new(
                codec,
                *sync_interval_bytes,
                sync_marker,
            )?)),
        };
        Ok(Self(kind))
    }

    /// Appends what a file begins with.
    pub fn begin(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Text { .. } | Kind::HeaderAndText { .. } => {}
            Kind::Avro(container) => container.begin(out),
        }
    }

    /// Appends one event. An Avro event may be held back until its block is full or flushed.
    pub fn append(&mut self, event: &EventView<'_>, out: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::Text { append_newline } => text::append_body(event, *append_newline, out),
            Kind::HeaderAndText { append_newline } => {
                text::append_headers(event, out);
                text::append_body(event, *append_newline, out);
            }
            Kind::Avro(container) => container.append(event, out),
        }
    }

    /// Appends what was held back: the bytes so far are a whole file.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::Text { .. } | Kind::HeaderAndText { .. } => {}
            Kind::Avro(container) => container.end_block(out),
        }
    }
}
