//! The fuzzers: one binary, the target chosen by `FLUMEN_FUZZ`. libFuzzer owns `main` and calls
//! [`target::run`] with each input.
//!
//! `FLUMEN_PLANTED=1` plants each target's defect (see [`planted`]): the target must find it.

#![no_main]

mod crc;
mod ground;
mod input;
mod log;
mod meter;
mod planted;
mod target;

use libfuzzer_sys::{Corpus, fuzz_target};

#[global_allocator]
static MEMORY: meter::Meter = meter::Meter;

fuzz_target!(init: target::choose(), |data: &[u8]| -> Corpus { target::run(data) });
