//! Is every acknowledged event there after `kill -9`?
//!
//! One collector is killed under load at a random moment and started again over its folders, round after
//! round; senders reconnect as Flume sinks do and repeat what was not answered. Every few rounds it is
//! let come to rest, and the oracle compares what was acknowledged with what `file_roll` wrote.
//!
//! `FLUMEN_CRASH_ROUNDS` (default 200) and `FLUMEN_CRASH_SEED` set how long and which moments. The seed is
//! printed; it fixes the plan of the rounds, not the scheduling of the kernel.

#[path = "../support/mod.rs"]
mod support;

mod under_load;
