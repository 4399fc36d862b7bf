//! The ingest side of a channel, as a source sees it.

use std::future::Future;
use std::io;
use std::rc::Rc;

use crate::event::Batch;

/// Why a channel did not take a batch. In every case the source answers FAILED and the agent keeps it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PutError {
    /// Larger than `transactionCapacity`: it would never fit, so there is no wait.
    #[error(
        "a batch of {event_count} events is more than transactionCapacity {transaction_capacity} \
         of channel {channel}; lower the client's batch size or raise transactionCapacity"
    )]
    TransactionTooLarge {
        /// Channel name.
        channel: Rc<str>,
        /// Events in the batch.
        event_count: usize,
        /// The limit.
        transaction_capacity: usize,
    },
    /// One event is larger than a segment or a block can be.
    #[error(
        "channel {channel}: an event of {event_bytes} bytes is more than the {bytes_max} bytes that fit a \
         segment; raise maxFileSize, or send smaller events"
    )]
    EventTooLarge {
        /// Channel name.
        channel: Rc<str>,
        /// Its headers and body.
        event_bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// No room within `keep-alive`.
    #[error(
        "channel {channel} is full: {used_events} of {capacity_events} events ({used_bytes} of \
         {capacity_bytes} bytes) wait for the sink, and none left within {keep_alive_ms} ms"
    )]
    Full {
        /// Channel name.
        channel: Rc<str>,
        /// Events waiting.
        used_events: u64,
        /// `capacity`.
        capacity_events: u64,
        /// Bytes waiting.
        used_bytes: u64,
        /// Bytes allowed.
        capacity_bytes: u64,
        /// How long the batch waited.
        keep_alive_ms: u64,
    },
    /// The disks of the channel are short of room.
    #[error(
        "channel {channel}: usable space exhausted, only {free_bytes} bytes remaining, required \
         {required_bytes} bytes, in {directory}"
    )]
    NoSpace {
        /// Channel name.
        channel: Rc<str>,
        /// The data directory with the most room.
        directory: String,
        /// Free there.
        free_bytes: u64,
        /// `minimumRequiredSpace`.
        required_bytes: u64,
    },
    /// No data directory takes writes at the moment.
    #[error("channel {channel}: no healthy data directory; the last error was: {reason}")]
    Device {
        /// Channel name.
        channel: Rc<str>,
        /// The last device error.
        #[source]
        reason: Rc<io::Error>,
    },
    /// The agent is stopping.
    #[error("channel {channel} is closed")]
    Closed {
        /// Channel name.
        channel: Rc<str>,
    },
}

/// Takes batches on one shard. Batches that one task puts, one after another, keep their order.
pub trait Put: 'static {
    /// What [`Put::put`] returns at once; awaiting it waits for the commit. `Unpin`, so that a source
    /// can keep it in its queue of answers and poll it there, without a box a batch.
    type Commit: Future<Output = Result<(), PutError>> + Unpin + 'static;

    /// Copies the batch into the channel, waiting (first come, first served) for room up to
    /// `keep-alive`. The batch's bytes are not needed any more when this returns; the batch is
    /// durable when the returned future is `Ok`.
    ///
    /// # Errors
    /// [`PutError`]; nothing of the batch is kept then.
    fn put(&self, batch: &Batch<'_>) -> impl Future<Output = Result<Self::Commit, PutError>>;
}
