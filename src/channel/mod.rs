//! Fourth stop: a batch becomes durable, and waits for its sinks.
//!
//! A channel has two sides. On an ingest shard a [`Put`] takes batches in: for `type = file` it
//! answers once the batch is in the WAL, written and flushed; for `type = memory` once it is in
//! memory. On a drain thread a [`Consumer`] gives the events of one consumer group to its sinks, in
//! transactions.

mod admission;
mod block;
mod commit;
mod consumer;
mod memory;
mod put;

/// The write-ahead log: `type = file`.
pub mod wal;

pub use block::{Block, BlockError, RECORD_HEADER_BYTES, Record, record_bytes, write_record};
pub use commit::Commit;
pub use consumer::{Consumer, DeliveredTo, Feed, Next, Slice, TakeError, Transaction};
pub use memory::{MemoryFeed, MemoryPut};
pub use put::{Put, PutError};
