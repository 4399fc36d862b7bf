//! Real Flume RPC clients: the SDK of each version, and Flume's own `avro-client`.

use std::path::Path;
use std::time::Duration;

use super::oracle::Oracle;
use super::partners::Jvm;
use super::process::Process;
use super::rpc::Compression;
use super::scratch::Scratch;

/// Versions whose clients differ on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdkVersion {
    /// Avro 1.11, Netty 4.
    V1_11,
    /// Avro 1.7, Netty 3.10.
    V1_9,
    /// Avro 1.7, Netty 3.5.
    V1_6,
}

impl SdkVersion {
    /// Its folder among the partners.
    pub fn partner(self) -> &'static str {
        match self {
            Self::V1_11 => "flume-1.11",
            Self::V1_9 => "flume-1.9",
            Self::V1_6 => "flume-1.6",
        }
    }
}

/// What an SDK client shall send.
#[derive(Debug, Clone, Copy)]
pub struct SdkLoad<'a> {
    /// Whose events they are.
    pub prefix: &'a str,
    /// Connections, a thread each.
    pub connections: u32,
    /// Events per connection.
    pub count: u64,
    /// Events per `appendBatch`; 0 sends each with `append`.
    pub batch: u64,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// How it is sent.
    pub compression: Compression,
    /// How long refused batches are tried again.
    pub retry: Duration,
}

/// Events acknowledged and given up, and the reasons of refusals.
#[derive(Debug)]
pub struct SdkOutcome {
    /// Answered OK.
    pub acked: u64,
    /// Given up.
    pub refused: u64,
    /// One line per refused attempt.
    pub refusals: Vec<String>,
}

/// Sends a load with the real client of `version` and tells the oracle what was acknowledged.
#[track_caller]
pub fn send(version: SdkVersion, port: u16, load: SdkLoad<'_>, oracle: &mut Oracle) -> SdkOutcome {
    let scratch = Scratch::new("sdk");
    let compression = match load.compression {
        Compression::None => "none",
        Compression::Deflate => "deflate",
    };
    let numbers = [
        u64::from(port),
        u64::from(load.connections),
        load.count,
        load.batch,
    ];
    let [port, connections, count, batch] = numbers.map(|number| number.to_string());
    let body_bytes = load.body_bytes.to_string();
    let retry = load.retry.as_secs().to_string();
    let arguments = [
        "127.0.0.1",
        &port,
        load.prefix,
        &connections,
        &count,
        &batch,
        &body_bytes,
        compression,
        &retry,
    ];
    let jvm = Jvm::of(version.partner()).flag("-Xmx256m");
    let mut process = jvm.start("rpc-send", scratch.path(), "RpcSend", &arguments);
    process.wait_end(load.retry + Duration::from_secs(120));
    read_outcome(&process.log(), load.prefix, oracle)
}

#[track_caller]
fn read_outcome(log: &str, prefix: &str, oracle: &mut Oracle) -> SdkOutcome {
    let mut refusals = Vec::new();
    let mut end = None;
    for line in log.lines() {
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let connection = || u32::try_from(number(1)).expect("a connection");
        match words[0] {
            "ACK" => oracle.acknowledged(prefix, connection(), number(2), number(3)),
            "NACK" => {
                oracle.sent(prefix, connection(), number(2), number(3));
                refusals.push(line.to_owned());
            }
            "END" => end = Some((number(1), number(2))),
            _ => {}
        }
    }
    let (acked, refused) = end.unwrap_or_else(|| panic!("the client did not end well:\n{log}"));
    SdkOutcome {
        acked,
        refused,
        refusals,
    }
}

/// Sends the lines of `file` with Flume's `avro-client`; panics when it fails.
#[track_caller]
pub fn avro_client(port: u16, file: &Path) {
    let scratch = Scratch::new("avro-client");
    let (port, file) = (port.to_string(), file.display().to_string());
    let jvm = Jvm::of("flume-1.11").flag("-Xmx128m");
    let class = "org.apache.flume.client.avro.AvroCLIClient";
    let arguments = ["-H", "127.0.0.1", "-p", &port, "-F", &file];
    let mut process: Process = jvm.start("avro-client", scratch.path(), class, &arguments);
    let status = process.wait_end(Duration::from_secs(60));
    assert!(status.success(), "avro-client failed:\n{}", process.log());
}
