//! What the collector stands on: one narrow seam to disk, network, clock and randomness.
//!
//! Protocol and WAL logic know [`World`] (an ingest shard) or its lower half [`Ground`] (a drain
//! thread) and nothing else. [`RingWorld`] is an executor of ours on a bare ring, [`ShardWorld`] a
//! glommio executor, [`DrainWorld`] a tokio-uring runtime; a deterministic simulator can be another.
//! `unsafe` lives in this folder only.

mod aligned;
mod clock;
mod defence;
mod drain;
mod files;
mod lent;
mod ring;
mod shard;
mod sockets;

mod world;

pub use clock::Clock;
pub use defence::Defence;
pub use drain::DrainWorld;
pub use ring::{RingWorld, run_ring};
pub use shard::ShardWorld;
pub use world::{
    AcceptedHandle, AcceptedStream, ByteStream, DiskFile, Fill, Ground, StreamListener, World,
    WriteBuffer,
};
