//! What the collector stands on: one narrow seam to disk, network, clock and randomness.
//!
//! Protocol and WAL logic know [`World`] (an ingest shard) or its lower half [`Ground`] (a drain
//! thread) and nothing else. [`RingWorld`] is an executor of ours on a bare ring, [`ShardWorld`] a
//! glommio executor, [`DrainWorld`] a tokio-uring runtime, [`ReadOnlyWorld`] what tools look through,
//! [`simulated::SimulatedWorld`] a box in memory that fails on purpose. `unsafe` lives in this folder
//! only.

mod aligned;
mod clock;
mod defence;
mod drain;
mod files;
mod lent;
mod pool;
mod read_only;
mod ring;
mod shard;
/// A box in memory that fails on purpose.
pub mod simulated;
mod sockets;
mod world;

pub use clock::Clock;
pub use defence::Defence;
pub use drain::DrainWorld;
pub(crate) use files::{create_directory, direct_sync_flags, replace};
pub use read_only::ReadOnlyWorld;
pub use ring::{RingWorld, run_ring};
pub use shard::ShardWorld;
pub use world::{
    AcceptedHandle, AcceptedStream, ByteStream, DiskFile, Fill, Ground, StreamListener, World,
    WriteBuffer,
};
