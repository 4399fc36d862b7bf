//! Clients whose protocol differs from ours: their requests are decoded by their own schema and
//! encoded as ours, field by field name. The slow path, for third-party clients only.
//!
//! A protocol that differs in documentation or types we do not use is recognised as [`Layout::Own`].

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::schema::Schema;
use serde_json::{Value as Json, json};

use super::foreign_request::Request;
use super::handshake::{Layout, PROTOCOL_JSON};
use super::scan::EventLimits;
use super::shape::{DEPTH_MAX, Shape, shapes};
use crate::event::AvroError;
use crate::limits::EVENT_HEADERS_MAX;

/// Why a client's protocol, or a request by it, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The text is no JSON.
    #[error("the client's protocol is not JSON")]
    Json(#[from] serde_json::Error),
    /// The schemas are no Avro schemas.
    #[error("the client's own schema: {0}")]
    Avro(#[from] Box<apache_avro::Error>),
    /// The request is not encoded by the client's schema.
    #[error("by the client's own schema: {0}")]
    Value(#[from] AvroError),
    /// The request is all values that take no bytes.
    #[error("by the client's own schema: more values than its bytes can hold")]
    Steps,
    /// A part that is needed is missing or of another kind.
    #[error("the client's protocol has no usable `{0}`")]
    Missing(&'static str),
    /// A recursive or very large schema.
    #[error("the client's schemas are recursive, or nested more than {DEPTH_MAX} deep")]
    Depth,
    /// More headers than allowed.
    #[error("an event with more than {EVENT_HEADERS_MAX} headers")]
    Headers,
    /// More events than allowed.
    #[error(
        "a batch of more than {batch_events_max} events; maxBatchEvents of the source is lower"
    )]
    BatchEvents {
        /// The limit.
        batch_events_max: usize,
    },
}

impl From<apache_avro::Error> for ForeignError {
    fn from(error: apache_avro::Error) -> Self {
        Self::Avro(Box::new(error))
    }
}

/// A client's protocol, ready to decode by.
#[derive(Debug)]
pub struct Foreign {
    append: Option<Shape>,
    append_batch: Option<Shape>,
    wire_form: WireForm,
}

/// What decides how requests lie on the wire: the event's schema by name, and those of the requests.
#[derive(Debug, PartialEq, Eq)]
struct WireForm {
    events: BTreeMap<String, String>,
    requests: Vec<Option<String>>,
}

impl Foreign {
    /// Parses a client's protocol.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub fn layout(text: &[u8]) -> Result<Layout, ForeignError> {
        let theirs = Self::parse(text)?;
        let ours = Self::parse(PROTOCOL_JSON.as_bytes())?;
        if theirs.wire_form == ours.wire_form {
            return Ok(Layout::Own);
        }
        Ok(Layout::Foreign(Arc::new(theirs)))
    }

    fn parse(text: &[u8]) -> Result<Self, ForeignError> {
        let protocol: Json = serde_json::from_slice(text)?;
        let namespace = protocol.get("namespace").and_then(Json::as_str);
        let namespace = namespace.unwrap_or_default();
        let mut texts = Vec::new();
        let types = protocol.get("types").and_then(Json::as_array);
        for schema in types.into_iter().flatten() {
            let mut schema = schema.clone();
            if let Some(fields) = schema.as_object_mut() {
                fields
                    .entry("namespace")
                    .or_insert_with(|| json!(namespace));
            }
            texts.push(schema.to_string());
        }
        let type_count = texts.len();
        let messages = protocol.get("messages");
        let messages = messages.ok_or(ForeignError::Missing("messages"))?;
        let mut present = Vec::new();
        for name in ["append", "appendBatch"] {
            let request = messages
                .get(name)
                .and_then(|message| message.get("request"));
            present.push(request.is_some());
            if let Some(request) = request {
                let name = format!("flumen_request_{name}");
                texts.push(
                    json!({"type": "record", "name": name, "namespace": namespace, "fields": request})
                        .to_string(),
                );
            }
        }
        let schemas = Schema::parse_list(&texts)?;
        let (types, requests) = schemas
            .split_at_checked(type_count)
            .ok_or(ForeignError::Missing("types"))?;
        let mut shapes = shapes(&schemas).ok_or(ForeignError::Depth)?;
        let mut shapes = shapes.split_off(type_count).into_iter();
        let mut schemas = requests.iter();
        let mut take = |present: Option<&bool>| match present {
            Some(true) => (shapes.next(), schemas.next().map(Schema::canonical_form)),
            _ => (None, None),
        };
        let (append, append_form) = take(present.first());
        let (append_batch, append_batch_form) = take(present.get(1));
        let events = types
            .iter()
            .filter_map(|schema| Some((schema.name()?.to_string(), schema.canonical_form())))
            .filter(|(name, _)| name.ends_with("AvroFlumeEvent"))
            .collect();
        Ok(Self {
            append,
            append_batch,
            wire_form: WireForm {
                events,
                requests: vec![append_form, append_batch_form],
            },
        })
    }

    /// Whether the client's protocol has the message.
    #[must_use]
    pub fn has(&self, batch: bool) -> bool {
        self.schema(batch).is_some()
    }

    fn schema(&self, batch: bool) -> Option<&Shape> {
        if batch {
            self.append_batch.as_ref()
        } else {
            self.append.as_ref()
        }
    }

    /// Decodes a request by the client's schema; gives the events in our encoding, and their number.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub fn decode(
        &self,
        batch: bool,
        request: &[u8],
        limits: &EventLimits,
    ) -> Result<(Vec<u8>, usize), ForeignError> {
        let parameters = self.schema(batch).ok_or(ForeignError::Missing("message"))?;
        Request::new(request, limits.batch_events_max).events(parameters, batch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LIMITS: EventLimits = EventLimits {
        batch_events_max: 10,
        event_bytes_max: 1000,
    };

    #[test]
    fn protocol_without_documentation_is_ours() {
        let mut protocol: Json = serde_json::from_str(PROTOCOL_JSON).unwrap();
        protocol.as_object_mut().unwrap().remove("doc");
        let layout = Foreign::layout(protocol.to_string().as_bytes()).unwrap();
        assert!(matches!(layout, Layout::Own));
    }

    #[test]
    fn body_before_headers_is_resolved_by_name() {
        let text = PROTOCOL_JSON.replace(
            r#"{"name":"headers","type":{"type":"map","values":"string"}},{"name":"body","type":"bytes"}"#,
            r#"{"name":"body","type":"bytes"},{"name":"headers","type":{"type":"map","values":"string"}}"#,
        );
        assert_ne!(text, PROTOCOL_JSON);
        let Layout::Foreign(foreign) = Foreign::layout(text.as_bytes()).unwrap() else {
            panic!("another order is another layout");
        };
        let request = b"\x02\x04hi\x02\x02k\x02v\x00\x00";
        let (events, count) = foreign.decode(true, request, &LIMITS).unwrap();
        assert_eq!(
            (events.as_slice(), count),
            (&b"\x02\x02k\x02v\x00\x04hi"[..], 1)
        );
        let (event, _) = foreign.decode(false, b"\x04hi\x00", &LIMITS).unwrap();
        assert_eq!(event, b"\x00\x04hi");
        assert!(foreign.decode(false, b"\x04h", &LIMITS).is_err());
    }

    /// Protocol text with other fields in an event.
    fn with_fields(fields: &str) -> Foreign {
        let text = PROTOCOL_JSON.replace(
            r#"{"name":"headers","type":{"type":"map","values":"string"}},{"name":"body","type":"bytes"}"#,
            fields,
        );
        match Foreign::layout(text.as_bytes()).unwrap() {
            Layout::Foreign(foreign) => Arc::into_inner(foreign).unwrap(),
            Layout::Own => panic!("other fields are another layout"),
        }
    }

    #[test]
    fn every_type_is_passed_to_find_headers_and_body() {
        let foreign = with_fields(
            r#"{"name":"list","type":{"type":"array","items":"null"}},
            {"name":"fixed","type":{"type":"fixed","name":"F","size":4}},
            {"name":"word","type":{"type":"enum","name":"E","symbols":["A","B"]}},
            {"name":"double","type":"double"},{"name":"float","type":"float"},
            {"name":"truth","type":"boolean"},
            {"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"cost","type":{"type":"bytes","logicalType":"decimal","precision":4}},
            {"name":"map","type":{"type":"map","values":{"type":"array","items":"int"}}},
            {"name":"inner","type":{"type":"record","name":"R","fields":[{"name":"n","type":"null"}]}},
            {"name":"headers","type":["null",{"type":"map","values":["null","string"]}]},
            {"name":"body","type":["string","null"]}"#,
        );
        let mut request = b"\x06\x00\x01\x02\x03\x04\x02".to_vec();
        request.extend([0; 8 + 4 + 1]);
        request.extend(b"\x7f\x02c\x02\x02m\x02\x09\x00\x00");
        request.extend(b"\x02\x02\x02k\x02\x02\xff\x00\x00\x04hi");
        let (event, count) = foreign.decode(false, &request, &LIMITS).unwrap();
        assert_eq!(
            (event.as_slice(), count),
            (&b"\x02\x02k\x02\xff\x00\x04hi"[..], 1)
        );
        for length in 0..request.len() {
            assert!(foreign.decode(false, &request[..length], &LIMITS).is_err());
        }
    }

    /// Found by fuzzing: a length of 512 MiB in a request of some bytes was memory at once.
    #[test]
    fn claims_of_a_request_cost_nothing() {
        let foreign = with_fields(
            r#"{"name":"body","type":"bytes"},{"name":"headers","type":{"type":"map","values":"string"}},
            {"name":"nulls","type":{"type":"array","items":"null"}}"#,
        );
        let decode = |request: &[u8]| foreign.decode(false, request, &LIMITS).unwrap_err();
        assert!(matches!(
            decode(b"\xff\xff\xff\xff\x03"),
            ForeignError::Value(AvroError::Truncated { .. } | AvroError::NegativeLength { .. })
        ));
        assert!(matches!(
            decode(b"\x00\xfe\xff\xff\xff\x03"),
            ForeignError::Value(AvroError::Truncated { .. })
        ));
        let nulls = b"\x00\x00\xfe\xff\xff\xff\xff\xff\x7f\x00";
        assert!(matches!(decode(nulls), ForeignError::Steps));
        let many = [&b"\x00\x84\x40"[..], &[0; 2 * (EVENT_HEADERS_MAX + 2)]].concat();
        assert!(matches!(decode(&many), ForeignError::Headers));
        let batch = [&b"\x16"[..], &[0; 3 * 11 + 1]].concat();
        assert!(matches!(
            foreign.decode(true, &batch, &LIMITS),
            Err(ForeignError::BatchEvents { .. })
        ));
    }

    #[test]
    fn recursive_protocols_are_refused() {
        let text = PROTOCOL_JSON.replace(
            r#"{"name":"body","type":"bytes"}"#,
            r#"{"name":"body","type":"bytes"},{"name":"next","type":["null","AvroFlumeEvent"]}"#,
        );
        assert!(matches!(
            Foreign::layout(text.as_bytes()),
            Err(ForeignError::Depth)
        ));
        assert!(Foreign::layout(b"{}").is_err());
        assert!(Foreign::layout(b"zip").is_err());
    }
}
