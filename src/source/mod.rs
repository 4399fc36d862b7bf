//! First stop: bytes from a peer become a batch.
//!
//! A source lives once on every ingest shard. It gives whole batches to the channels its selector
//! names and answers the peer when they are durable.

/// Flume's Avro RPC.
pub mod avro;
