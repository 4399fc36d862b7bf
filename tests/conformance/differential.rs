//! The same bytes to a real Flume 1.11 and to flumen: the same replies, buffer for buffer, and the same
//! connections closed.
//!
//! Each script is one connection. Its steps wait for their reply, because Flume 1.11 answers pipelined
//! calls in any order.

use std::time::Duration;

use crate::server::{Server, flume, flumen};
use crate::support::rpc::{
    PROTOCOL_HASH, Reply, avro_batch, avro_bytes, avro_event, call, frame, handshake, varint,
};
use crate::support::{Compression, RpcClient, TestEvent};

/// What a server did with one step.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Reply(Reply),
    Closed,
}

/// Sends each step to both servers and compares the answers.
#[track_caller]
fn check(steps: &[Vec<u8>]) {
    let expected = run(flume(), steps);
    let got = run(flumen(), steps);
    for (step, (expected, got)) in expected.iter().zip(&got).enumerate() {
        assert_eq!(got, expected, "step {step}: left is flumen, right is Flume");
    }
    assert_eq!(got.len(), expected.len());
}

fn run(server: &Server, steps: &[Vec<u8>]) -> Vec<Answer> {
    let mut client = RpcClient::connect(server.plain, Compression::None).expect("listens");
    let mut answers = Vec::new();
    for step in steps {
        if client.send(step).is_err() {
            answers.push(Answer::Closed);
            break;
        }
        match client.receive() {
            Ok(reply) => answers.push(Answer::Reply(reply)),
            Err(_) => {
                assert!(
                    client.closed_within(Duration::from_secs(5)),
                    "{:?} hangs",
                    server.kind
                );
                answers.push(Answer::Closed);
                break;
            }
        }
    }
    answers
}

fn hands() -> Vec<u8> {
    handshake(PROTOCOL_HASH, None, PROTOCOL_HASH)
}

fn event(body: &str) -> TestEvent {
    TestEvent::new(
        &[("k", "v"), ("timestamp", "1700000000000")],
        body.as_bytes(),
    )
}

/// The first call of a connection, in Java's two buffers.
fn first(serial: i32) -> Vec<u8> {
    frame(
        serial,
        &[
            &hands(),
            &call("append", &avro_event(&event("differential"))),
        ],
    )
}

fn one(serial: i32, message: &[u8]) -> Vec<u8> {
    frame(serial, &[message])
}

#[test]
fn serials_are_echoed_whatever_they_are() {
    let again = call("append", &avro_event(&event("serial")));
    let steps = [
        first(i32::MIN),
        one(-1, &again),
        one(0, &again),
        one(i32::MAX, &again),
        one(7, &again),
        one(7, &again),
    ];
    check(&steps);
}

#[test]
fn buffers_may_break_anywhere() {
    let message = [
        hands(),
        call("appendBatch", &avro_batch(&[event("broken"), event("up")])),
    ]
    .concat();
    let bytes: Vec<&[u8]> = message.chunks(1).collect();
    let mut holes: Vec<&[u8]> = Vec::new();
    for chunk in message.chunks(5) {
        holes.extend([&[][..], chunk, &[][..]]);
    }
    check(&[frame(1, &bytes)]);
    check(&[frame(1, &holes)]);
    check(&[frame(1, &[&message])]);
}

#[test]
fn arrays_and_maps_may_come_in_blocks_of_either_form() {
    let events = [
        avro_event(&event("block one")),
        avro_event(&event("block two")),
    ];
    let mut two_blocks = Vec::new();
    for event in &events {
        two_blocks.extend(varint(1));
        two_blocks.extend(event);
    }
    two_blocks.push(0);
    let mut sized = varint(-2);
    sized.extend(varint(i64::try_from(events.concat().len()).expect("small")));
    sized.extend(events.concat());
    sized.push(0);
    let pair = |key: &str, value: &str| {
        [avro_bytes(key.as_bytes()), avro_bytes(value.as_bytes())].concat()
    };
    let mut sized_map = varint(-1);
    sized_map.extend(varint(i64::try_from(pair("k", "v").len()).expect("small")));
    sized_map.extend(pair("k", "v"));
    sized_map.extend(varint(1));
    sized_map.extend(pair("l", "w"));
    sized_map.push(0);
    sized_map.extend(avro_bytes(b"sized map"));
    check(&[
        first(1),
        one(2, &call("appendBatch", &two_blocks)),
        one(3, &call("appendBatch", &sized)),
        one(4, &call("append", &sized_map)),
        one(5, &call("appendBatch", &[0])),
    ]);
}

#[test]
fn a_header_given_twice_and_utf_8_are_taken() {
    let twice = TestEvent::new(&[("k", "old"), ("k", "new")], b"twice");
    let utf_8 = TestEvent::new(&[("schlüssel", "日志")], "Grüße, 日志 \u{1f600}".as_bytes());
    let empty = TestEvent::new(&[("", "")], b"");
    let events = avro_batch(&[twice, utf_8, empty]);
    check(&[first(1), one(2, &call("appendBatch", &events))]);
}

#[test]
fn call_metadata_is_skipped() {
    let mut message = varint(1);
    message.extend(avro_bytes(b"trace"));
    message.extend(avro_bytes(b"\x01\x02"));
    message.push(0);
    message.extend(avro_bytes(b"append"));
    message.extend(avro_event(&event("metadata")));
    check(&[first(1), one(2, &message)]);
}

#[test]
fn bytes_after_the_request_are_ignored() {
    let mut message = call("append", &avro_event(&event("and more")));
    message.extend(b"leftover");
    check(&[
        first(1),
        one(2, &message),
        one(3, &call("append", &avro_event(&event("still fine")))),
    ]);
}

#[test]
fn unknown_messages_pings_and_guesses() {
    check(&[
        first(1),
        one(2, &call("zip", &[])),
        one(3, &call("append", &avro_event(&event("after zip")))),
    ]);
    check(&[
        one(1, &[hands(), call("zip", &[])].concat()),
        one(2, &call("", &[])),
    ]);
    check(&[
        one(1, &[hands(), call("", &[])].concat()),
        one(2, &call("", &[])),
    ]);
    let guess = handshake(PROTOCOL_HASH, None, [9; 16]);
    check(&[
        one(
            1,
            &[guess, call("append", &avro_event(&event("guess")))].concat(),
        ),
        one(2, &call("", &[])),
    ]);
    let stranger = handshake(*b"differential-one", None, PROTOCOL_HASH);
    let stranger = one(
        1,
        &[stranger, call("append", &avro_event(&event("stranger")))].concat(),
    );
    check(&[stranger.clone(), stranger, first(3)]);
}

#[test]
fn a_message_too_short_for_a_handshake_is_an_error_and_no_end() {
    check(&[one(1, &hands()[..10]), first(2)]);
    check(&[one(1, &[]), first(2)]);
}

#[test]
fn impossible_lengths_close_the_connection() {
    let header = |words: &[i32]| {
        words
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect::<Vec<_>>()
    };
    check(&[first(1), header(&[2, 1, -1])]);
    check(&[header(&[1, -1])]);
    check(&[header(&[1, i32::MAX])]);
    check(&[b"GET / HTTP/1.1\r\nHost: collector\r\n\r\n".to_vec()]);
}
