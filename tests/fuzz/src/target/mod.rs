//! What is fuzzed, one file a target. Each checks properties, not only that nothing panics.

mod block;
mod call;
mod checkpoint;
mod choice;
mod configuration;
mod escape;
mod frame;
mod handshake;
mod inflate;
mod reference;
mod segment;

pub(crate) use choice::{choose, run};
