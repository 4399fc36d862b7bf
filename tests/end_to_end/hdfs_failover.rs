//! The active NameNode goes away while files are being written: failover on command, then a crash.

use std::time::Duration;

use crate::support::clock::pause;
use crate::support::conf::{avro_to_file_channel, prefixed};
use crate::support::load::{Load, LoadPlan};
use crate::support::{Collector, HdfsHaPair, Oracle, Scratch, free_port, wait_until};

/// Lines of a text file to the oracle; half a line at the end of a file whose writer broke off is torn.
pub fn show_text(bytes: &[u8], oracle: &mut Oracle) {
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    if lines.pop().is_some_and(|tail| !tail.is_empty()) {
        oracle.torn();
    }
    lines.into_iter().for_each(|line| oracle.arrived(line));
}

#[test]
fn nothing_is_lost_when_the_active_namenode_changes_in_mid_write() {
    let scratch = Scratch::new("hdfs-failover");
    let mut pair = HdfsHaPair::start();
    let port = free_port();
    let sink = "sinks.k.type = hdfs\n\
                sinks.k.channel = c\n\
                sinks.k.hdfs.path = hdfs://mycluster/failover\n\
                sinks.k.hdfs.fileType = DataStream\n\
                sinks.k.hdfs.rollInterval = 2\n\
                sinks.k.hdfs.rollSize = 0\n\
                sinks.k.hdfs.rollCount = 0\n\
                sinks.k.hdfs.retryInterval = 2\n";
    let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k") + &prefixed("a", sink);
    let read = |name: &str| {
        std::fs::read_to_string(pair.conf().join(name)).expect("the client's configuration")
    };
    let files = [
        ("core-site.xml", read("core-site.xml")),
        ("hdfs-site.xml", read("hdfs-site.xml")),
    ];
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let mut collector = Collector::subject_with(&conf, "a", &files);

    let mut plan = LoadPlan::new("failover", port, 3, 20);
    plan.rest = Duration::from_millis(20);
    let load = Load::start(plan);
    wait_until("the first file", Duration::from_secs(60), || {
        !pair.client().list("/failover").is_empty()
    });
    pause(Duration::from_secs(3));
    pair.command("activate 1");
    pause(Duration::from_secs(5));
    pair.command("activate 0");
    pause(Duration::from_secs(3));
    pair.command("crash 0");
    pair.command("activate 1");
    pause(Duration::from_secs(5));

    let mut oracle = Oracle::new();
    assert_eq!(
        load.stop(&mut oracle),
        0,
        "a failover is no reason to refuse"
    );
    wait_until(
        "all acknowledged events in HDFS",
        Duration::from_secs(120),
        || {
            show(&mut pair, &mut oracle);
            oracle.complete()
        },
    );
    collector.stop();
    show(&mut pair, &mut oracle);
    oracle.assert_nothing_lost();
}

fn show(pair: &mut HdfsHaPair, oracle: &mut Oracle) {
    oracle.forget_arrivals();
    for bytes in pair.client().read_all("/failover") {
        show_text(&bytes, oracle);
    }
}
