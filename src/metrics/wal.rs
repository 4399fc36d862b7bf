//! What damage took from a shard's log.

use super::counter::Counter;

/// One set a shard and file channel.
#[derive(Debug, Default)]
pub struct WalCounters {
    /// Blocks that could not be read on the way to a sink.
    pub lost_block: Counter,
    /// Events in them.
    pub lost_event: Counter,
}
