//! Fourth stop: a batch becomes durable, and waits for its sinks.
//!
//! A channel has two sides. On an ingest shard a [`Put`] takes batches in: for `type = file` it
//! answers once the batch is in the WAL, written and flushed; for `type = memory` once it is in
//! memory. On a drain thread a [`Consumer`] gives the events of one consumer group to its sinks, in
//! transactions.

mod block;
mod consumer;
mod put;

pub use block::{Block, BlockError, RECORD_HEADER_BYTES, Record, record_bytes, write_record};
pub use consumer::{Consumer, DeliveredTo, Feed, Next, Slice, TakeError, Transaction};
pub use put::{Put, PutError};
