//! One forward pass over the events of a call: proves the encoding, holds the limits, counts.
//!
//! Pure, no memory per event. What passes here is never checked again: the bytes between the offsets
//! are `AvroFlumeEvent`s back to back. Header text is not checked for UTF-8: Java's decoder replaces
//! malformed bytes without an error, so such events are accepted, and kept as they are.

#![deny(clippy::indexing_slicing)]

use crate::event::{AvroError, Cursor};
use crate::limits::{EVENT_HEADERS_MAX, HEADER_STRING_BYTES_MAX};

/// What one call may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLimits {
    /// `maxBatchEvents`.
    pub batch_events_max: usize,
    /// `maxEventSize`.
    pub event_bytes_max: usize,
}

/// Slices that follow one another, as [`Batch`](crate::event::Batch) wants them. Java sends one array
/// block; a list on the heap is made only for an array of many.
#[derive(Debug, Default)]
pub struct Pieces<'a> {
    few: [&'a [u8]; PIECES_FEW],
    count: usize,
    many: Vec<&'a [u8]>,
}

const PIECES_FEW: usize = 4;

impl<'a> Pieces<'a> {
    /// Adds a piece after those already there.
    #[inline]
    pub fn push(&mut self, piece: &'a [u8]) {
        match self.few.get_mut(self.count) {
            Some(next) => *next = piece,
            None => {
                if self.many.is_empty() {
                    self.many.extend_from_slice(&self.few);
                }
                self.many.push(piece);
            }
        }
        self.count += 1;
    }

    /// All pieces, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        self.few.get(..self.count).unwrap_or(&self.many)
    }
}

/// Why the request is no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The bytes are not the events they should be.
    #[error(transparent)]
    Avro(#[from] AvroError),
    /// Too many events.
    #[error(
        "a batch of more than {batch_events_max} events; maxBatchEvents of the source is lower"
    )]
    BatchEvents {
        /// The limit.
        batch_events_max: usize,
    },
    /// An event is too large.
    #[error("an event of {event_bytes} bytes; maxEventSize is {event_bytes_max} bytes")]
    EventBytes {
        /// Bytes of the event, headers and all.
        event_bytes: usize,
        /// The limit.
        event_bytes_max: usize,
    },
    /// An event has too many headers.
    #[error(
        "an event with {header_count} headers or more; at most {header_count_max} are accepted"
    )]
    Headers {
        /// Headers so far.
        header_count: usize,
        /// The limit.
        header_count_max: usize,
    },
    /// A header's key or value is too long.
    #[error(
        "a header key or value of {string_bytes} bytes; at most {string_bytes_max} are accepted"
    )]
    HeaderBytes {
        /// Its length.
        string_bytes: usize,
        /// The limit.
        string_bytes_max: usize,
    },
}

/// Passes one event and returns its bytes.
///
/// # Errors
/// [`ScanError`].
#[inline]
pub fn scan_event<'a>(
    cursor: &mut Cursor<'a>,
    limits: &EventLimits,
) -> Result<&'a [u8], ScanError> {
    let start = cursor.offset();
    let mut header_count = 0usize;
    loop {
        let count = cursor.block_count()?;
        if count == 0 {
            break;
        }
        header_count = header_count.saturating_add(count);
        if header_count > EVENT_HEADERS_MAX {
            return Err(ScanError::Headers {
                header_count,
                header_count_max: EVENT_HEADERS_MAX,
            });
        }
        for _ in 0..count {
            let key = cursor.bytes()?;
            let value = cursor.bytes()?;
            let longest = key.len().max(value.len());
            if longest > HEADER_STRING_BYTES_MAX {
                return Err(ScanError::HeaderBytes {
                    string_bytes: longest,
                    string_bytes_max: HEADER_STRING_BYTES_MAX,
                });
            }
        }
    }
    cursor.bytes()?;
    let event = cursor.since(start);
    if event.len() > limits.event_bytes_max {
        return Err(ScanError::EventBytes {
            event_bytes: event.len(),
            event_bytes_max: limits.event_bytes_max,
        });
    }
    Ok(event)
}

