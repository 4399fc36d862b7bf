//! Does the log keep its promise on a disk that fails?
//!
//! A real flumen, a real kernel, real ext4 and XFS, and below them a disk that this process plays
//! ([`disk`]). `crash_states` looks at what power cuts may leave, `errors` at a disk that fails while
//! flumen runs, `planted` at whether these lanes see a defence that is missing.
//!
//! Needs root. Where the machine forbids what the disk needs, the tests say so and fail.

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod caller;
mod crash_states;
mod disk;
mod errors;
mod limits;
mod planted;
mod random;
mod recording;
mod replay;
mod trial;
