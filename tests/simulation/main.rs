//! Does the collector keep its promise whatever its box does? Thousands of boxes that fail on purpose.
//!
//! The whole collector (connections, shards, WAL, recovery, drain, sink runners, checkpoint) runs in one
//! thread over a simulated box: its disks, network, clocks and randomness come from one seed, time is
//! paused and moves only when nothing else can. A run is a few lives: each ends with a power cut or an
//! orderly stop at any moment; between them somebody may vandalise the checkpoint or the medium may rot.
//! In the last life everything works, and the oracle judges.
//!
//! `FLUMEN_SIM_SEEDS` (default 3000; 0: until stopped) and `FLUMEN_SIM_FIRST` choose the seeds. A seed
//! that fails prints itself and the line that plays it again, bit for bit.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod collector;
mod judge;
mod plan;
mod planted;
mod run;
mod seeds;
mod sink;
