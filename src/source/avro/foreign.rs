//! Clients whose protocol differs from ours: their requests are decoded by their own schema and
//! encoded as ours, field by field name. The slow path, for third-party clients only.
//!
//! A protocol that differs in documentation or types we do not use is recognised as [`Layout::Own`].

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::Schema;
use apache_avro::types::Value;
use serde_json::{Value as Json, json};

use super::handshake::{Layout, PROTOCOL_JSON};
use super::scan::EventLimits;
use crate::event::encode_event;

/// Deeper schemas than this, recursive ones above all, are refused: decoding them recurses.
const SCHEMA_DEPTH_MAX: usize = 32;
const SCHEMA_NODES_MAX: usize = 4096;

/// Why a client's protocol, or a request by it, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The text is no JSON.
    #[error("the client's protocol is not JSON")]
    Json(#[from] serde_json::Error),
    /// The schemas are no Avro schemas, or the request is not encoded by them.
    #[error("the client's own schema: {0}")]
    Avro(#[from] Box<apache_avro::Error>),
    /// A part that is needed is missing or of another kind.
    #[error("the client's protocol has no usable `{0}`")]
    Missing(&'static str),
    /// A recursive or very large schema.
    #[error("the client's schemas are recursive, or nested more than {SCHEMA_DEPTH_MAX} deep")]
    Depth,
    /// More events than allowed.
    #[error("a batch of {event_count} events; maxBatchEvents is {batch_events_max}")]
    BatchEvents {
        /// Events in it.
        event_count: usize,
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
    types: Vec<Schema>,
    append: Option<Schema>,
    append_batch: Option<Schema>,
}

impl Foreign {
    /// Parses a client's protocol.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub fn layout(text: &[u8]) -> Result<Layout, ForeignError> {
        let theirs = Self::parse(text)?;
        let ours = Self::parse(PROTOCOL_JSON.as_bytes())?;
        if theirs.wire_form() == ours.wire_form() {
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
        let mut types = Schema::parse_list(&texts)?;
        check_depth(&types)?;
        let mut requests = types.split_off(type_count).into_iter();
        let mut take = |present: Option<&bool>| match present {
            Some(true) => requests.next(),
            _ => None,
        };
        let append = take(present.first());
        let append_batch = take(present.get(1));
        Ok(Self {
            types,
            append,
            append_batch,
        })
    }

    /// What decides how requests lie on the wire.
    fn wire_form(&self) -> (BTreeMap<String, String>, Vec<Option<String>>) {
        let types = self
            .types
            .iter()
            .filter_map(|schema| Some((schema.name()?.to_string(), schema.canonical_form())))
            .filter(|(name, _)| name.ends_with("AvroFlumeEvent"))
            .collect();
        let requests = [&self.append, &self.append_batch];
        let requests = requests.map(|request| request.as_ref().map(Schema::canonical_form));
        (types, requests.to_vec())
    }

    /// Whether the client's protocol has the message.
    #[must_use]
    pub fn has(&self, batch: bool) -> bool {
        self.schema(batch).is_some()
    }

    fn schema(&self, batch: bool) -> Option<&Schema> {
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
        mut request: &[u8],
        limits: &EventLimits,
    ) -> Result<(Vec<u8>, usize), ForeignError> {
        let schema = self.schema(batch).ok_or(ForeignError::Missing("message"))?;
        let types = self.types.iter().collect();
        let value = GenericDatumReader::builder(schema)
            .writer_schemata(types)?
            .build()?
            .read_value(&mut request)?;
        let parameter = if batch { "events" } else { "event" };
        let value = field(value, parameter).ok_or(ForeignError::Missing("request"))?;
        let events = match (batch, value) {
            (true, Value::Array(events)) => events,
            (true, _) => return Err(ForeignError::Missing("events")),
            (false, event) => vec![event],
        };
        let event_count = events.len();
        if event_count > limits.batch_events_max {
            return Err(ForeignError::BatchEvents {
                event_count,
                batch_events_max: limits.batch_events_max,
            });
        }
        let mut out = Vec::new();
        for event in events {
            let (headers, body) = parts(event)?;
            encode_event(&mut out, &headers, &body);
        }
        Ok((out, event_count))
    }
}

fn parts(event: Value) -> Result<(BTreeMap<String, String>, Vec<u8>), ForeignError> {
    let Value::Record(fields) = event else {
        return Err(ForeignError::Missing("AvroFlumeEvent"));
    };
    let mut headers = None;
    let mut body = None;
    for (name, value) in fields {
        match (name.as_str(), bare(value)) {
            ("headers", Value::Map(entries)) => {
                let entries = entries.into_iter().map(|(key, value)| {
                    let Value::String(text) = bare(value) else {
                        return Err(ForeignError::Missing("headers"));
                    };
                    Ok((key, text))
                });
                headers = Some(entries.collect::<Result<_, _>>()?);
            }
            ("body", Value::Bytes(bytes)) => body = Some(bytes),
            ("body", Value::String(text)) => body = Some(text.into_bytes()),
            _ => {}
        }
    }
    Ok((
        headers.ok_or(ForeignError::Missing("headers"))?,
        body.ok_or(ForeignError::Missing("body"))?,
    ))
}

fn field(record: Value, wanted: &str) -> Option<Value> {
    let Value::Record(fields) = record else {
        return None;
    };
    let (_, value) = fields.into_iter().find(|(name, _)| name == wanted)?;
    Some(bare(value))
}

fn bare(value: Value) -> Value {
    if let Value::Union(_, inner) = value {
        *inner
    } else {
        value
    }
}

fn check_depth(schemas: &[Schema]) -> Result<(), ForeignError> {
    let names: BTreeMap<String, &Schema> = schemas
        .iter()
        .filter_map(|schema| Some((schema.name()?.fullname(None), schema)))
        .collect();
    let mut nodes_left = SCHEMA_NODES_MAX;
    schemas
        .iter()
        .try_for_each(|schema| walk(schema, &names, 0, &mut nodes_left))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other schema is a leaf"
)]
fn walk(
    schema: &Schema,
    names: &BTreeMap<String, &Schema>,
    depth: usize,
    nodes_left: &mut usize,
) -> Result<(), ForeignError> {
    if depth > SCHEMA_DEPTH_MAX || *nodes_left == 0 {
        return Err(ForeignError::Depth);
    }
    *nodes_left -= 1;
    match schema {
        Schema::Array(array) => walk(&array.items, names, depth + 1, nodes_left),
        Schema::Map(map) => walk(&map.types, names, depth + 1, nodes_left),
        Schema::Union(union) => union
            .variants()
            .iter()
            .try_for_each(|schema| walk(schema, names, depth + 1, nodes_left)),
        Schema::Record(record) => record
            .fields
            .iter()
            .try_for_each(|field| walk(&field.schema, names, depth + 1, nodes_left)),
        // A reference to a type defined inside another one could be recursive: it is refused too.
        Schema::Ref { name } => match names.get(&name.fullname(None)) {
            Some(schema) => walk(schema, names, depth + 1, nodes_left),
            None => Err(ForeignError::Depth),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
