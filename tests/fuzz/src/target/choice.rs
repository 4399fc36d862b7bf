//! Which target runs: named by `FLUMEN_FUZZ`, fixed for the process.

use std::sync::OnceLock;

use libfuzzer_sys::Corpus;

use super::{block, call, checkpoint, configuration, escape, frame, handshake, inflate, segment};

/// Runs one input; false: it is not worth keeping.
type Target = fn(&[u8]) -> bool;

/// Every target by its name.
const TARGETS: [(&str, Target); 9] = [
    ("frame", |data| kept(data, frame::run)),
    ("handshake", |data| kept(data, handshake::run)),
    ("call", |data| kept(data, call::run)),
    ("inflate", inflate::run),
    ("block", |data| kept(data, block::run)),
    ("segment", |data| kept(data, segment::run)),
    ("checkpoint", |data| kept(data, checkpoint::run)),
    ("configuration", |data| kept(data, configuration::run)),
    ("escape", |data| kept(data, escape::run)),
];

/// All inputs of most targets are.
fn kept(data: &[u8], run: fn(&[u8])) -> bool {
    run(data);
    true
}

static CHOSEN: OnceLock<Target> = OnceLock::new();

/// Reads the choice; ends the process when it names no target.
pub(crate) fn choose() {
    let name = std::env::var("FLUMEN_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = found else {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("FLUMEN_FUZZ={name:?} is no target; set it to one of {names:?}");
        std::process::exit(64);
    };
    CHOSEN.get_or_init(|| *target);
}

/// Runs the chosen target on one input.
pub(crate) fn run(data: &[u8]) -> Corpus {
    let target = CHOSEN.get().expect("libFuzzer initialises first");
    match target(data) {
        true => Corpus::Keep,
        false => Corpus::Reject,
    }
}
