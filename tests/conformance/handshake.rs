//! Who is told what at the beginning of a connection: BOTH, CLIENT, NONE, and foreign protocols.

use crate::server::{Server, both};
use crate::support::rpc::{
    HandshakeReply, PROTOCOL_HASH, Status, avro_batch, avro_bytes, avro_event, call, frame,
    handshake, varint,
};
use crate::support::{Compression, RpcClient, TestEvent};

const BOTH: i64 = 0;
const CLIENT: i64 = 1;
const NONE: i64 = 2;

/// The server's protocol text, as every Flume from 1.2 to 1.11 carries it.
const PROTOCOL_TEXT: &str = include_str!("avro_source_protocol.json");

fn connect(server: &Server) -> RpcClient {
    RpcClient::connect(server.plain, Compression::None).expect("listens")
}

fn exchange(client: &mut RpcClient, message: &[&[u8]]) -> (HandshakeReply, Option<Status>) {
    let serial = client.next_serial();
    client.send(&frame(serial, message)).expect("sent");
    let reply = client.receive().expect("a reply");
    assert_eq!(reply.serial, serial);
    reply.handshake()
}

fn append(body: &str) -> Vec<u8> {
    call("append", &avro_event(&TestEvent::new(&[], body.as_bytes())))
}

#[track_caller]
fn assert_told_the_protocol(reply: &HandshakeReply, matched: i64) {
    assert_eq!(reply.matched, matched);
    assert_eq!(
        reply.server_protocol.as_deref(),
        Some(PROTOCOL_TEXT.trim_end())
    );
    assert_eq!(reply.server_hash, Some(PROTOCOL_HASH));
}

#[test]
fn known_hash_and_right_guess_is_both_and_tells_nothing() {
    for server in both() {
        let hands = handshake(PROTOCOL_HASH, None, PROTOCOL_HASH);
        let (reply, status) = exchange(&mut connect(server), &[&hands, &append("both")]);
        let expected = HandshakeReply {
            matched: BOTH,
            server_protocol: None,
            server_hash: None,
        };
        assert_eq!(
            (reply, status),
            (expected, Some(Status::Ok)),
            "{:?}",
            server.kind
        );
        server.wait_bodies(&["both"]);
    }
}

#[test]
fn known_hash_and_wrong_guess_is_client_and_the_call_runs() {
    for server in both() {
        let hands = handshake(PROTOCOL_HASH, None, [7; 16]);
        let (reply, status) = exchange(&mut connect(server), &[&hands, &append("client")]);
        assert_told_the_protocol(&reply, CLIENT);
        assert_eq!(status, Some(Status::Ok), "{:?}", server.kind);
        server.wait_bodies(&["client"]);
    }
}

#[test]
fn unknown_hash_is_none_and_the_call_waits_for_the_text() {
    for server in both() {
        let mut client = connect(server);
        let stranger = *b"unknown-to-all-1";
        for _ in 0..2 {
            let hands = handshake(stranger, None, PROTOCOL_HASH);
            let (reply, status) = exchange(&mut client, &[&hands, &append("never")]);
            assert_told_the_protocol(&reply, NONE);
            assert_eq!(status, None, "{:?}: NONE comes alone", server.kind);
        }
        let hands = handshake(stranger, Some(PROTOCOL_TEXT.trim_end()), PROTOCOL_HASH);
        let (reply, status) = exchange(&mut client, &[&hands, &append("after the text")]);
        assert_eq!(
            (reply.matched, status),
            (BOTH, Some(Status::Ok)),
            "{:?}",
            server.kind
        );
        server.wait_bodies(&["after the text"]);
        // Now any connection may use the hash alone.
        let hands = handshake(stranger, None, PROTOCOL_HASH);
        let (reply, status) = exchange(&mut connect(server), &[&hands, &append("remembered")]);
        assert_eq!(
            (reply.matched, status),
            (BOTH, Some(Status::Ok)),
            "{:?}",
            server.kind
        );
        server.wait_bodies(&["remembered"]);
    }
}

