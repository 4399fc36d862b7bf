//! A collector with real partners: Flume SDK clients and our own senders in front, Kafka, HDFS and local
//! files behind, each of the three a consumer group of one file channel.

use std::path::PathBuf;
use std::time::Duration;

use crate::blow::{Tally, strike};
use crate::outage::Targets;
use crate::random::Random;
use crate::support::clock::pause;
use crate::support::conf::prefixed;
use crate::support::load::{Load, LoadPlan};
use crate::support::oracle::{AtSink, Findings};
use crate::support::sdk_stream::{ClientType, SdkStream, StreamPlan};
use crate::support::{
    Compression, Deadline, FlumenProcess, Hdfs, Oracle, Scratch, SdkVersion, file_roll, free_port,
};

const TOPIC: &str = "crash";
const FOLDER: &str = "/crash";
/// The sinks, by the names of their groups.
pub const SINKS: [&str; 3] = ["files", "kafka", "hdfs"];
/// From a start to the first acknowledgement, on a box that also starts a broker.
const SERVES_WITHIN: Duration = Duration::from_secs(60);

/// How long HDFS may take to recover the leases of files that kills left open.
const RECOVERED_WITHIN: Duration = Duration::from_secs(45);

/// See the module.
pub struct Site {
    collector: FlumenProcess,
    targets: Targets,
    ports: [u16; 2],
    output: PathBuf,
    wal: PathBuf,
    clients: Vec<SdkStream>,
    /// Records of the topic that an earlier look has seen.
    topic_from: i64,
    loads: u32,
    _scratch: Scratch,
}

/// What is under way between two looks.
pub struct Sending {
    load: Load,
    /// Events that may wait for an answer at once.
    pub in_flight: u64,
    /// How long the collector served every client so far.
    pub served: Duration,
}

/// What came of one load.
pub struct Look {
    /// Everything had come to rest in time: what is missing is lost, and not late.
    pub settled: bool,
    /// By sink.
    pub found: Vec<(&'static str, Findings)>,
}

impl Site {
    /// Starts everything but the senders.
    pub fn start() -> Self {
        let scratch = Scratch::new("crash-partners");
        let mut targets = Targets::start();
        targets.kafka.create_topic(TOPIC, 1);
        let ports = [free_port(), free_port()];
        let (output, wal) = (scratch.folder("out"), scratch.folder("wal"));
        let conf = configuration(&targets, ports, &wal, &output);
        // One shard, so that a sender that comes back meets the log it left: order can be judged.
        let properties = [("flumen.shards", "1")];
        let collector = FlumenProcess::start_with(&conf, "a", &properties, &[Hdfs::SITE]);
        let versions = [SdkVersion::V1_11, SdkVersion::V1_6];
        let clients = versions.map(|version| SdkStream::new(version, &ports));
        Self {
            collector,
            targets,
            ports,
            output,
            wal,
            clients: clients.into(),
            topic_from: 0,
            loads: 0,
            _scratch: scratch,
        }
    }

    /// Takes defences away from the next starts of the collector (none: gives all back), over empty folders.
    pub fn plant(&mut self, without: &str) {
        self.collector.kill();
        self.targets.wait_up();
        for folder in ["checkpoint", "data"] {
            drop(std::fs::remove_dir_all(self.wal.join(folder)));
        }
        self.clear();
        self.collector.surround(&[], &[("FLUMEN_WITHOUT", without)]);
        self.collector.launch();
    }

