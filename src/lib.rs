//! flumen: a collector that takes over Apache Flume's job.
//!
//! The folders are the stops of a batch, in travelling order and in Flume's own words: whoever can
//! read a Flume configuration can find the code. A stop knows `event`, `limits`, `metrics` and
//! `reactor`, never another stop; `agent` joins them. `docs/ARCHITECTURE.md` is the map.

#[cfg(flumen_bare)]
#[macro_use]
mod bare;

/// Flume properties, with file and line, become one checked `AgentConfig`.
pub mod config;

/// 1. Bytes from a peer become a batch.
pub mod source;

/// 2. A batch gains what its interceptors add.
pub mod interceptor;

/// 3. A batch learns its channels.
pub mod selector;

/// 4. A batch becomes durable.
pub mod channel;

/// 5. Durable events are delivered.
pub mod sink;

/// What flows: events, batches, overlay headers.
pub mod event;

/// Wiring, life cycle, supervision.
pub mod agent;

/// What it stands on: the seam to disk, network, clock and randomness. The only unsafe code.
pub mod reactor;

/// HTTP for operators: metrics and health.
pub mod admin;

/// What an operator does to a log from outside an agent: `flumen wal`.
pub mod maintenance;

/// What an operator sees: Flume's counters and ours.
pub mod metrics;

/// Every bound in one place.
pub mod limits;
