//! Second stop: a batch gains what its interceptors add.
//!
//! `timestamp`, `host` and `static` add the same header to each event, so it is written once per
//! batch, into the batch's overlay.

mod chain;

pub use chain::Chain;
