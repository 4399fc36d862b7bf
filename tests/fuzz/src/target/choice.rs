//! Which target runs: named by `FLUMEN_FUZZ`, fixed for the process.

use std::sync::OnceLock;

use libfuzzer_sys::Corpus;

use super::{block, call, checkpoint, configuration, escape, frame, handshake, inflate, segment};

/// Runs one input; false: it is not worth keeping.
type Target = fn(&[u8]) -> bool;

/// Every target by its name.
const TARGETS: [(&str, Target); 9] = [
    ("frame", |data| kept(frame::run(data))),
    ("handshake", |data| kept(handshake::run(data))),
    ("call", |data| kept(call::run(data))),
    ("inflate", inflate::run),
    ("block", |data| kept(block::run(data))),
    ("segment", |data| kept(segment::run(data))),
    ("checkpoint", |data| kept(checkpoint::run(data))),
    ("configuration", |data| kept(configuration::run(data))),
    ("escape", |data| kept(escape::run(data))),
];

/// All inputs of most targets are.
fn kept((): ()) -> bool {
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
