//! The log, in Flume's pattern.
//!
//! A thread that logs builds a [`Record`](record::Record) and puts it into a bounded queue; the
//! writer thread turns it into a line, in local time, and writes it to standard error, to a file, or
//! both. A data core never waits for a slow terminal: when the queue is full its line is dropped and
//! counted, and the log says so as soon as it can. ERROR lines and the logger sink's events wait for
//! room instead, because somebody needs every one of them.

mod layer;
mod output;
mod pattern;
mod queue;
mod record;
mod settings;
mod start;

pub use settings::{FileLog, LogSettings, Roll};
pub use start::{LogError, LogGuard, start};
