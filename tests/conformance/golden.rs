//! The bytes Flume's clients 1.6, 1.9 and 1.11 send and the bytes Flume 1.11 answers, as recorded.

use crate::server::both;
use crate::support::{Compression, RpcClient};

/// Hex digits, blanks ignored.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// Sends each left side, expects each right side, on one connection to each server.
fn check(
    port: impl Fn(&crate::server::Server) -> u16,
    compression: Compression,
    talk: &[(&str, &str)],
) {
    for server in both() {
        let mut client = RpcClient::connect(port(server), compression).expect("listens");
        for (sent, expected) in talk {
            client.send(&bytes(sent)).expect("sent");
            let reply = client.receive().expect("a reply");
            let buffers: Vec<&[u8]> = reply.buffers.iter().map(Vec::as_slice).collect();
            let got = crate::support::rpc::frame(reply.serial, &buffers);
            assert_eq!(got, bytes(expected), "{:?} answers {sent}", server.kind);
        }
    }
}

/// `append` with `{k=v}` and `hello`, handshake included, serial 1.
const FIRST_APPEND: &str = "00000001 00000002 0000002b \
    86aadae2c45474c0fe93ffd0f2350a65 00 86aadae2c45474c0fe93ffd0f2350a65 02 00 00 0c 617070656e64 \
    0000000c 02 02 6b 02 76 00 0a 68656c6c6f";
const FIRST_OK: &str = "00000001 00000003 00000004 00000000 00000001 00 00000002 0000";

/// `appendBatch` of e0, e1 and e2, serial 2.
const BATCH: &str = "00000002 00000002 0000000d 00 16 617070656e644261746368 \
    0000000e 06 00 04 6530 00 04 6531 00 04 6532 00";
const BATCH_OK: &str = "00000002 00000003 00000000 00000001 00 00000002 0000";

#[test]
fn first_append_and_then_a_batch() {
    check(
        |server| server.plain,
        Compression::None,
        &[(FIRST_APPEND, FIRST_OK), (BATCH, BATCH_OK)],
    );
    for server in both() {
        server.wait_headers_and_bodies(&["{k=v} hello", "{} e0", "{} e1", "{} e2"]);
    }
}

#[test]
fn the_same_through_deflate() {
    check(
        |server| server.packed,
        Compression::Deflate,
        &[(FIRST_APPEND, FIRST_OK), (BATCH, BATCH_OK)],
    );
}

#[test]
fn a_message_of_no_name_we_know_is_an_rpc_error() {
    // Message "zip"; the text is Java's.
    let zip = "00000002 00000001 00000005 00 06 7a6970";
    let refused = "00000002 00000003 00000000 00000001 00 00000045 01 00 8201 \
        6f72672e6170616368652e6176726f2e4176726f52756e74696d65457863657074696f6e3a20\
        4e6f20737563682072656d6f7465206d6573736167653a207a6970";
    check(
        |server| server.plain,
        Compression::None,
        &[(FIRST_APPEND, FIRST_OK), (zip, refused)],
    );
}
