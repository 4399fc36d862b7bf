//! What an operator sees: Flume's counters under Flume's names, and ours.
//!
//! Counters are added to per batch, never per event, by the one thread that owns them, and summed
//! when somebody asks. So they are atomics only because the admin thread reads them.

mod counter;
mod flume;
mod wal;

pub use counter::{Counter, Gauge};
pub use flume::{ChannelCounters, SinkCounters, SourceCounters};
pub use wal::WalCounters;