    /// Begins a load of all kinds of senders.
    pub fn send(&mut self, random: &mut Random) -> Sending {
        self.loads += 1;
        let batch = random.pick(&[1, 20, 50, 100]);
        let compression = |random: &mut Random| {
            random.pick(&[Compression::None, Compression::None, Compression::Deflate])
        };
        let mut plan = LoadPlan::new(&format!("raw{}", self.loads), self.ports[0], 2, batch);
        plan.compression = compression(random);
        plan.rest = Duration::from_millis(5);
        let mut in_flight = u64::from(plan.connections) * batch;
        for (number, client) in self.clients.iter_mut().enumerate() {
            let kinds = [
                ClientType::Plain,
                ClientType::Failover,
                ClientType::LoadBalance,
            ];
            let plan = StreamPlan {
                prefix: format!("sdk{number}x{}", self.loads),
                client: random.pick(&kinds),
                connections: 2,
                batch: random.pick(&[1, 20, 50, 100]),
                body_bytes: 200,
                compression: compression(random),
                rest_ms: 8,
            };
            in_flight += u64::from(plan.connections) * plan.batch;
            client.start(&plan);
        }
        Sending {
            load: Load::start(plan),
            in_flight,
            served: Duration::ZERO,
        }
    }

    /// Waits for acknowledgements of each kind of client, then for a random moment, and kills the
    /// collector; perhaps a target too, a little before or after. In a quiet round the targets are let be.
    pub fn one_round(
        &mut self,
        sending: &mut Sending,
        quiet: bool,
        random: &mut Random,
        tally: &mut Tally,
    ) {
        let clients = &mut self.clients;
        let mut acknowledged = || {
            let real: u64 = clients.iter_mut().map(SdkStream::acknowledged).sum();
            (sending.load.acknowledged(), real)
        };
        let before = acknowledged();
        let serves = |_: &_| {
            let now = acknowledged();
            now.0 > before.0 && now.1 > before.1
        };
        self.collector
            .process()
            .wait_for("acknowledgements after a start", SERVES_WITHIN, serves);
        let clock = Deadline::after(Duration::MAX);
        pause(random.moment(200));
        if random.one_in(2) {
            self.targets.round(quiet, random, tally);
            pause(random.moment(60));
            sending.served += clock.elapsed();
            strike(&mut self.collector, random, tally);
        } else {
            sending.served += clock.elapsed();
            strike(&mut self.collector, random, tally);
            self.targets.round(quiet, random, tally);
        }
    }

    /// Ends the load, lets everything come to rest (for as long as `patience` lasts), and gives what each
    /// sink has.
    pub fn look(&mut self, sending: Sending, patience: Duration) -> Look {
        let mut oracle = Oracle::new();
        sending.load.stop(&mut oracle);
        for client in &mut self.clients {
            client.stop(&mut oracle);
        }
        self.targets.wait_up();
        let settled = self.wait_settled(patience);
        // An orderly stop ends all writing.
        assert!(self.collector.stop().success(), "an orderly stop");
        let mut found = Vec::new();
        for sink in SINKS {
            self.show(sink, &mut oracle.at(sink));
            found.push((sink, oracle.at(sink).findings()));
        }
        self.clear();
        self.collector.launch_unready();
        Look { settled, found }
    }

    /// Until every group has delivered everything, also what was never acknowledged, and every HDFS file
    /// that a kill left open is recovered: what then is missing does not come any more.
    fn wait_settled(&mut self, patience: Duration) -> bool {
        let deadline = Deadline::after(patience);
        let mut empty = 0;
        // The gauge is a quarter of a second old at the most.
        while empty < 3 && !deadline.passed() {
            pause(Duration::from_millis(150));
            let size = self.collector.counter("CHANNEL.c", "ChannelSize");
            empty = if size == Some(0) { empty + 1 } else { 0 };
        }
        let mut this_start = Deadline::after(RECOVERED_WITHIN);
        while !deadline.passed() {
            let files = self.targets.hdfs.client().list(FOLDER);
            if !files.iter().any(|file| file.path.ends_with(".tmp")) {
                return empty == 3;
            }
            if this_start.passed() {
                // A file whose creation was not answered is taken up by the next start.
                assert!(self.collector.stop().success(), "an orderly stop");
                self.collector.restart();
                this_start = Deadline::after(RECOVERED_WITHIN);
            }
            pause(Duration::from_millis(300));
        }
        false
    }

