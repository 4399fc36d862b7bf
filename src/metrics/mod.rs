//! What an operator sees: Flume's counters under Flume's names, and ours.
//!
//! Counters are added to per batch, never per event, by the one thread that owns them, and summed
//! when somebody asks. So they are atomics only because the admin thread reads them. The
//! [`Registry`] is built once, at start, and holds every counter of the process;
//! [`flume_json`] and [`prometheus`] are its two written forms, [`lifecycle`] its log lines.

mod component;
mod counter;
mod distribution;
mod flume;
pub mod flume_json;
mod java_double;
pub mod lifecycle;
pub mod prometheus;
mod ranges;
mod registry;
mod wal;

pub use component::{
    ChannelKind, ChannelMetrics, ChannelShard, GroupMetrics, Lifetime, LogGauges, SinkKind,
    SinkMetrics, SourceKind, SourceMetrics, ThreadMetrics,
};
pub use counter::{Counter, Gauge};
pub use distribution::{Distribution, Quantity, Recorder};
pub use flume::{ChannelCounters, SinkCounters, SourceCounters};
pub use registry::{Registry, RegistryBuilder};
pub use wal::WalCounters;
