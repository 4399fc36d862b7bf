//! What an operator does to an agent, and what it says: kill -9 with each sink, several consumer groups on
//! one channel, a memory channel, a second agent where one runs, a signal in the middle of the start.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::hdfs_failover::show_text;
use crate::support::clock::pause;
use crate::support::conf::{avro_to_file_channel, file_roll_sink, prefixed};
use crate::support::load::{Load, LoadPlan};
use crate::support::{
    FlumenProcess, Hdfs, KafkaBroker, Oracle, Scratch, file_roll, free_port, wait_until,
};

const START_LIMIT: Duration = Duration::from_secs(60);
const DELIVERED: Duration = Duration::from_secs(60);

fn plan(prefix: &str, port: u16) -> LoadPlan {
    let mut plan = LoadPlan::new(prefix, port, 3, 20);
    plan.rest = Duration::from_millis(5);
    plan
}

fn start(conf: &str, files: &[(&str, &str)]) -> FlumenProcess {
    FlumenProcess::start_with(conf, "a", &[("flume.root.logger", "INFO,console")], files)
}

/// Kills and restarts the agent four times under load, then waits until `show` finds everything.
fn check_kills(
    flumen: &mut FlumenProcess,
    port: u16,
    prefix: &str,
    mut show: impl FnMut(&mut Oracle),
) -> Oracle {
    let load = Load::start(plan(prefix, port));
    for _ in 0..4 {
        pause(Duration::from_millis(1_500));
        flumen.restart();
    }
    pause(Duration::from_millis(500));
    let mut oracle = Oracle::new();
    load.stop(&mut oracle);
    wait_until("all acknowledged events in the target", DELIVERED, || {
        oracle.forget_arrivals();
        show(&mut oracle);
        oracle.complete()
    });
    println!("{:?} acknowledged", oracle.acknowledged_count());
    oracle.assert_nothing_lost();
    oracle
}

#[test]
fn kill_9_loses_nothing_on_the_way_to_kafka() {
    let scratch = Scratch::new("kill-kafka");
    let port = free_port();
    let bootstrap = {
        let mut kafka = KafkaBroker::shared();
        kafka.create_topic("kills", 1);
        kafka.bootstrap()
    };
    let sink = format!(
        "sinks.k.type = org.apache.flume.sink.kafka.KafkaSink\nsinks.k.channel = c\n\
         sinks.k.kafka.bootstrap.servers = {bootstrap}\nsinks.k.kafka.topic = kills\n\
         sinks.k.kafka.producer.acks = all\n"
    );
    let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k") + &prefixed("a", &sink);
    let mut flumen = start(&conf, &[]);
    let oracle = check_kills(&mut flumen, port, "kills", |oracle| {
        let mut kafka = KafkaBroker::shared();
        let records = kafka.records("kills");
        records
            .iter()
            .for_each(|record| oracle.arrived(&record.value));
    });
    oracle.assert_in_order();
}

#[test]
fn kill_9_loses_nothing_on_the_way_to_hdfs_and_leaves_no_open_file() {
    let scratch = Scratch::new("kill-hdfs");
    let port = free_port();
    let uri = Hdfs::shared().uri();
    let sink = format!(
        "sinks.k.type = hdfs\nsinks.k.channel = c\nsinks.k.hdfs.path = {uri}/kills\n\
         sinks.k.hdfs.fileType = DataStream\nsinks.k.hdfs.rollInterval = 1\n\
         sinks.k.hdfs.rollSize = 0\nsinks.k.hdfs.rollCount = 0\n"
    );
    let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k") + &prefixed("a", &sink);
    let mut flumen = start(&conf, &[Hdfs::SITE]);
    check_kills(&mut flumen, port, "kills", |oracle| {
        for bytes in Hdfs::shared().client().read_all("/kills") {
            show_text(&bytes, oracle);
        }
    });
    flumen.stop();
    let files = Hdfs::shared().client().list("/kills");
    let open: Vec<_> = files
        .iter()
        .filter(|file| file.path.ends_with(".tmp"))
        .collect();
    assert!(open.is_empty(), "{open:?}");
}

/// Flume's defaults roll after ten events or a kilobyte, and many configurations leave them so.
#[test]
fn default_rolling_gets_through_a_backlog_and_repeats_nothing() {
    let scratch = Scratch::new("rolling");
    let port = free_port();
    let uri = Hdfs::shared().uri();
    let sink = format!(
        "sinks.k.type = hdfs\nsinks.k.channel = c\nsinks.k.hdfs.path = {uri}/rolling\n\
         sinks.k.hdfs.fileType = DataStream\n"
    );
    let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k") + &prefixed("a", &sink);
    let mut flumen = start(&conf, &[Hdfs::SITE]);
    let mut load = LoadPlan::new("rolling", port, 2, 100);
    load.batches = 30;
    let mut oracle = Oracle::new();
    assert_eq!(Load::start(load).finish(&mut oracle), 0);
    // The channel's size is a gauge and may be old.
    wait_until("all events delivered", DELIVERED * 2, || {
        flumen.counter("SINK.k", "EventDrainSuccessCount") == Some(6_000)
    });
    flumen.stop();
    let mut hdfs = Hdfs::shared();
    for bytes in hdfs.client().read_all("/rolling") {
        show_text(&bytes, &mut oracle);
    }
    assert_eq!(oracle.assert_nothing_lost().duplicates, 0);
    let empty = hdfs.client().list("/rolling");
    assert!(
        empty.iter().all(|file| file.bytes > 0),
        "an empty file is left"
    );
}

