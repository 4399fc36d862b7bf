//! From a checked section to the typed configuration of one component.
//!
//! Control plane only. Each function adds an error when what it returns cannot work; the caller then
//! drops the component.

mod channel;
mod hdfs;
mod kafka;
mod serializer;
mod sink;
mod source;

pub(super) use channel::channel;
pub(super) use sink::sink;
pub(super) use source::source;

use super::surroundings::Surroundings;

/// What all builders know.
pub(super) struct Build<'a> {
    /// Name of the agent.
    pub(super) agent: &'a str,
    /// What the configuration is read in.
    pub(super) surroundings: &'a Surroundings,
    /// Listed channels.
    pub(super) channel_names: Vec<String>,
    /// File channels that leave a directory out.
    pub(super) default_directories: usize,
}
