//! The runner of a sink and the processor between them.
//!
//! Flume puts a sink processor between its sink runner and its sinks: the default one passes on to a
//! single sink, those of sink groups choose among several. [`SinkRunner`] drives any
//! [`SinkProcessor`]; [`DefaultSinkProcessor`] is the one there is today.

mod backoff;
mod default;
mod runner;

pub use backoff::Backoff;
pub use default::{DefaultSinkProcessor, SinkProcessor};
pub use runner::SinkRunner;
