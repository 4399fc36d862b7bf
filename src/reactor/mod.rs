//! What the collector stands on: one narrow seam to disk, network, clock and randomness.
//!
//! Protocol and WAL logic know [`World`] and nothing else. [`shard`](crate::reactor::ShardWorld) is the
//! glommio executor of an ingest core, [`drain`](crate::reactor::DrainWorld) a tokio-uring runtime; a
//! deterministic simulator is a third. `unsafe` lives in this folder only.

mod world;

pub use world::{
    AcceptedHandle, AcceptedStream, ByteStream, DiskFile, StreamListener, World, WriteBuffer,
};
