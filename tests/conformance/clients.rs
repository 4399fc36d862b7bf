//! Real clients into flumen: the SDK of Flume 1.11, 1.9 and 1.6, plain and deflate, and `avro-client`.

use std::time::Duration;

use crate::server::flumen;
use crate::support::sdk::{SdkLoad, avro_client};
use crate::support::{Compression, Oracle, Scratch, SdkVersion, file_roll, send, wait_until};

/// Two connections of 1,050 events in batches of 100, then 50 single appends.
#[track_caller]
fn check(version: SdkVersion, prefix: &str, compression: Compression) {
    let server = flumen();
    let port = match compression {
        Compression::None => server.plain,
        Compression::Deflate => server.packed,
    };
    let mut oracle = Oracle::new();
    let single = format!("{prefix}single");
    for (prefix, count, batch) in [(prefix, 1_050, 100), (&single, 50, 0)] {
        let load = SdkLoad {
            prefix,
            connections: 2,
            count,
            batch,
            body_bytes: 300,
            compression,
            retry: Duration::ZERO,
        };
        let outcome = send(version, port, load, &mut oracle);
        assert_eq!(
            (outcome.acked, outcome.refused),
            (2 * count, 0),
            "{:?}",
            outcome.refusals
        );
    }
    wait_until("all events of this client", Duration::from_secs(30), || {
        oracle.forget_arrivals();
        for body in file_roll::lines(server.bodies()).0 {
            if body.starts_with(format!("{prefix}-").as_bytes())
                || body.starts_with(format!("{single}-").as_bytes())
            {
                oracle.arrived(&body);
            }
        }
        oracle.complete()
    });
    let findings = oracle.assert_nothing_lost();
    oracle.assert_in_order();
    assert_eq!((findings.delivered, findings.duplicates), (2_200, 0));
}

#[test]
fn sdk_1_11_plain() {
    check(SdkVersion::V1_11, "sdk111", Compression::None);
}

#[test]
fn sdk_1_11_deflate() {
    check(SdkVersion::V1_11, "sdk111z", Compression::Deflate);
}

#[test]
fn sdk_1_9_plain() {
    check(SdkVersion::V1_9, "sdk19", Compression::None);
}

#[test]
fn sdk_1_9_deflate() {
    check(SdkVersion::V1_9, "sdk19z", Compression::Deflate);
}

#[test]
fn sdk_1_6_plain() {
    check(SdkVersion::V1_6, "sdk16", Compression::None);
}

#[test]
fn sdk_1_6_deflate() {
    check(SdkVersion::V1_6, "sdk16z", Compression::Deflate);
}

#[test]
fn avro_client_sends_a_file_line_by_line() {
    let scratch = Scratch::new("avro-client-file");
    let lines: Vec<String> = (1..=250)
        .map(|number| format!("avro-client line {number}"))
        .collect();
    let file = scratch.file("node.txt", &(lines.join("\n") + "\n"));
    avro_client(flumen().plain, &file);
    flumen().wait_bodies(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}
