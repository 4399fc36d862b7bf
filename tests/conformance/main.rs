//! Would a real Flume client notice? Recorded bytes and real clients against flumen, and each test of
//! bytes against a real Flume 1.11 as well, which proves the test itself.
//!
//! One Flume and one flumen run for the whole binary, on the same configuration text; tests tell their
//! events apart by body.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod differential;
mod golden;
mod handshake;
mod hostile;
mod outcome;
mod pipelining;
mod server;
