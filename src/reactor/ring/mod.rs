//! The world of an ingest shard on a ring of its own: the executor, its timers, its sockets and its
//! files, over the `io-uring` crate.
//!
//! One thread, one ring. It exists because of what a batch costs: a write is submitted the moment it
//! is asked for instead of when the executor has nothing else to do, so that the device works while
//! the shard parses; and the kernel is entered once for all that waits. `docs/DEPENDENCIES.md` has the
//! figures beside glommio.
//!
//! | file       | owns                                                                        |
//! |------------|-----------------------------------------------------------------------------|
//! | `ring`     | the ring, and every operation under way with the memory the kernel works in  |
//! | `operation`| one of them, as those see it who asked for it                               |
//! | `executor` | tasks, and the loop: run what is ready, enter the kernel, wake               |
//! | `wake`     | wakers, from this thread and from others                                     |
//! | `timers`   | who sleeps until when                                                        |
//! | `disk`     | files                                                                        |
//! | `network`  | listeners and streams                                                        |
//! | `world`    | the seam over all of it                                                      |

mod disk;
mod executor;
mod network;
mod operation;
#[expect(
    clippy::module_inception,
    reason = "the ring is what this folder is about"
)]
mod ring;
mod timers;
mod wake;
mod world;

#[cfg(test)]
mod tests;

pub use executor::run_ring;
pub use world::RingWorld;
