//! What the collector stands on: one narrow seam to disk, network, clock and randomness.
//!
//! Protocol and WAL logic know [`World`] (an ingest shard) or its lower half [`Ground`] (a drain
//! thread) and nothing else. [`ShardWorld`] is a glommio executor, [`DrainWorld`] a tokio-uring
//! runtime, [`simulated::SimulatedWorld`] a box in memory that fails on
//! purpose. `unsafe` lives in this folder only.

mod clock;
mod defence;
mod drain;
mod files;
mod lent;
mod shard;
/// A box in memory that fails on purpose.
pub mod simulated;
mod world;

pub use clock::Clock;
pub use defence::Defence;
pub use drain::DrainWorld;
pub use shard::ShardWorld;
pub use world::{
    AcceptedHandle, AcceptedStream, ByteStream, DiskFile, Fill, Ground, StreamListener, World,
    WriteBuffer,
};