/// What clients in Go, Python or .NET carry: no `doc`, so another hash; here also body before headers.
const SWAPPED: &str = r#"{"protocol":"AvroSourceProtocol","namespace":"org.apache.flume.source.avro","types":[{"type":"enum","name":"Status","symbols":["OK","FAILED","UNKNOWN"]},{"type":"record","name":"AvroFlumeEvent","fields":[{"name":"body","type":"bytes"},{"name":"headers","type":{"type":"map","values":"string"}}]}],"messages":{"append":{"request":[{"name":"event","type":"AvroFlumeEvent"}],"response":"Status"},"appendBatch":{"request":[{"name":"events","type":{"type":"array","items":"AvroFlumeEvent"}}],"response":"Status"}}}"#;

fn swapped_event(body: &str, key: &str, value: &str) -> Vec<u8> {
    let mut bytes = avro_bytes(body.as_bytes());
    bytes.extend(varint(1));
    bytes.extend(avro_bytes(key.as_bytes()));
    bytes.extend(avro_bytes(value.as_bytes()));
    bytes.push(0);
    bytes
}

#[test]
fn a_foreign_schema_is_read_by_its_own_field_order() {
    for server in both() {
        let mut client = connect(server);
        let hands = handshake(*b"swapped-fields-1", Some(SWAPPED), PROTOCOL_HASH);
        let first = call("append", &swapped_event("swapped one", "k", "v"));
        let (reply, status) = exchange(&mut client, &[&hands, &first]);
        assert_eq!(
            (reply.matched, status),
            (BOTH, Some(Status::Ok)),
            "{:?}",
            server.kind
        );
        let mut events = varint(2);
        events.extend(swapped_event("swapped two", "a", "1"));
        events.extend(swapped_event("swapped three", "b", "2"));
        events.push(0);
        let serial = client.next_serial();
        client
            .send(&frame(serial, &[&call("appendBatch", &events)]))
            .expect("sent");
        assert_eq!(
            client.receive().expect("a reply").status(),
            Status::Ok,
            "{:?}",
            server.kind
        );
        let lines = [
            "{k=v} swapped one",
            "{a=1} swapped two",
            "{b=2} swapped three",
        ];
        server.wait_headers_and_bodies(&lines);
    }
}

#[test]
fn a_client_schema_without_doc_is_another_hash_and_the_same_bytes() {
    let plain = SWAPPED.replace(
        r#"{"name":"body","type":"bytes"},{"name":"headers","type":{"type":"map","values":"string"}}"#,
        r#"{"name":"headers","type":{"type":"map","values":"string"}},{"name":"body","type":"bytes"}"#,
    );
    assert_ne!(plain, SWAPPED);
    for server in both() {
        let mut client = connect(server);
        let hash = *b"third-party-hash";
        let events = avro_batch(&[TestEvent::new(&[("from", "go")], b"third party")]);
        let message = call("appendBatch", &events);
        let (reply, _) = exchange(&mut client, &[&handshake(hash, None, hash), &message]);
        assert_told_the_protocol(&reply, NONE);
        let hands = handshake(hash, Some(&plain), reply.server_hash.expect("told"));
        let (reply, status) = exchange(&mut client, &[&hands, &message]);
        assert_eq!(
            (reply.matched, status),
            (BOTH, Some(Status::Ok)),
            "{:?}",
            server.kind
        );
        server.wait_headers_and_bodies(&["{from=go} third party"]);
    }
}

#[test]
fn a_ping_gets_the_handshake_alone_and_later_an_empty_buffer() {
    for server in both() {
        let mut client = connect(server);
        let hands = handshake(PROTOCOL_HASH, None, PROTOCOL_HASH);
        let (reply, status) = exchange(&mut client, &[&hands, &call("", &[])]);
        assert_eq!((reply.matched, status), (BOTH, None), "{:?}", server.kind);
        let serial = client.next_serial();
        client
            .send(&frame(serial, &[&call("", &[])]))
            .expect("sent");
        let reply = client.receive().expect("a reply");
        assert_eq!(reply.message(), Vec::<u8>::new(), "{:?}", server.kind);
    }
}