/// Passes an array of events; appends one piece per array block and returns the number of events.
///
/// # Errors
/// [`ScanError`].
#[inline]
pub fn scan_array<'a>(
    cursor: &mut Cursor<'a>,
    limits: &EventLimits,
    pieces: &mut Pieces<'a>,
) -> Result<usize, ScanError> {
    let mut event_count = 0usize;
    loop {
        let count = cursor.block_count()?;
        if count == 0 {
            return Ok(event_count);
        }
        event_count = event_count.saturating_add(count);
        if event_count > limits.batch_events_max {
            return Err(ScanError::BatchEvents {
                batch_events_max: limits.batch_events_max,
            });
        }
        let start = cursor.offset();
        for _ in 0..count {
            scan_event(cursor, limits)?;
        }
        pieces.push(cursor.since(start));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use apache_avro::Schema;
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value;
    use apache_avro::writer::datum::GenericDatumWriter;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Events, Overlay};

    const LIMITS: EventLimits = EventLimits {
        batch_events_max: 1000,
        event_bytes_max: 1 << 20,
    };

    fn schema() -> Schema {
        Schema::parse_str(
            r#"{"type":"array","items":{"type":"record","name":"AvroFlumeEvent","fields":[
                {"name":"headers","type":{"type":"map","values":"string"}},
                {"name":"body","type":"bytes"}]}}"#,
        )
        .unwrap()
    }

    fn encode(value: Value) -> Vec<u8> {
        let schema = schema();
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        writer.write_value_to_vec(value).unwrap()
    }

    type Plain = (BTreeMap<String, String>, Vec<u8>);

    fn value(events: &[Plain]) -> Value {
        let event = |(headers, body): &Plain| {
            let headers = headers
                .iter()
                .map(|(key, value)| (key.clone(), Value::String(value.clone())))
                .collect();
            Value::Record(vec![
                ("headers".to_owned(), Value::Map(headers)),
                ("body".to_owned(), Value::Bytes(body.clone())),
            ])
        };
        Value::Array(events.iter().map(event).collect())
    }

    fn read(encoded: &[u8]) -> Result<Vec<Plain>, ScanError> {
        let mut pieces = Pieces::default();
        let count = scan_array(&mut Cursor::new(encoded), &LIMITS, &mut pieces)?;
        let overlay = Overlay::default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let events: Vec<_> = pieces
            .as_slice()
            .iter()
            .flat_map(|piece| Events::new(piece, &overlay, 0))
            .map(|event| {
                let event = event.unwrap();
                let headers = event.headers();
                let headers = headers.iter().map(|(k, v)| (text(k), text(v))).collect();
                (headers, event.body().to_vec())
            })
            .collect();
        assert_eq!(events.len(), count);
        Ok(events)
    }

    proptest! {
        #[test]
        fn what_apache_avro_encodes_is_read_back(
            events in prop::collection::vec(
                (prop::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
                 prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        ) {
            let encoded = encode(value(&events));
            prop_assert_eq!(read(&encoded).unwrap(), events);
        }

        #[test]
        fn what_the_scan_accepts_apache_avro_decodes_alike(
            mut encoded in prop::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..40),
        ) {
            encoded.push(0);
            let Ok(events) = read(&encoded) else { return Ok(()) };
            let schema = schema();
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            match reader.read_value(&mut &encoded[..]) {
                Ok(decoded) => prop_assert_eq!(decoded, value(&events)),
                // It refuses text that is not UTF-8, which Java and we accept.
                Err(error) => prop_assert!(
                    format!("{error:?}").to_lowercase().contains("utf"), "{:?}", error),
            }
        }
    }

    #[test]
    fn arrays_in_few_and_in_many_blocks_are_one_batch() {
        for block_count in [0u8, 1, 3, 4, 5, 6, 40] {
            let mut encoded = Vec::new();
            for number in 0..block_count {
                encoded.extend([2, 0, 2, number]);
            }
            encoded.push(0);
            let mut pieces = Pieces::default();
            let count = scan_array(&mut Cursor::new(&encoded), &LIMITS, &mut pieces).unwrap();
            assert_eq!(count, usize::from(block_count));
            let bodies: Vec<u8> = pieces
                .as_slice()
                .concat()
                .chunks_exact(3)
                .map(|event| *event.last().unwrap())
                .collect();
            assert_eq!(bodies, (0..block_count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn limits_are_held() {
        let check = |bytes: &[u8]| {
            scan_array(&mut Cursor::new(bytes), &LIMITS, &mut Pieces::default()).unwrap_err()
        };
        let mut many = Vec::new();
        crate::event::write_long(&mut many, 1001);
        assert_eq!(
            check(&many),
            ScanError::BatchEvents {
                batch_events_max: 1000
            }
        );
        let mut headers = vec![2];
        crate::event::write_long(&mut headers, i64::from(i32::MAX));
        assert!(matches!(check(&headers), ScanError::Headers { .. }));
        let mut large = vec![2, 0];
        crate::event::write_bytes(&mut large, &vec![0; 1 << 20]);
        assert!(matches!(check(&large), ScanError::EventBytes { .. }));
        assert!(matches!(check(&[2, 0, 9]), ScanError::Avro(_)));
        assert!(matches!(check(&[2, 0, 80, 1]), ScanError::Avro(_)));
    }
}
