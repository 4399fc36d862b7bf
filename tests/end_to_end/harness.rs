//! The harness itself against real partners alone: what these tests prove is that a failure elsewhere
//! in this binary is flumen's.

use std::time::Duration;

use crate::support::file_roll;
use crate::support::load::{Load, LoadPlan};
use crate::support::sdk::SdkLoad;
use crate::support::*;

/// A Flume agent `a`: avro source → memory channel → file_roll.
fn collector(port: u16, output: &std::path::Path) -> String {
    format!(
        "a.sources = r\na.channels = c\na.sinks = k\n\
         a.sources.r.type = avro\na.sources.r.bind = 127.0.0.1\na.sources.r.port = {port}\na.sources.r.channels = c\n\
         a.channels.c.type = memory\na.channels.c.capacity = 100000\na.channels.c.transactionCapacity = 10000\n\
         a.sinks.k.type = file_roll\na.sinks.k.channel = c\na.sinks.k.sink.directory = {}\na.sinks.k.sink.rollInterval = 0\n",
        output.display()
    )
}

#[test]
fn flume_takes_what_our_clients_send() {
    let scratch = Scratch::new("flume-alone");
    let (port, output) = (free_port(), scratch.folder("out"));
    let _flume = FlumeAgent::start(&collector(port, &output), "a");
    let mut oracle = Oracle::new();
    let mut plan = LoadPlan::new("plain", port, 2, 100);
    plan.batches = 5;
    plan.compression = Compression::None;
    assert_eq!(
        Load::start(plan).finish(&mut oracle),
        0,
        "nothing is refused"
    );
    for (version, prefix) in [
        (SdkVersion::V1_11, "v111"),
        (SdkVersion::V1_9, "v19"),
        (SdkVersion::V1_6, "v16"),
    ] {
        let load = SdkLoad {
            prefix,
            connections: 2,
            count: 250,
            batch: 100,
            body_bytes: 100,
            compression: Compression::None,
            retry: Duration::ZERO,
        };
        let outcome = send(version, port, load, &mut oracle);
        assert_eq!(
            (outcome.acked, outcome.refused),
            (500, 0),
            "{:?}",
            outcome.refusals
        );
    }
    wait_until(
        "all events in file_roll's file",
        Duration::from_secs(30),
        || {
            oracle.forget_arrivals();
            file_roll::show(&output, &mut oracle);
            oracle.complete()
        },
    );
    let findings = oracle.assert_nothing_lost();
    assert_eq!((findings.delivered, findings.duplicates), (2_500, 0));
    oracle.assert_in_order();
}

#[test]
fn kafka_gives_back_what_was_produced() {
    let mut kafka = KafkaBroker::shared();
    kafka.create_topic("alone", 2);
    kafka.produce("alone", "hello world");
    assert_eq!(kafka.count("alone"), 1);
    assert_eq!(kafka.records("alone")[0].value, b"hello world");
}

#[test]
fn hdfs_gives_back_what_was_put() {
    let mut hdfs = Hdfs::shared();
    let client = hdfs.client();
    client.put("/alone/file", "hello world").expect("writable");
    let files = client.list("/alone");
    assert_eq!(
        (files[0].path.as_str(), files[0].bytes),
        ("/alone/file", 11)
    );
    assert_eq!(client.read("/alone/file"), b"hello world");
}

#[test]
fn ha_pair_serves_after_failover_and_after_a_crash() {
    let mut pair = HdfsHaPair::start();
    pair.client().put("/before", "1").expect("writable");
    pair.command("activate 1");
    pair.client().put("/between", "2").expect("writable");
    pair.command("activate 0");
    pair.command("crash 1");
    pair.client().put("/after", "3").expect("writable");
    let names: Vec<_> = pair
        .client()
        .list("/")
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(names, ["/after", "/before", "/between", "/ready"]);
}
