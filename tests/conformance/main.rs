//! Would a real Flume client notice? Recorded bytes and real clients against flumen, and the same bytes
//! against a real Flume beside it.

#[path = "../support/mod.rs"]
mod support;
