//! A real Kafka 4.1 broker: KRaft, one node, loopback.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::partners::Jvm;
use super::port::free_port;
use super::process::Process;
use super::scratch::Scratch;
use super::shell::Shell;

/// Any 16 bytes in URL-safe Base64.
const CLUSTER_ID: &str = "Zmx1bWVuLXRlc3RzLTAwMQ";
const START_LIMIT: Duration = Duration::from_secs(90);

/// A broker and a client that reads it back.
#[derive(Debug)]
pub struct KafkaBroker {
    process: Process,
    shell: Shell,
    port: u16,
    scratch: Scratch,
    starts: u32,
}

/// One record as Kafka holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KafkaRecord {
    /// Partition.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
    /// Milliseconds.
    pub timestamp: i64,
    /// Message key.
    pub key: Option<Vec<u8>>,
    /// Record headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Value.
    pub value: Vec<u8>,
}

impl KafkaBroker {
    /// A broker of one's own, to be stopped and started at will.
    pub fn start() -> Self {
        let scratch = Scratch::new("kafka");
        let port = free_port();
        let data = scratch.folder("data");
        let conf = scratch.file(
            "server.properties",
            &properties(port, free_port(), &data.display().to_string()),
        );
        let conf = conf.display().to_string();
        let storage = ["format", "-t", CLUSTER_ID, "-c", &conf];
        let jvm = Jvm::of("kafka").flag("-Xmx128m");
        let mut format = jvm.start(
            "format",
            scratch.path(),
            "kafka.tools.StorageTool",
            &storage,
        );
        let status = format.wait_end(START_LIMIT);
        assert!(
            status.success(),
            "formatting Kafka's storage failed:\n{}",
            format.log()
        );
        let mut process = launch(&scratch, 1);
        process.wait_for("the broker to listen", START_LIMIT, |_| listens(port));
        let client = Jvm::of("kafka").flag("-Xmx256m");
        let client = client.arguments("KafkaShell", &[&format!("127.0.0.1:{port}")]);
        let shell = Shell::start("kafka-shell", scratch.path(), &client);
        Self {
            process,
            shell,
            port,
            scratch,
            starts: 1,
        }
    }

    /// The broker that all tests of this binary share. Topics keep them apart.
    pub fn shared() -> MutexGuard<'static, Self> {
        static SHARED: OnceLock<Mutex<KafkaBroker>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Mutex::new(Self::start()));
        shared.lock().unwrap_or_else(PoisonError::into_inner) // a failed test leaves it usable
    }

    /// `127.0.0.1:port`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Makes a topic.
    #[track_caller]
    pub fn create_topic(&mut self, topic: &str, partitions: u32) {
        self.shell.must(&format!("create {topic} {partitions}"));
    }

    /// One plain record.
    #[track_caller]
    pub fn produce(&mut self, topic: &str, text: &str) {
        self.shell.must(&format!("produce {topic} {text}"));
    }

    /// Records in a topic now.
    #[track_caller]
    pub fn count(&mut self, topic: &str) -> u64 {
        let reply = self.shell.must(&format!("count {topic}"));
        reply[0].parse().expect("a count")
    }

    /// All records of a topic, by partition and offset.
    #[track_caller]
    pub fn records(&mut self, topic: &str) -> Vec<KafkaRecord> {
        self.records_from(topic, 0)
    }

    /// The same from offset `from` of each partition on.
    #[track_caller]
    pub fn records_from(&mut self, topic: &str, from: i64) -> Vec<KafkaRecord> {
        let reply = self.shell.must(&format!("dump {topic} {from}"));
        let mut records: Vec<_> = reply.iter().map(|line| record(line)).collect();
        records.sort();
        records
    }

    /// Kills the broker; its data stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again over its data and waits until it listens.
    pub fn restart(&mut self) {
        self.launch_unready();
        self.wait_ready();
    }

    /// Starts it again over its data and returns at once.
    pub fn launch_unready(&mut self) {
        self.process.kill();
        self.starts += 1;
        self.process = launch(&self.scratch, self.starts);
    }

    /// Waits until it listens.
    pub fn wait_ready(&mut self) {
        let port = self.port;
        self.process
            .wait_for("the broker to listen", START_LIMIT, |_| listens(port));
    }

    /// Whether it listens.
    pub fn ready(&self) -> bool {
        listens(self.port)
    }
}

fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn launch(scratch: &Scratch, number: u32) -> Process {
    let name = format!("kafka-{number}");
    let conf = scratch
        .path()
        .join("server.properties")
        .display()
        .to_string();
    let jvm = Jvm::of("kafka")
        .flag("-Xmx512m")
        .conf(&scratch.folder("conf"));
    jvm.start(&name, scratch.path(), "kafka.Kafka", &[&conf])
}

fn properties(port: u16, controller: u16, data: &str) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={data}\n\
         num.partitions=1\n\
         log.retention.ms=-1\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.num.partitions=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n"
    )
}

fn record(line: &str) -> KafkaRecord {
    let words: Vec<&str> = line.split(' ').collect();
    let [partition, offset, timestamp, key, headers, value] = words[..] else {
        panic!("not a record: {line}");
    };
    let pairs = headers.split(',').filter(|pair| *pair != "-").map(|pair| {
        let (name, value) = pair.split_once('=').expect("name=value");
        (name.to_owned(), super::shell::base64(value))
    });
    KafkaRecord {
        partition: partition.parse().expect("a number"),
        offset: offset.parse().expect("a number"),
        timestamp: timestamp.parse().expect("a number"),
        key: (key != "-").then(|| super::shell::base64(key)),
        headers: pairs.collect(),
        value: super::shell::base64(value),
    }
}
