//! What stands between a runner and its sinks, and the default: one sink, nothing added.
//!
//! Lives on the drain thread of its runner.

use std::future::Future;
use std::time::Duration;

use crate::channel::Consumer;
use crate::sink::{Sink, SinkError, Status};

/// Chooses the sink that handles the next call. Has the life of a sink: start, process, stop.
pub trait SinkProcessor: 'static {
    /// Flume's thread name for a runner of this processor; the log shows it.
    const THREAD: &'static str;

    /// The sinks behind it.
    fn sink_names(&self) -> Vec<&str>;
    /// As [`Sink::start`].
    fn start(&mut self) -> impl Future<Output = Result<(), SinkError>>;
    /// As [`Sink::process`].
    fn process(&mut self, consumer: &Consumer) -> impl Future<Output = Result<Status, SinkError>>;
    /// As [`Sink::tick`].
    fn tick(&mut self) -> impl Future<Output = Option<Duration>>;
    /// As [`Sink::stop`].
    fn stop(&mut self) -> impl Future<Output = ()>;
}

/// A sink that is in no group.
#[derive(Debug)]
pub struct DefaultSinkProcessor<S> {
    name: String,
    sink: S,
}

impl<S: Sink> DefaultSinkProcessor<S> {
    /// Passes every call on to `sink`.
    #[must_use]
    pub fn new(name: impl Into<String>, sink: S) -> Self {
        Self {
            name: name.into(),
            sink,
        }
    }
}

impl<S: Sink> SinkProcessor for DefaultSinkProcessor<S> {
    const THREAD: &'static str = "SinkRunner-PollingRunner-DefaultSinkProcessor";

    fn sink_names(&self) -> Vec<&str> {
        vec![&self.name]
    }

    fn start(&mut self) -> impl Future<Output = Result<(), SinkError>> {
        self.sink.start()
    }

    fn process(&mut self, consumer: &Consumer) -> impl Future<Output = Result<Status, SinkError>> {
        self.sink.process(consumer)
    }

    fn tick(&mut self) -> impl Future<Output = Option<Duration>> {
        self.sink.tick()
    }

    fn stop(&mut self) -> impl Future<Output = ()> {
        self.sink.stop()
    }
}
