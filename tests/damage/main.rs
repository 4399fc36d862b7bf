//! What damage on disk costs: the block that was hit, never more, and it is counted.
//!
//! `restart` and `flume_cases` start the collector itself over files that were damaged while it stood
//! still: Flume's own restart and replay cases, by name.

#[path = "../support/mod.rs"]
mod support;

mod flume_cases;
mod restart;
