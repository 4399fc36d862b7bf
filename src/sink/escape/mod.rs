//! Flume's escapes in `hdfs.path`, `hdfs.filePrefix` and `kafka.topic`: compiled once, rendered per
//! event.
//!
//! Grammar: `%{header}` (letters, digits, `_`, `.`, `-`), `%[localhost|IP|FQDN]`, `%c` with one word
//! character, `%%`. Anything else after a `%` is literal text, as in Flume 1.11.

mod clean;
mod clock_text;
mod host;
mod rounding;
mod template;
mod zone;

pub use clean::Place;
pub(crate) use host::{host_fqdn, host_name};
pub use template::{EscapeCounters, EscapeError, TIMESTAMP_HEADER, Template, TimeSettings};
pub use zone::{ZoneError, java_time_zone};