#[test]
fn each_group_of_a_channel_gets_every_event_through_kill_9() {
    let scratch = Scratch::new("groups");
    let port = free_port();
    let folders = [scratch.folder("one"), scratch.folder("two")];
    let sink = |name: &str, group: &str, folder: &Path| {
        format!(
            "sinks.{name}.type = file_roll\nsinks.{name}.channel = c\nsinks.{name}.group = {group}\n\
             sinks.{name}.sink.directory = {}\nsinks.{name}.sink.rollInterval = 1\n",
            folder.display()
        )
    };
    let sinks = sink("k1", "one", &folders[0]) + &sink("k2", "two", &folders[1]);
    let conf =
        avro_to_file_channel("a", port, &scratch.folder("wal"), "k1 k2") + &prefixed("a", &sinks);
    let mut flumen = start(&conf, &[]);
    let mut oracle = check_kills(&mut flumen, port, "groups", |oracle| {
        file_roll::show(&folders[0], oracle);
    });
    oracle.assert_in_order();
    wait_until("all events in the other group's folder", DELIVERED, || {
        oracle.forget_arrivals();
        file_roll::show(&folders[1], &mut oracle);
        oracle.complete()
    });
    oracle.assert_nothing_lost();
    oracle.assert_in_order();
    let counter = |name| flumen.counter("CHANNEL.c", name);
    wait_until("an empty channel", DELIVERED, || {
        counter("ChannelSize") == Some(0)
    });
}

#[test]
fn a_memory_channel_delivers_what_it_took_and_stops_in_order() {
    let scratch = Scratch::new("memory");
    let (port, output) = (free_port(), scratch.folder("out"));
    let lines = format!(
        "sources = r\nchannels = c\nsinks = k\n\
         sources.r.type = avro\nsources.r.bind = 127.0.0.1\nsources.r.port = {port}\nsources.r.channels = c\n\
         channels.c.type = memory\nchannels.c.capacity = 1000\nchannels.c.transactionCapacity = 100\n"
    );
    let conf = prefixed("a", &lines) + &file_roll_sink("a", &output);
    let mut flumen = start(&conf, &[]);
    let mut load = plan("memory", port);
    load.batches = 100;
    let mut oracle = Oracle::new();
    Load::start(load).finish(&mut oracle);
    wait_until("all events in the folder", DELIVERED, || {
        oracle.forget_arrivals();
        file_roll::show(&output, &mut oracle);
        oracle.complete()
    });
    oracle.assert_nothing_lost();
    oracle.assert_in_order();
    let committed = flumen.prometheus("flumen_channel_committed_bytes_total");
    assert!(committed >= Some(3 * 100 * 20 * 64), "{committed:?}");
    assert!(flumen.stop().success());
}

/// Starts `conf` beside a running agent; it must refuse with `EX_CONFIG` and say `words`.
fn check_refused(conf: &str, words: &str) {
    let mut second =
        FlumenProcess::prepare(conf, "a", &[("flume.root.logger", "INFO,console")], &[]);
    second.launch_unready();
    let status = second.process().wait_end(START_LIMIT);
    assert_eq!(status.code(), Some(78), "{}", second.log());
    assert!(second.log().contains(words), "{}", second.log());
}

#[test]
fn a_second_agent_is_refused_the_port_and_the_directories_of_the_first() {
    let scratch = Scratch::new("second");
    let (port, output) = (free_port(), scratch.folder("out"));
    let conf = |port: u16, folder: &str| {
        avro_to_file_channel("a", port, &scratch.folder(folder), "k")
            + &file_roll_sink("a", &output)
    };
    let mut first = start(&conf(port, "wal"), &[]);
    check_refused(
        &conf(port, "other"),
        &format!("source r: listening at 127.0.0.1:{port} failed"),
    );
    check_refused(
        &conf(free_port(), "wal"),
        &format!("flumen channel c, process {}", first.process().pid()),
    );
    assert!(first.ready(), "the first is not disturbed");
    let mut oracle = Oracle::new();
    let mut load = plan("second", port);
    load.batches = 5;
    assert_eq!(Load::start(load).finish(&mut oracle), 0);
    let committed = first.prometheus("flumen_channel_committed_bytes_total");
    assert!(committed >= Some(3 * 5 * 20 * 64), "{committed:?}");
    assert!(first.stop().success());
}

#[test]
fn a_signal_ends_a_start_at_any_moment_and_the_next_start_works() {
    let scratch = Scratch::new("signal");
    let (port, output) = (free_port(), scratch.folder("out"));
    let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k")
        + &file_roll_sink("a", &output);
    let console = [("flume.root.logger", "INFO,console")];
    let mut flumen = FlumenProcess::prepare(&conf, "a", &console, &[]);
    for millis in [20, 50, 90, 140, 200, 300, 450, 700] {
        flumen.launch_unready();
        pause(Duration::from_millis(millis));
        let status = flumen.stop();
        // Before the handlers are there, the signal does what it does to any program.
        assert!(
            status.success() || millis < 100,
            "after {millis} ms: {status}\n{}",
            flumen.log()
        );
        assert!(!flumen.log().contains("fatal"), "{}", flumen.log());
    }
    flumen.launch();
    let pid = i32::try_from(flumen.process().pid()).expect("a process id");
    let pid = Pid::from_raw(pid).expect("not zero");
    kill_process(pid, Signal::TERM).expect("our own child");
    assert!(flumen.stop().success(), "two signals: {}", flumen.log());
}
