//! A whole Flume agent in front: spooldir source → file channel → Avro sink → the collector → file_roll.

use std::path::Path;
use std::time::Duration;

use crate::support::conf::{avro_to_file_channel, file_roll_sink, prefixed};
use crate::support::event::Identity;
use crate::support::{
    Collector, FlumeAgent, Oracle, Scratch, TestEvent, file_roll, free_port, wait_until,
};

/// A Flume agent `node` that watches `spool` and sends to `port`, with a file channel.
fn agent(port: u16, spool: &Path, folder: &Path, compression: &str) -> String {
    prefixed(
        "node",
        &format!(
            "sources = spool\nchannels = c\nsinks = out\n\
             sources.spool.type = spooldir\nsources.spool.spoolDir = {}\nsources.spool.channels = c\n\
             channels.c.type = file\nchannels.c.checkpointDir = {1}/checkpoint\nchannels.c.dataDirs = {1}/data\n\
             channels.c.minimumRequiredSpace = 1048576\n\
             sinks.out.type = avro\nsinks.out.channel = c\nsinks.out.hostname = 127.0.0.1\nsinks.out.port = {port}\n\
             sinks.out.batch-size = 100\nsinks.out.compression-type = {compression}\n",
            spool.display(),
            folder.display()
        ),
    )
}

/// A file of identified events for a spooldir source, moved in whole; the oracle counts them as promised.
pub fn drop_file(spool: &Path, staging: &Path, name: &str, count: u64, oracle: &mut Oracle) {
    let mut text = Vec::new();
    for number in 0..count {
        let identity = Identity {
            prefix: name.to_owned(),
            connection: 0,
            number,
        };
        text.extend(TestEvent::with_identity(&identity, 120).body);
        text.push(b'\n');
    }
    let staged = staging.join(name);
    std::fs::write(&staged, text).expect("scratch is writable");
    std::fs::rename(staged, spool.join(name)).expect("one file system");
    oracle.acknowledged(name, 0, 0, count - 1);
}

fn check(compression: &str) {
    let scratch = Scratch::new("agent-chain");
    let (port, output, spool) = (free_port(), scratch.folder("out"), scratch.folder("spool"));
    let mut conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k")
        + &file_roll_sink("a", &output);
    conf.push_str(&format!("a.sources.r.compression-type = {compression}\n"));
    let _collector = Collector::subject(&conf, "a");
    let _agent = FlumeAgent::start(
        &agent(port, &spool, &scratch.folder("agent"), compression),
        "node",
    );
    let mut oracle = Oracle::new();
    let staging = scratch.folder("staging");
    for name in ["first", "second", "third"] {
        drop_file(&spool, &staging, name, 2_000, &mut oracle);
    }
    wait_until(
        "all three files in the collector's output",
        Duration::from_secs(60),
        || {
            oracle.forget_arrivals();
            file_roll::show(&output, &mut oracle);
            oracle.complete()
        },
    );
    let findings = oracle.assert_nothing_lost();
    assert_eq!((findings.delivered, findings.duplicates), (6_000, 0));
    oracle.assert_in_order();
}

#[test]
fn a_spooled_file_arrives_whole_and_in_order() {
    check("none");
}

#[test]
fn a_spooled_file_arrives_whole_and_in_order_through_deflate() {
    check("deflate");
}
