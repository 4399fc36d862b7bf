//! Is every acknowledged event there after `kill -9`?
//!
//! A collector is killed under load at random moments (while it serves, recovers or stops) and started
//! again over its folders, round after round; senders reconnect as Flume sinks do and repeat what was not
//! answered. Every few rounds it is let come to rest, and the oracle compares what was acknowledged with
//! what came out, each consumer group on its own.
//!
//! Two lanes: `under_load` has our own senders and one sink, and is fast; `with_partners` has real Flume SDK
//! clients, a Kafka broker and an HDFS, which are killed in mid-transaction as well. `planted` removes one
//! defence of the collector at a time and wants the lanes to fail. `stopping` looks at orderly stops.
//!
//! `FLUMEN_CRASH_ROUNDS` (default 160 with partners, a quarter of it without) and `FLUMEN_CRASH_SEED` set how
//! long and which moments. The seed is printed; it fixes the plan of the rounds, not the scheduling of the
//! kernel.

#[path = "../support/mod.rs"]
mod support;

mod blow;
mod outage;
mod planted;
mod random;
mod site;
mod stopping;
mod under_load;
mod with_partners;
