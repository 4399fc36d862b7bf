//! The high-availability story that Flume's users tell: two collectors, real Flume agents in front with
//! a sink group, the better collector killed, restarted, both dead and back.
//!
//! The agents' own channel is a file channel wherever the test says that nothing is lost.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent_chain::drop_file;
use crate::support::clock::pause;
use crate::support::conf::{avro_to_file_channel, file_roll_sink, prefixed};
use crate::support::event::Identity;
use crate::support::{
    Collector, FlumeAgent, Oracle, Scratch, TestEvent, file_roll, free_port, wait_until,
};

const DELIVERED: Duration = Duration::from_secs(60);

/// Two collectors and where they write.
struct Centers {
    scratch: Scratch,
    ports: [u16; 2],
    outputs: [PathBuf; 2],
    collectors: [Collector; 2],
}

impl Centers {
    fn start() -> Self {
        let scratch = Scratch::new("centers");
        let ports = [free_port(), free_port()];
        let outputs = [scratch.folder("out1"), scratch.folder("out2")];
        let collectors = [0, 1].map(|center| {
            let name = format!("center{}", center + 1);
            let wal = scratch.folder(&format!("wal{center}"));
            let conf = avro_to_file_channel(&name, ports[center], &wal, "k");
            Collector::subject(&(conf + &file_roll_sink(&name, &outputs[center])), &name)
        });
        Self {
            scratch,
            ports,
            outputs,
            collectors,
        }
    }

    /// Bodies that center `center` has written, by the file they came from.
    fn bodies_of(&self, center: usize, prefix: &str) -> usize {
        let prefix = format!("{prefix}-");
        let (lines, _) = file_roll::lines(&self.outputs[center]);
        lines
            .iter()
            .filter(|line| line.starts_with(prefix.as_bytes()))
            .count()
    }

    fn show(&self, oracle: &mut Oracle) {
        oracle.forget_arrivals();
        self.outputs
            .iter()
            .for_each(|output| file_roll::show(output, oracle));
    }

    #[track_caller]
    fn wait_complete(&self, what: &str, oracle: &mut Oracle) {
        wait_until(what, DELIVERED, || {
            self.show(oracle);
            oracle.complete()
        });
    }
}

/// The agent's sinks: sink1 to center 1, sink2 to center 2, in a group with these lines.
fn sinks(ports: [u16; 2], group: &str) -> String {
    format!(
        "sinks = sink1 sink2\n\
         sinkgroups = g1\n\
         sinkgroups.g1.sinks = sink1 sink2\n\
         {group}\
         sinks.sink1.type = avro\nsinks.sink1.hostname = 127.0.0.1\nsinks.sink1.port = {}\nsinks.sink1.channel = c\n\
         sinks.sink2.type = avro\nsinks.sink2.hostname = 127.0.0.1\nsinks.sink2.port = {}\nsinks.sink2.channel = c\n",
        ports[0], ports[1]
    )
}

fn file_channel(folder: &Path) -> String {
    format!(
        "channels = c\nchannels.c.type = file\nchannels.c.minimumRequiredSpace = 1048576\n\
         channels.c.checkpointDir = {0}/checkpoint\nchannels.c.dataDirs = {0}/data\n",
        folder.display()
    )
}

fn spool_source(spool: &Path) -> String {
    format!(
        "sources = spool\nsources.spool.type = spooldir\nsources.spool.spoolDir = {}\n\
         sources.spool.fileHeader = true\nsources.spool.channels = c\n",
        spool.display()
    )
}

const FAILOVER: &str = "sinkgroups.g1.processor.type = failover\n\
                        sinkgroups.g1.processor.priority.sink1 = 5\n\
                        sinkgroups.g1.processor.priority.sink2 = 10\n\
                        sinkgroups.g1.processor.maxpenalty = 2000\n";

