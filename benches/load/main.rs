//! A load generator that speaks Flume's Avro RPC as the Java client does, and two companions: idle
//! connections, and the raw disk under the same writes.
//!
//! It shares the machine with the server it measures, so it does as little as it can per event: batches are
//! encoded before the clock starts, only the serial and each event's identity are written anew, a
//! frame leaves in one system call, and each connection is one blocking thread. It uses none of
//! flumen's code, so a mistake in flumen's encoding cannot hide in it.
//!
//! ```text
//! cargo build --release --example load
//! target/release/examples/load send --to 127.0.0.1:41414 --connections 4 --batch 1000 --seconds 10
//! target/release/examples/load idle --to 127.0.0.1:41414 --connections 1000 --seconds 10
//! target/release/examples/load raw-disk --dir /var/lib/flumen --block-bytes 262144 --seconds 5
//! ```
//!
//! Each command prints one line of JSON. `benches/against_flume` reads it.

mod batch;
mod closed;
mod connection;
mod idle;
mod paced;
mod process;
mod raw_disk;
mod reply;
mod run;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Load for a Flume Avro source, and what the disk under it can do")]
struct CommandLine {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Send batches and measure how they are acknowledged.
    Send(Send),
    /// Open connections, shake hands, and hold them without sending anything.
    Idle(Idle),
    /// Write and flush a pre-written file, as a write-ahead log would, and measure that.
    RawDisk(RawDisk),
}

/// What to send, and for how long.
#[derive(Args, Clone)]
struct Send {
    /// The Avro source.
    #[arg(long)]
    to: SocketAddr,
    /// Connections, each one thread.
    #[arg(long, default_value_t = 4)]
    connections: u16,
    /// Events in one call.
    #[arg(long, default_value_t = 1000)]
    batch: u32,
    /// Calls in flight on one connection. Java's client has one.
    #[arg(long, default_value_t = 2)]
    depth: u32,
    /// Bytes of one event's body; its first 16 are its identity.
    #[arg(long, default_value_t = 512)]
    body_bytes: u32,
    /// How long to measure.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How long to send before the measurement begins.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Send exactly this many events (rounded up to whole batches) instead of for a time, and measure
    /// from the first byte to the last acknowledgement. `--seconds` then bounds the run.
    #[arg(long)]
    events: Option<u64>,
    /// Events per second over all connections; without it, as fast as acknowledgements allow.
    #[arg(long)]
    rate: Option<f64>,
    /// How long a connection waits after a FAILED or an RPC error before it goes on.
    #[arg(long, default_value_t = 10)]
    retry_ms: u64,
    /// Process whose CPU time and memory to report.
    #[arg(long)]
    server_pid: Option<u32>,
}

/// Connections that only wait.
#[derive(Args, Clone)]
struct Idle {
    /// The Avro source.
    #[arg(long)]
    to: SocketAddr,
    /// Connections to hold.
    #[arg(long, default_value_t = 1000)]
    connections: u32,
    /// How long to hold them.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Process whose memory to report while they are held.
    #[arg(long)]
    server_pid: Option<u32>,
}

/// The disk alone.
#[derive(Args, Clone)]
struct RawDisk {
    /// Folder on the file system to measure.
    #[arg(long)]
    dir: PathBuf,
    /// Bytes of one write, a multiple of 4096.
    #[arg(long, default_value_t = 262_144)]
    block_bytes: usize,
    /// Size of the pre-written file that is written over and over.
    #[arg(long, default_value_t = 1 << 30)]
    file_bytes: u64,
    /// How long to measure.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Open the file `O_DSYNC` instead of calling `fdatasync` after each write.
    #[arg(long)]
    dsync: bool,
    /// Bytes per second to write; without it, as fast as the disk allows.
    #[arg(long)]
    rate: Option<f64>,
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().mode {
        Mode::Send(send) => run::run(&send),
        Mode::Idle(idle) => idle::hold(&idle),
        Mode::RawDisk(raw_disk) => raw_disk::measure(&raw_disk),
    };
    match outcome {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
