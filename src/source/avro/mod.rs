//! The Avro source: Flume agents and RPC clients send here.
//!
//! In the order bytes pass: `listener` accepts and places a connection, `inflate` takes zlib off,
//! `frame` finds whole messages, `handshake` agrees on the protocol, `call` reads what is asked,
//! `scan` proves the events, `request` puts them, `outbox` answers through `reply` once they are
//! durable; `connection` holds the two halves together and `pulse` their deadlines. Up to `scan`, and
//! `reply`, everything is pure: slices in, results out, no waiting. `docs/COMPATIBILITY.md` tells what
//! is Flume's behaviour and what is ours.

mod call;
mod connection;
mod foreign;
mod foreign_request;
mod frame;
mod handshake;
mod inflate;
mod ip_filter;
mod listener;
mod log_gate;
mod outbox;
mod placement;
mod pulse;
mod reply;
mod request;
mod scan;
mod service;
mod shape;

#[cfg(test)]
mod serve_tests;

pub use call::{Call, CallError};
pub use foreign::{Foreign, ForeignError};
pub use frame::{Frame, FrameError, Frames};
pub use handshake::{Handshake, HandshakeError, Layout, Match, OWN_HASH, PROTOCOL_JSON, Protocols};
pub use inflate::{Inflate, InflateError, Sniffed, sniff};
pub use ip_filter::{IpFilter, IpFilterError};
pub use listener::{AvroSource, Listening, SourceError, Stop};
pub use placement::{Placement, Refusal};
pub use reply::Status;
pub use scan::{EventLimits, Pieces, ScanError, scan_array, scan_event};
