//! Copies what the logs know into the gauges that operators see.
//!
//! Runs on the main thread a few times a second: the logs' own figures are atomics that any thread
//! may read, so the data cores do nothing for it.

use std::sync::Arc;

use crate::channel::wal::LogShared;
use crate::metrics::{Registry, WalCounters};

/// One channel's logs.
#[derive(Debug)]
pub(super) struct SampledChannel {
    pub(super) name: String,
    /// Log, its counters if it is on disk.
    pub(super) logs: Vec<(Arc<LogShared>, Option<Arc<WalCounters>>)>,
}

/// Brings the gauges of all channels up to date.
pub(super) fn sample(registry: &Registry, channels: &[SampledChannel]) {
    for channel in channels {
        let metrics = registry.channel(&channel.name);
        for (log, counters) in &channel.logs {
            let shard = log.shard as usize;
            let Some(shown) = metrics.shards().get(shard) else {
                continue;
            };
            // Cursors first: a cursor is never ahead of an end that is read later.
            for link in &log.groups {
                metrics
                    .group(&link.group)
                    .delivered_to(shard)
                    .set(link.event());
            }
            shown.log.end_event.set(log.durable_event());
            let (segments, bytes) = log.segment_totals();
            shown.log.segment_count.set(segments as u64);
            shown.log.wal_bytes.set(bytes);
            if let Some(counters) = counters {
                shown.log.used_bytes.set(bytes);
                shown.log.lost_block_count.set(counters.lost_block.get());
                shown.log.lost_event_count.set(counters.lost_event.get());
            }
        }
        // A memory channel counts its bytes itself; a log uses the disk of its segments.
        if let Some((log, None)) = channel.logs.first() {
            metrics.shard(0).log.used_bytes.set(log.usage.bytes());
        }
    }
}
