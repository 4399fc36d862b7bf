//! The harness all test binaries share: real partners on loopback, flumen as a process, an oracle of events.
//!
//! Every server runs on 127.0.0.1 and a free port, writes its log into a scratch folder, is waited for
//! with a bound, and dies with the value that started it; a test binary that is killed takes its
//! servers along (`process`). A partner that cannot start fails the test. Times are real here: this is
//! the one place where tests look at a clock.

#![allow(
    dead_code,
    reason = "every test binary uses its own part of the harness"
)]
#![allow(
    unused_imports,
    reason = "every test binary uses its own part of the harness"
)]

pub mod arrivals;
pub mod clock;
pub mod collector;
pub mod conf;
pub mod event;
pub mod file_roll;
pub mod flume;
pub mod flumen;
pub mod hdfs;
pub mod http;
pub mod kafka;
pub mod load;
pub mod oracle;
pub mod partners;
pub mod port;
pub mod process;
pub mod rpc;
pub mod scratch;
pub mod sdk;
pub mod sdk_stream;
pub mod shell;

pub use clock::{Deadline, wait_until};
pub use collector::Collector;
pub use event::TestEvent;
pub use flume::FlumeAgent;
pub use flumen::FlumenProcess;
pub use hdfs::{Hdfs, HdfsHaPair};
pub use kafka::KafkaBroker;
pub use oracle::Oracle;
pub use port::free_port;
pub use rpc::{Compression, RpcClient, Status};
pub use scratch::Scratch;
pub use sdk::{SdkVersion, send};
