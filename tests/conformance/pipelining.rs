//! Many requests in flight on one connection. Flume 1.11 answers in any order and 1.9 in order; a client
//! goes by serial, so either is right.

use std::collections::BTreeSet;

use crate::server::both;
use crate::support::{Compression, RpcClient, Status, TestEvent};

const IN_FLIGHT: usize = 40;

#[test]
fn every_pipelined_call_is_answered_once_by_its_serial() {
    for server in both() {
        for (port, compression) in [
            (server.plain, Compression::None),
            (server.packed, Compression::Deflate),
        ] {
            let mut client = RpcClient::connect(port, compression).expect("listens");
            // The first reply ends the handshake; before it, 1.11 would race.
            assert_eq!(
                client
                    .append(&TestEvent::new(&[], b"pipelining"))
                    .expect("a reply"),
                Status::Ok
            );
            let mut waiting = BTreeSet::new();
            for number in 0..IN_FLIGHT {
                let body = format!("pipelined {compression:?} {number}");
                let event = TestEvent::new(&[], body.as_bytes());
                let request = crate::support::rpc::avro_batch(&[event]);
                waiting.insert(client.send_call("appendBatch", &request).expect("sent"));
            }
            while !waiting.is_empty() {
                let reply = client.receive().expect("a reply");
                assert_eq!(reply.status(), Status::Ok, "{:?}", server.kind);
                assert!(
                    waiting.remove(&reply.serial),
                    "{:?} answered {} twice",
                    server.kind,
                    reply.serial
                );
            }
            let bodies: Vec<_> = (0..IN_FLIGHT)
                .map(|number| format!("pipelined {compression:?} {number}"))
                .collect();
            server.wait_bodies(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
