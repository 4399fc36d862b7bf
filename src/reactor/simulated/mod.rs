//! A box that exists in memory and fails on purpose: the third implementation of the seam.
//!
//! A [`SimulatedWorld`] has disks, a network, clocks and randomness, all of one thread and all drawn
//! from one seed, so that a run replays bit for bit. Time is tokio's, which a simulation pauses: it
//! moves only when nothing else can. What the disks hold survives [`SimulatedWorld::crash`]; what was
//! under way does not, or in part.
//!
//! The model is conservative where hardware differs: a write under way at a crash leaves any subset of
//! its sectors; after a write failed, later writes to that file are promises nobody keeps; a file that was
//! created, renamed or removed may be as before until its directory is flushed; reads come in pieces. Faults that take data which was reported durable (rot, lost and misdirected writes) are
//! told to whoever runs the simulation, who alone knows what may be missing then.

mod dice;
mod disk;
mod entries;
mod faults;
mod file;
mod network;
mod world;

pub use dice::Dice;
pub use disk::{Damage, DamageHook, SimulatedDisk};
pub use faults::Faults;
pub use file::{SimulatedBuffer, SimulatedFile};
pub use network::{SimulatedListener, SimulatedNetwork, SimulatedStream};
pub use world::{SimulatedWorld, Site};
