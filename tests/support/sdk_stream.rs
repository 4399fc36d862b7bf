//! A real Flume SDK client that sends for as long as a test wants, in one JVM.
//!
//! One JVM per SDK version, from the test's start to its end; each `start` … `stop` is one load. The client
//! reconnects as Flume's Avro sink does, and tells at the end exactly what it was told.

use super::oracle::Oracle;
use super::partners::Jvm;
use super::rpc::Compression;
use super::scratch::Scratch;
use super::sdk::SdkVersion;
use super::shell::Shell;

/// `client.type` of the SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientType {
    /// One host.
    Plain,
    /// The next host when one fails.
    Failover,
    /// Hosts in turn.
    LoadBalance,
}

/// What the client shall send.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// Whose events they are.
    pub prefix: String,
    /// Which client of the SDK.
    pub client: ClientType,
    /// Connections, a thread each.
    pub connections: u32,
    /// Events per batch.
    pub batch: u64,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// How it is sent.
    pub compression: Compression,
    /// Milliseconds of rest between batches.
    pub rest_ms: u64,
}

/// The JVM.
#[derive(Debug)]
pub struct SdkStream {
    shell: Shell,
    prefix: Option<String>,
    _scratch: Scratch,
}

impl SdkStream {
    /// The client of `version` for a collector that listens on `ports`.
    pub fn new(version: SdkVersion, ports: &[u16]) -> Self {
        let scratch = Scratch::new("sdk-stream");
        let hosts: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let jvm = Jvm::of(version.partner()).flag("-Xmx192m");
        let arguments = jvm.arguments("RpcStream", &hosts);
        Self {
            shell: Shell::start("rpc-stream", scratch.path(), &arguments),
            prefix: None,
            _scratch: scratch,
        }
    }

    /// Begins to send.
    #[track_caller]
    pub fn start(&mut self, plan: &StreamPlan) {
        assert!(self.prefix.is_none(), "one load at a time");
        let client = match plan.client {
            ClientType::Plain => "default",
            ClientType::Failover => "default_failover",
            ClientType::LoadBalance => "default_loadbalance",
        };
        let compression = match plan.compression {
            Compression::None => "none",
            Compression::Deflate => "deflate",
        };
        let StreamPlan {
            prefix,
            connections,
            batch,
            body_bytes,
            rest_ms,
            ..
        } = plan;
        self.shell.must(&format!(
            "start {client} {prefix} {connections} {batch} {body_bytes} {compression} {rest_ms}"
        ));
        self.prefix = Some(prefix.clone());
    }

    /// Events acknowledged so far.
    #[track_caller]
    pub fn acknowledged(&mut self) -> u64 {
        self.shell.must("acked")[0].parse().expect("a count")
    }

    /// Stops every sender at once (a batch without an answer stays unacknowledged) and tells the oracle.
    /// Returns how many attempts were refused.
    #[track_caller]
    pub fn stop(&mut self, oracle: &mut Oracle) -> u64 {
        let prefix = self.prefix.take().expect("it was started");
        let mut refused = 0;
        for line in self.shell.must("stop") {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |word: &str| word.parse::<u64>().expect("a number");
            match words[..] {
                [kind @ ("ACK" | "SENT"), connection, first, last, checksums] => {
                    let connection = connection.parse().expect("a connection");
                    let checksums = checksums
                        .split(',')
                        .map(|text| u32::from_str_radix(text, 16));
                    let checksums: Vec<u32> = checksums.map(|crc| crc.expect("hex")).collect();
                    oracle.sent_with(&prefix, connection, number(first), &checksums);
                    if kind == "ACK" {
                        oracle.acknowledged(&prefix, connection, number(first), number(last));
                    }
                }
                ["REFUSED", attempts] => refused = number(attempts),
                _ => panic!("not a line of RpcStream: {line}"),
            }
        }
        refused
    }
}