#[test]
fn failover_by_priority_takes_over_falls_back_and_loses_nothing() {
    let mut centers = Centers::start();
    let (spool, staging) = (
        centers.scratch.folder("m1"),
        centers.scratch.folder("staging"),
    );
    let conf = spool_source(&spool)
        + &file_channel(&centers.scratch.folder("node1"))
        + &sinks(centers.ports, FAILOVER);
    let _node = FlumeAgent::start(&prefixed("node1", &conf), "node1");
    let mut oracle = Oracle::new();

    drop_file(&spool, &staging, "normal", 500, &mut oracle);
    centers.wait_complete("the first file", &mut oracle);
    assert_eq!(
        centers.bodies_of(1, "normal"),
        500,
        "the larger number is the higher priority"
    );
    assert_eq!(centers.bodies_of(0, "normal"), 0);

    centers.collectors[1].kill();
    drop_file(&spool, &staging, "takeover", 500, &mut oracle);
    centers.wait_complete("the file after the kill", &mut oracle);
    assert_eq!(
        centers.bodies_of(0, "takeover"),
        500,
        "the other one takes over"
    );

    centers.collectors[1].restart();
    pause(Duration::from_secs(4)); // two penalties
    drop_file(&spool, &staging, "failback", 500, &mut oracle);
    centers.wait_complete("the file after the restart", &mut oracle);
    assert!(
        centers.bodies_of(1, "failback") >= 400,
        "it falls back within a batch"
    );

    centers.collectors.iter_mut().for_each(Collector::kill);
    drop_file(&spool, &staging, "bothdead", 500, &mut oracle);
    pause(Duration::from_secs(4));
    centers.collectors.iter_mut().for_each(Collector::restart);
    centers.wait_complete("the file that waited for both", &mut oracle);
    oracle.assert_nothing_lost();
}

#[test]
fn kill_under_load_loses_nothing_behind_a_failover_group() {
    let mut centers = Centers::start();
    let (spool, staging) = (
        centers.scratch.folder("m1"),
        centers.scratch.folder("staging"),
    );
    let conf = spool_source(&spool)
        + &file_channel(&centers.scratch.folder("node1"))
        + &sinks(centers.ports, FAILOVER);
    let _node = FlumeAgent::start(&prefixed("node1", &conf), "node1");
    let mut oracle = Oracle::new();
    for round in 0..6 {
        drop_file(
            &spool,
            &staging,
            &format!("load{round}"),
            20_000,
            &mut oracle,
        );
        pause(Duration::from_millis(700));
        centers.collectors[(round + 1) % 2].kill();
        pause(Duration::from_millis(500));
        centers.collectors[(round + 1) % 2].restart();
    }
    centers.wait_complete("all files", &mut oracle);
    let findings = oracle.assert_nothing_lost();
    println!(
        "{} duplicates of {}",
        findings.duplicates, findings.delivered
    );
}

fn load_balance(selector: &str) {
    let group = format!(
        "sinkgroups.g1.processor.type = load_balance\n\
         sinkgroups.g1.processor.backoff = true\n\
         sinkgroups.g1.processor.selector = {selector}\n\
         sinkgroups.g1.processor.selector.maxTimeOut = 2000\n"
    );
    let mut centers = Centers::start();
    let (spool, staging) = (
        centers.scratch.folder("m1"),
        centers.scratch.folder("staging"),
    );
    let conf = spool_source(&spool)
        + &file_channel(&centers.scratch.folder("node1"))
        + &sinks(centers.ports, &group);
    let _node = FlumeAgent::start(&prefixed("node1", &conf), "node1");
    let mut oracle = Oracle::new();

    drop_file(&spool, &staging, "balanced", 4_000, &mut oracle);
    centers.wait_complete("the first file", &mut oracle);
    for center in 0..2 {
        let bodies = centers.bodies_of(center, "balanced");
        assert!(bodies >= 400, "center {center} got {bodies} of 4000");
    }
    centers.collectors[0].kill();
    drop_file(&spool, &staging, "one", 2_000, &mut oracle);
    centers.wait_complete("the file with one center", &mut oracle);
    assert_eq!(centers.bodies_of(1, "one"), 2_000);
    centers.collectors[1].kill();
    drop_file(&spool, &staging, "none", 2_000, &mut oracle);
    pause(Duration::from_secs(3));
    centers.collectors.iter_mut().for_each(Collector::restart);
    centers.wait_complete("the file that waited for both", &mut oracle);
    oracle.assert_nothing_lost();
}

#[test]
fn load_balance_round_robin_uses_both_and_survives_either() {
    load_balance("round_robin");
}

#[test]
fn load_balance_random_uses_both_and_survives_either() {
    load_balance("random");
}

