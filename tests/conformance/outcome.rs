//! OK and FAILED: what a full channel, a large batch and an empty one are answered.

use std::time::Duration;

use crate::server::both;
use crate::support::{Compression, Deadline, RpcClient, Status, TestEvent};

fn events(count: usize) -> Vec<TestEvent> {
    (0..count)
        .map(|number| TestEvent::new(&[], format!("event {number}").as_bytes()))
        .collect()
}

#[test]
fn a_full_channel_waits_its_keep_alive_and_says_failed() {
    for server in both() {
        let mut client = RpcClient::connect(server.full, Compression::None).expect("listens");
        // The channel takes ten events, in transactions of at most ten, and has no sink.
        let clock = Deadline::after(Duration::from_secs(60));
        assert_eq!(
            client.append_batch(&events(11)).expect("a reply"),
            Status::Failed,
            "{:?}",
            server.kind
        );
        assert!(
            clock.elapsed() < Duration::from_millis(900),
            "a batch that never fits fails at once"
        );
        assert_eq!(
            client.append_batch(&events(10)).expect("a reply"),
            Status::Ok,
            "{:?}",
            server.kind
        );
        let clock = Deadline::after(Duration::from_secs(60));
        assert_eq!(
            client.append_batch(&events(1)).expect("a reply"),
            Status::Failed,
            "{:?}",
            server.kind
        );
        assert_eq!(
            client.append(&events(1)[0]).expect("a reply"),
            Status::Failed,
            "{:?}",
            server.kind
        );
        let waited = clock.elapsed();
        assert!(
            waited > Duration::from_millis(1_900),
            "{:?} waited {waited:?}, not twice 1 s",
            server.kind
        );
        assert!(
            waited < Duration::from_secs(6),
            "{:?} waited {waited:?}, not twice 1 s",
            server.kind
        );
        assert_eq!(
            client.append_batch(&[]).expect("a reply"),
            Status::Ok,
            "an empty batch always fits"
        );
    }
}

#[test]
fn an_event_of_twenty_thousand_bytes_arrives_whole() {
    for server in both() {
        let body = "x".repeat(20_000);
        let mut client = RpcClient::connect(server.packed, Compression::Deflate).expect("listens");
        let event = TestEvent::new(&[], body.as_bytes());
        assert_eq!(
            client.append_batch(&[event]).expect("a reply"),
            Status::Ok,
            "{:?}",
            server.kind
        );
        server.wait_bodies(&[&body]);
    }
}
