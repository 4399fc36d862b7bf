//! `file_roll`: events into local files, a new one at each interval.

mod names;
mod sink;

pub use sink::FileRollSink;
