//! Fifth stop: durable events are delivered.
//!
//! A sink runs on one drain thread, a tokio-uring runtime. Its runner calls [`Sink::process`] again
//! and again, as Flume's sink runner does; a sink takes transactions from its channel's
//! [`Consumer`], delivers them, and commits only what its target has confirmed.

/// Flume's escapes in paths, prefixes and topics.
pub mod escape;

/// `file_roll`.
pub mod file_roll;

/// `hdfs`.
pub mod hdfs;

/// Delivers to Kafka through librdkafka.
pub mod kafka;

/// Prints every event to the log.
pub mod logger;

/// Throws every event away.
pub mod null;

/// Runs a sink for ever, with Flume's back-off.
pub mod processor;

/// Events as text or Avro, for files.
pub mod serializer;

mod outside;

pub use outside::Outside;

use std::future::Future;

use crate::channel::{Consumer, TakeError};

/// What one call of [`Sink::process`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Something was delivered: call again at once.
    Ready,
    /// Nothing to do: wait for events.
    Backoff,
    /// The target failed, the sink has logged it and rolled back (Flume's HDFS sink does so with an IO
    /// error). Call again after `min(consecutive × 1 s, 5 s)`.
    Failed,
}

/// Why a sink delivered nothing. The transaction was rolled back; the runner backs off and calls
/// again, for ever.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The channel could not give events.
    #[error("taking from the channel failed")]
    Take(#[from] TakeError),
    /// The target failed or refused.
    #[error("{what}")]
    Delivery {
        /// What was tried, where, what it means and what to do.
        what: String,
        /// The cause, when there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Delivers the events of a channel to one target.
pub trait Sink: 'static {
    /// Connects, creates, recovers. An error is logged and the runner goes on: targets come back.
    fn start(&mut self) -> impl Future<Output = Result<(), SinkError>>;
    /// Takes what is there (at most about one batch, or a few in one flush), delivers it, commits.
    ///
    /// # Errors
    /// [`SinkError`]; everything taken was rolled back.
    fn process(&mut self, consumer: &Consumer) -> impl Future<Output = Result<Status, SinkError>>;
    /// The runner found nothing for a while or the clock moved on: timers (rolls, idle closes) run
    /// here. Returns how long until it wants to be called again at the latest.
    fn tick(&mut self) -> impl Future<Output = Option<std::time::Duration>> {
        std::future::ready(None)
    }
    /// Closes what is open, renames what is done. Called once, after the last `process`.
    fn stop(&mut self) -> impl Future<Output = ()>;
}
