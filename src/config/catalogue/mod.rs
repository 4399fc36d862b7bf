//! Every component of Flume 1.11, with its properties: the tables everything else reads.
//!
//! Constants only. `docs/CONFIGURATION.md` is held to these tables by a test.

mod channels;
mod planned;
mod sinks;
mod sources;
mod stages;

use super::schema::{Component, Role};

/// All components, in the order of the reference.
pub fn components() -> impl Iterator<Item = &'static Component> {
    sources::ALL
        .iter()
        .chain(stages::ALL)
        .chain(channels::ALL)
        .chain(sinks::ALL)
        .chain(planned::ALL)
}

/// The component that `value` of `type` means.
pub fn find(role: Role, value: &str) -> Option<&'static Component> {
    components().find(|component| component.role == role && component.is(value))
}