#[test]
fn an_exec_source_behind_a_failover_group_loses_nothing() {
    let mut centers = Centers::start();
    let followed = centers.scratch.file("server.log", "");
    let source = format!(
        "sources = r1\nsources.r1.type = exec\nsources.r1.command = tail -n +1 -f {}\nsources.r1.channels = c\n",
        followed.display()
    );
    let group = "sinkgroups.g1.processor.type = failover\n\
                 sinkgroups.g1.processor.priority.sink1 = 10\n\
                 sinkgroups.g1.processor.priority.sink2 = 1\n\
                 sinkgroups.g1.processor.maxpenalty = 1000\n";
    let conf = source + &file_channel(&centers.scratch.folder("a1")) + &sinks(centers.ports, group);
    let _agent = FlumeAgent::start(&prefixed("a1", &conf), "a1");
    let mut oracle = Oracle::new();
    let append = |prefix: &str, oracle: &mut Oracle| {
        let mut file = std::fs::File::options()
            .append(true)
            .open(&followed)
            .expect("it is there");
        for number in 0..200 {
            let identity = Identity {
                prefix: prefix.to_owned(),
                connection: 0,
                number,
            };
            file.write_all(&TestEvent::with_identity(&identity, 80).body)
                .expect("writable");
            file.write_all(b"\n").expect("writable");
        }
        oracle.acknowledged(prefix, 0, 0, 199);
    };

    append("initial", &mut oracle);
    centers.wait_complete("the first lines", &mut oracle);
    assert_eq!(centers.bodies_of(0, "initial"), 200);
    centers.collectors[0].kill();
    append("failed", &mut oracle);
    centers.wait_complete("the lines after the kill", &mut oracle);
    assert_eq!(centers.bodies_of(1, "failed"), 200);
    centers.collectors[0].restart();
    pause(Duration::from_secs(2)); // the penalty of one second
    append("recovered", &mut oracle);
    centers.wait_complete("the lines after the restart", &mut oracle);
    assert!(
        centers.bodies_of(0, "recovered") >= 100,
        "it falls back within a batch"
    );
    centers.collectors.iter_mut().for_each(Collector::kill);
    append("waiting", &mut oracle);
    pause(Duration::from_secs(3));
    // Whoever is back first gets what waited.
    centers.collectors[1].restart();
    centers.wait_complete("the lines that waited", &mut oracle);
    assert_eq!(centers.bodies_of(1, "waiting"), 200);
    oracle.assert_nothing_lost();
}

/// The collector's configuration as users publish it: memory channel of 100, logger sink.
fn published_center(name: &str, port: u16) -> String {
    prefixed(
        name,
        &format!(
            "sources = seqGenSrc\nchannels = memoryChannel\nsinks = loggerSink\n\
             sources.seqGenSrc.type = avro\nsources.seqGenSrc.bind = 127.0.0.1\nsources.seqGenSrc.port = {port}\n\
             sources.seqGenSrc.channels = memoryChannel\n\
             sinks.loggerSink.type = logger\nsinks.loggerSink.channel = memoryChannel\n\
             channels.memoryChannel.type = memory\nchannels.memoryChannel.capacity = 100\n"
        ),
    )
}

#[test]
fn the_published_configuration_logs_each_line_as_flume_does() {
    let ports = [free_port(), free_port()];
    let mut centers = [0, 1].map(|center| {
        let name = format!("center{}", center + 1);
        Collector::subject(&published_center(&name, ports[center]), &name)
    });
    let scratch = Scratch::new("published");
    let (spool, staging) = (scratch.folder("m1"), scratch.folder("staging"));
    let channel = "channels = c\nchannels.c.type = memory\nchannels.c.capacity = 100\n";
    let conf = spool_source(&spool) + channel + &sinks(ports, FAILOVER);
    let _node = FlumeAgent::start(&prefixed("node1", &conf), "node1");
    let mut log = |center: usize, name: &str, wanted: usize| {
        std::fs::write(staging.join(name), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n")
            .expect("scratch is writable");
        std::fs::rename(staging.join(name), spool.join(name)).expect("one file system");
        let mark = format!(
            "Event: {{ headers:{{file={}}} body: 31 30 ",
            spool.join(name).display()
        );
        wait_until(
            &format!("{mark} in the log of center {center}"),
            DELIVERED,
            || centers[center].log().contains(&mark),
        );
        let lines: Vec<String> = centers[center]
            .log()
            .lines()
            .filter(|line| line.contains(name))
            .map(str::to_owned)
            .collect();
        assert_eq!(lines.len(), wanted, "{lines:#?}");
        assert!(
            lines[0].contains("[INFO - org.apache.flume.sink.LoggerSink.process(LoggerSink.java:"),
            "{}",
            lines[0]
        );
        let body = "body: 31                                              1 }";
        assert!(lines[0].ends_with(body), "{}", lines[0]);
        centers[1].kill();
    };
    log(1, "node.txt", 10);
    log(0, "second.txt", 10);
}
