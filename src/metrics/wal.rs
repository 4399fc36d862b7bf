//! What a shard's log did: blocks, bytes, and how long they took.

use std::time::Duration;

use super::counter::Counter;

/// One set a shard and file channel.
#[derive(Debug, Default)]
pub struct WalCounters {
    /// Blocks made durable.
    pub flush: Counter,
    /// Time spent in their writes, nanoseconds.
    pub flush_ns: Counter,
    /// Bytes written, headers and padding included.
    pub written_bytes: Counter,
    /// Bytes of records written.
    pub payload_bytes: Counter,
    /// Time from the first record of a block to its commit, summed, nanoseconds.
    pub commit_ns: Counter,
    /// Writes the device refused.
    pub write_error: Counter,
    /// Blocks that damage took, found by recovery or on the way to a sink.
    pub lost_block: Counter,
    /// Events in them.
    pub lost_event: Counter,
    /// Blocks read back from disk for sinks that lag.
    pub read_back_block: Counter,
}

impl WalCounters {
    /// A block is durable.
    pub fn flush(&self, took: Duration, block_bytes: usize, payload_bytes: usize) {
        self.flush.increment();
        self.flush_ns.add(nanoseconds(took));
        self.written_bytes.add(block_bytes as u64);
        self.payload_bytes.add(payload_bytes as u64);
    }

    /// A block's batches are about to be told.
    pub fn commit(&self, took: Duration) {
        self.commit_ns.add(nanoseconds(took));
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
