//! Avro as the `apache-avro` crate reads it: what our own reading is held against.
//!
//! Our types are read by schemas of the same bytes that keep what Java keeps and the crate's maps
//! would lose: order, keys that come twice, and text that is not UTF-8. On the wire a map is an array
//! of pairs, and a string is bytes.

use std::cell::OnceCell;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;

const PAIRS: &str = r#"{"type":"array","items":{"type":"record","name":"NAME","fields":[
    {"name":"key","type":"bytes"},{"name":"value","type":"bytes"}]}}"#;
const EVENT: &str = r#"{"type":"record","name":"Event","fields":[
    {"name":"headers","type":PAIRS},{"name":"body","type":"bytes"}]}"#;
const HEAD: &str = r#"{"type":"record","name":"Head","fields":[
    {"name":"meta","type":PAIRS},{"name":"name","type":"bytes"}]}"#;
const HANDSHAKE: &str = r#"{"type":"record","name":"HandshakeRequest","fields":[
    {"name":"clientHash","type":{"type":"fixed","name":"MD5","size":16}},
    {"name":"clientProtocol","type":["null","bytes"]},
    {"name":"serverHash","type":"MD5"},
    {"name":"meta","type":["null",PAIRS]}]}"#;

/// More than this the crate refuses to hold; inputs are far smaller.
const ALLOCATION_BYTES_MAX: usize = 1 << 20;

/// One event: its headers as they lie on the wire, and its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PlainEvent {
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// One handshake request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlainHandshake {
    pub(super) client_hash: Vec<u8>,
    pub(super) client_protocol: Option<Vec<u8>>,
    pub(super) server_hash: Vec<u8>,
}

/// The readers, made once.
struct Readers {
    event: GenericDatumReader<'static>,
    events: GenericDatumReader<'static>,
    head: GenericDatumReader<'static>,
    handshake: GenericDatumReader<'static>,
}

fn reader(text: &str) -> GenericDatumReader<'static> {
    let text = text
        .replace("PAIRS", &PAIRS.replace("NAME", "Pair"))
        .replace("EVENT", EVENT);
    let schema = Schema::parse_str(&text).expect("our own schemas parse");
    // Two or three schemas for the life of the process.
    let schema: &'static Schema = Box::leak(Box::new(schema));
    GenericDatumReader::builder(schema)
        .build()
        .expect("a schema that parsed can be read by")
}

fn with<R>(read: impl FnOnce(&Readers) -> R) -> R {
    thread_local! {
        static READERS: OnceCell<Readers> = const { OnceCell::new() };
    }
    READERS.with(|readers| {
        let readers = readers.get_or_init(|| {
            let event = EVENT.replace("PAIRS", &PAIRS.replace("NAME", "Pair"));
            Readers {
                event: reader(&event),
                events: reader(&format!(r#"{{"type":"array","items":{event}}}"#)),
                head: reader(HEAD),
                handshake: reader(HANDSHAKE),
            }
        });
        read(readers)
    })
}

/// Claims of a size beyond that of any input are refused before memory is taken for them. The
/// handshake needs no such limit, and what it tests must do without.
fn limit_allocations() {
    apache_avro::util::max_allocation_bytes(ALLOCATION_BYTES_MAX);
}

/// An event at the start of `bytes`; gives what is behind it too.
pub(super) fn event(bytes: &[u8]) -> Option<(PlainEvent, &[u8])> {
    let mut rest = bytes;
    limit_allocations();
    let value = with(|readers| readers.event.read_value(&mut rest)).ok()?;
    Some((plain_event(value), rest))
}

/// An array of events at the start of `bytes`; gives what is behind it too.
pub(super) fn events(bytes: &[u8]) -> Option<(Vec<PlainEvent>, &[u8])> {
    let mut rest = bytes;
    limit_allocations();
    let value = with(|readers| readers.events.read_value(&mut rest)).ok()?;
    let Value::Array(events) = value else {
        panic!("an array schema gives an array");
    };
    Some((events.into_iter().map(plain_event).collect(), rest))
}

/// The name of the message at the start of `bytes`, behind its metadata; gives the request too.
pub(super) fn head(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = bytes;
    limit_allocations();
    let value = with(|readers| readers.head.read_value(&mut rest)).ok()?;
    let [_, name] = fields(value);
    Some((plain_bytes(name), rest))
}

/// A handshake at the start of `bytes`; gives what is behind it too.
pub(super) fn handshake(bytes: &[u8]) -> Option<(PlainHandshake, &[u8])> {
    let mut rest = bytes;
    let value = with(|readers| readers.handshake.read_value(&mut rest)).ok()?;
    // The crate takes a union that is missing at the end of the data for null; Java and we do not.
    let [client_hash, client_protocol, server_hash, _] = fields(value);
    let client_protocol = match client_protocol {
        Value::Union(_, inner) => match *inner {
            Value::Null => None,
            other => Some(plain_bytes(other)),
        },
        other => panic!("a union schema gives a union, not {other:?}"),
    };
    let plain = PlainHandshake {
        client_hash: plain_bytes(client_hash),
        client_protocol,
        server_hash: plain_bytes(server_hash),
    };
    Some((plain, rest))
}

fn plain_event(value: Value) -> PlainEvent {
    let [headers, body] = fields(value);
    let Value::Array(pairs) = headers else {
        panic!("an array schema gives an array");
    };
    let pair = |pair| {
        let [key, value] = fields(pair);
        (plain_bytes(key), plain_bytes(value))
    };
    PlainEvent {
        headers: pairs.into_iter().map(pair).collect(),
        body: plain_bytes(body),
    }
}

fn fields<const N: usize>(record: Value) -> [Value; N] {
    let Value::Record(fields) = record else {
        panic!("a record schema gives a record");
    };
    let values: Vec<Value> = fields.into_iter().map(|(_, value)| value).collect();
    values.try_into().expect("as many fields as the schema has")
}

fn plain_bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => bytes,
        other => panic!("a schema of bytes gives bytes, not {other:?}"),
    }
}