    fn show(&mut self, sink: &str, at: &mut AtSink<'_>) {
        match sink {
            "files" => {
                let (lines, torn) = file_roll::lines(&self.output);
                lines.iter().for_each(|line| at.arrived(line));
                (0..torn).for_each(|_| at.torn());
            }
            "kafka" => {
                for record in self.targets.kafka.records_from(TOPIC, self.topic_from) {
                    show_record(&record, at);
                }
            }
            "hdfs" => {
                for bytes in self.targets.hdfs.client().read_all(FOLDER) {
                    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
                    if lines.pop().is_some_and(|tail| !tail.is_empty()) {
                        at.torn();
                    }
                    lines.into_iter().for_each(|line| at.arrived(line));
                }
            }
            _ => unreachable!("a sink of this site"),
        }
    }

    /// Forgets all output.
    fn clear(&mut self) {
        for file in file_roll::files(&self.output) {
            std::fs::remove_file(file).expect("our own file");
        }
        self.topic_from = i64::try_from(self.targets.kafka.count(TOPIC)).expect("a count");
        self.targets.hdfs.client().remove(FOLDER);
    }
}

/// A record's header names its event, as its body does.
fn show_record(record: &crate::support::kafka::KafkaRecord, at: &mut AtSink<'_>) {
    let id = record.headers.iter().find(|(name, _)| name == "id");
    let id = id.map(|(_, value)| value.as_slice()).unwrap_or_default();
    let named = record
        .value
        .strip_prefix(id)
        .is_some_and(|rest| rest.starts_with(b"|"));
    if named {
        at.arrived(&record.value);
    } else {
        let id = String::from_utf8_lossy(id);
        at.altered(format!("record {} has header id = {id}", record.offset));
    }
}

fn configuration(
    targets: &Targets,
    ports: [u16; 2],
    wal: &std::path::Path,
    output: &std::path::Path,
) -> String {
    let [first, second] = ports;
    let (wal, output) = (wal.display(), output.display());
    let (bootstrap, uri) = (targets.kafka.bootstrap(), targets.hdfs.uri());
    let source = |name: &str, port: u16| {
        format!(
            "sources.{name}.type = avro\n\
             sources.{name}.bind = 127.0.0.1\n\
             sources.{name}.port = {port}\n\
             sources.{name}.channels = c\n"
        )
    };
    let all = format!(
        "sources = r1 r2\n\
         channels = c\n\
         sinks = files kafka hdfs\n\
         {}{}\
         channels.c.type = file\n\
         channels.c.checkpointDir = {wal}/checkpoint\n\
         channels.c.dataDirs = {wal}/data\n\
         channels.c.capacity = 1000000\n\
         channels.c.maxFileSize = 4194304\n\
         channels.c.minimumRequiredSpace = 1048576\n\
         sinks.files.type = file_roll\n\
         sinks.files.channel = c\n\
         sinks.files.group = files\n\
         sinks.files.sink.directory = {output}\n\
         sinks.files.sink.rollInterval = 0\n\
         sinks.kafka.type = org.apache.flume.sink.kafka.KafkaSink\n\
         sinks.kafka.channel = c\n\
         sinks.kafka.group = kafka\n\
         sinks.kafka.kafka.bootstrap.servers = {bootstrap}\n\
         sinks.kafka.kafka.topic = {TOPIC}\n\
         sinks.kafka.header.id = id\n\
         sinks.hdfs.type = hdfs\n\
         sinks.hdfs.channel = c\n\
         sinks.hdfs.group = hdfs\n\
         sinks.hdfs.hdfs.path = {uri}{FOLDER}\n\
         sinks.hdfs.hdfs.fileType = DataStream\n\
         sinks.hdfs.hdfs.rollInterval = 2\n\
         sinks.hdfs.hdfs.rollSize = 0\n\
         sinks.hdfs.hdfs.rollCount = 0\n\
         sinks.hdfs.hdfs.callTimeout = 5000\n\
         sinks.hdfs.hdfs.retryInterval = 1\n",
        source("r1", first),
        source("r2", second)
    );
    prefixed("a", &all)
}
