//! Wiring and life cycle: a checked configuration becomes threads, and a signal ends them.
//!
//! ```text
//! main thread      preflight → locks → checkpoint → shards recover → drains start → shards serve
//!                  → signals … → sources stop → sinks stop → channels close → exit
//! shard threads    one executor each: logs, memory channels, sources              (shard)
//! drain threads    one tokio-uring runtime each: consumer groups, sinks, cursors  (drain)
//! admin thread     metrics and health                                             (admin)
//! ```
//!
//! This is the only folder that knows more than one stop of a batch.

mod drain;
mod preflight;
mod put;
mod quickstart;
mod run;
mod sample;
mod sampler;
mod shard;
mod sinks;
mod topology;

pub use preflight::{PreflightError, preflight};
pub use quickstart::quickstart;
pub use run::run;
