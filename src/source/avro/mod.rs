//! The Avro source: Flume agents and RPC clients send here.
//!
//! In the order bytes pass: `listener` accepts and places a connection, `inflate` takes zlib off,
//! `frame` finds whole messages, `handshake` agrees on the protocol, `call` reads what is asked,
//! `scan` proves the events, `connection` puts them and answers through `reply`. All but `listener`
//! and `connection` are pure: slices in, results out, no waiting. `docs/COMPATIBILITY.md` tells what
//! is Flume's behaviour and what is ours.

mod call;
mod connection;
mod foreign;
mod frame;
mod handshake;
mod inflate;
mod ip_filter;
mod listener;
mod log_gate;
mod placement;
mod pulse;
mod reply;
mod scan;

pub use call::{Call, CallError};
pub use foreign::{Foreign, ForeignError};
pub use frame::{Frame, FrameError, Frames};
pub use handshake::{Handshake, Layout, Match, OWN_HASH, PROTOCOL_JSON, Protocols};
pub use inflate::{Inflate, InflateError, Sniffed, sniff};
pub use ip_filter::{IpFilter, IpFilterError};
pub use listener::{AvroSource, Listening, SourceError, Stop};
pub use placement::{Placement, Refusal};
pub use reply::Status;
pub use scan::{EventLimits, ScanError, scan_array, scan_event};
