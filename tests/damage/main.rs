//! What damage on disk costs: the block that was hit, never more, and it is counted.
//!
//! Most lanes write a log with the real appender into a box in memory ([`still`]), change its bytes, and
//! open it as a start and a lagging sink do ([`log`]); [`verdict`] judges. They run in part by default,
//! and exhaustively with `FLUMEN_DAMAGE=long` (`make damage`).
//! [`restart`], [`flume_cases`] and [`flume_files`] start the collector itself over files that were damaged while it stood
//! still: Flume's own restart and replay cases, by name.

#[path = "../support/mod.rs"]
mod support;

mod checkpoints;
mod flips;
mod flume_cases;
mod flume_files;
mod log;
mod multi;
mod restart;
mod sectors;
mod segments;
mod still;
mod torn;
mod verdict;

/// Whether the exhaustive forms run.
fn long() -> bool {
    std::env::var("FLUMEN_DAMAGE").is_ok_and(|form| form == "long")
}
