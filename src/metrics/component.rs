//! The counters of one component, as the [`Registry`](super::Registry) holds them.
//!
//! Built at start, alive until the process ends, shared by all threads. Each counter and each gauge
//! is changed by one thread only: the shard, the consumer group or the sink it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counter::{Counter, Gauge};
use super::distribution::{Distribution, Quantity};
use super::flume::{ChannelCounters, SinkCounters, SourceCounters};

/// When a component ran, in milliseconds since the epoch; 0 means not yet.
#[derive(Debug, Default)]
pub struct Lifetime {
    start_ms: Gauge,
    stop_ms: Gauge,
}

impl Lifetime {
    /// The component runs. A component that starts again has not stopped.
    pub fn start(&self, at_ms: u64) {
        self.stop_ms.set(0);
        self.start_ms.set(at_ms);
    }

    /// The component stopped.
    pub fn stop(&self, at_ms: u64) {
        self.stop_ms.set(at_ms);
    }

    /// `StartTime`.
    #[must_use]
    pub fn start_ms(&self) -> u64 {
        self.start_ms.get()
    }

    /// `StopTime`: 0 while it runs.
    #[must_use]
    pub fn stop_ms(&self) -> u64 {
        self.stop_ms.get()
    }
}

/// Which counters Flume shows for a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// All of `SOURCE`.
    Standard,
    /// None: netcat and its like.
    Silent,
}

/// A source: one set of counters a shard.
#[derive(Debug)]
pub struct SourceMetrics {
    /// Which counters Flume shows.
    pub kind: SourceKind,
    /// When it ran.
    pub lifetime: Lifetime,
    shards: Vec<Arc<SourceCounters>>,
}

impl SourceMetrics {
    pub(super) fn new(kind: SourceKind, shard_count: usize) -> Self {
        Self {
            kind,
            lifetime: Lifetime::default(),
            shards: fill(shard_count),
        }
    }

    /// The set that `shard` counts in.
    #[must_use]
    pub fn counters(&self, shard: usize) -> Arc<SourceCounters> {
        Arc::clone(&self.shards[shard])
    }

    /// A counter, summed over all shards.
    pub fn total(&self, of: impl Fn(&SourceCounters) -> u64) -> u64 {
        self.shards.iter().map(|counters| of(counters)).sum()
    }
}

/// Which counters Flume shows for a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// `CHANNEL`.
    Memory,
    /// `CHANNEL` and the file channel's extras.
    File,
}

/// What a shard says about its log of one channel. Memory channels leave the disk's figures at 0.
#[derive(Debug, Default)]
pub struct LogGauges {
    /// Number of the event that the next committed batch begins with. After recovery set only once
    /// every group's [`GroupMetrics::delivered_to`] is: the difference is what waits.
    pub end_event: Gauge,
    /// Bytes that wait for the slowest consumer group.
    pub used_bytes: Gauge,
    /// Bytes on disk, all segments, used or not.
    pub wal_bytes: Gauge,
    /// Segments that hold events.
    pub segment_count: Gauge,
    /// Pre-written segments ready for use.
    pub spare_segment_count: Gauge,
    /// Blocks that damage took.
    pub lost_block_count: Gauge,
    /// Events in them.
    pub lost_event_count: Gauge,
    /// When the oldest batch that waits for its commit arrived, in milliseconds since the epoch;
    /// 0 when none waits.
    pub oldest_unacknowledged_ms: Gauge,
    /// 1 once the channel takes batches.
    pub open: Gauge,
    /// 1 while no data directory takes writes.
    pub unhealthy: Gauge,
}

/// One shard of a channel.
#[derive(Debug)]
pub struct ChannelShard {
    /// Puts.
    pub counters: Arc<ChannelCounters>,
    /// The log.
    pub log: Arc<LogGauges>,
    /// Write and flush of one block.
    pub flush_latency: Arc<Distribution>,
    /// Bytes of a block, padding included.
    pub block_bytes: Arc<Distribution>,
    /// Bytes of committed batches as they are stored, without block headers and padding.
    pub committed_bytes: Arc<Counter>,
}

/// One consumer group of a channel.
#[derive(Debug)]
pub struct GroupMetrics {
    /// Takes.
    pub counters: Arc<ChannelCounters>,
    delivered: Vec<Arc<Gauge>>,
}

impl GroupMetrics {
    /// Where the group stands in the log of `shard`: number of the first event not delivered.
    #[must_use]
    pub fn delivered_to(&self, shard: usize) -> Arc<Gauge> {
        Arc::clone(&self.delivered[shard])
    }
}

/// A channel: puts by shard, takes by consumer group.
#[derive(Debug)]
pub struct ChannelMetrics {
    /// Which counters Flume shows.
    pub kind: ChannelKind,
    /// `capacity`.
    pub capacity_events: u64,
    /// When it ran.
    pub lifetime: Lifetime,
    /// Bytes it may hold. 0: not limited, or not known yet.
    pub capacity_bytes: Gauge,
    shards: Vec<ChannelShard>,
    groups: BTreeMap<String, GroupMetrics>,
}

impl ChannelMetrics {
    pub(super) fn new<'a>(
        kind: ChannelKind,
        capacity_events: u64,
        shard_count: usize,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let shard = |_| ChannelShard {
            counters: Arc::default(),
            log: Arc::default(),
            flush_latency: Arc::new(Distribution::new(Quantity::Latency)),
            block_bytes: Arc::new(Distribution::new(Quantity::Bytes)),
            committed_bytes: Arc::default(),
        };
        let group = |name: &str| {
            let metrics = GroupMetrics {
                counters: Arc::default(),
                delivered: fill(shard_count),
            };
            (name.to_owned(), metrics)
        };
        Self {
            kind,
            capacity_events,
            lifetime: Lifetime::default(),
            capacity_bytes: Gauge::default(),
            shards: (0..shard_count).map(shard).collect(),
            groups: groups.into_iter().map(group).collect(),
        }
    }

    /// What belongs to `shard`.
    #[must_use]
    pub fn shard(&self, shard: usize) -> &ChannelShard {
        &self.shards[shard]
    }

    /// Every shard, in order.
    #[must_use]
    pub fn shards(&self) -> &[ChannelShard] {
        &self.shards
    }

    /// A consumer group by name.
    ///
    /// # Panics
    /// When it was not registered at start.
    #[must_use]
    pub fn group(&self, name: &str) -> &GroupMetrics {
        self.groups
            .get(name)
            .expect("consumer groups are registered at start")
    }

    /// Every consumer group, by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &GroupMetrics)> {
        self.groups
            .iter()
            .map(|(name, group)| (name.as_str(), group))
    }

    /// A counter, summed over shards and consumer groups.
    pub fn total(&self, of: impl Fn(&ChannelCounters) -> u64) -> u64 {
        let puts = self.shards.iter().map(|shard| of(&shard.counters));
        let takes = self.groups.values().map(|group| of(&group.counters));
        puts.chain(takes).sum()
    }

    /// A gauge of the logs, summed over shards.
    pub fn log_total(&self, of: impl Fn(&LogGauges) -> u64) -> u64 {
        self.shards.iter().map(|shard| of(&shard.log)).sum()
    }

    /// Events of `shard` that `group` has not delivered.
    #[must_use]
    pub fn shard_lag_events(&self, group: &GroupMetrics, shard: usize) -> u64 {
        // The cursor first: it never passes an end read later.
        let delivered = group.delivered[shard].get();
        let end = self.shards[shard].log.end_event.get();
        end.saturating_sub(delivered)
    }

    /// Events that `group` has not delivered.
    #[must_use]
    pub fn lag_events(&self, group: &GroupMetrics) -> u64 {
        (0..self.shards.len())
            .map(|shard| self.shard_lag_events(group, shard))
            .sum()
    }

    /// `ChannelSize`: events that the slowest group of each shard has not delivered.
    #[must_use]
    pub fn size_events(&self) -> u64 {
        let slowest = |shard| {
            self.groups
                .values()
                .map(|group| self.shard_lag_events(group, shard))
                .max()
                .unwrap_or_else(|| self.shards[shard].log.end_event.get())
        };
        (0..self.shards.len()).map(slowest).sum()
    }

    /// `ChannelFillPercentage`. Flume shows the largest double for a channel without capacity.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a percentage: 53 bits are enough"
    )]
    pub fn fill_percentage(&self) -> f64 {
        match self.capacity_events {
            0 => f64::MAX,
            capacity => self.size_events() as f64 / capacity as f64 * 100.0,
        }
    }

    /// Whether every shard takes batches.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shards.iter().all(|shard| shard.log.open.get() == 1)
    }

    /// Whether a shard has no directory to write to.
    #[must_use]
    pub fn is_unhealthy(&self) -> bool {
        self.shards.iter().any(|s| s.log.unhealthy.get() == 1)
    }

    /// Age of the oldest batch that waits for its commit, over all shards.
    #[must_use]
    pub fn oldest_unacknowledged_age_ms(&self, now_ms: u64) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.log.oldest_unacknowledged_ms.get())
            .filter(|since_ms| *since_ms > 0)
            .map(|since_ms| now_ms.saturating_sub(since_ms))
            .max()
            .unwrap_or(0)
    }
}

/// Which counters Flume shows for a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkKind {
    /// All of `SINK`.
    Standard,
    /// `SINK` as the Kafka sink has it.
    Kafka,
    /// None: logger and null. Prometheus shows their counters all the same.
    Silent,
}

/// A sink.
#[derive(Debug)]
pub struct SinkMetrics {
    /// Which counters Flume shows.
    pub kind: SinkKind,
    /// When it ran.
    pub lifetime: Lifetime,
    /// What it counts in.
    pub counters: Arc<SinkCounters>,
}

impl SinkMetrics {
    pub(super) fn new(kind: SinkKind) -> Self {
        Self {
            kind,
            lifetime: Lifetime::default(),
            counters: Arc::default(),
        }
    }
}

/// A thread of ours.
#[derive(Debug)]
pub struct ThreadMetrics {
    /// Time it spent working, not waiting, in nanoseconds.
    pub busy_ns: Arc<Counter>,
    /// From the last byte of a call to its answer being queued (shards).
    pub ack_latency: Arc<Distribution>,
}

impl ThreadMetrics {
    pub(super) fn new() -> Self {
        Self {
            busy_ns: Arc::default(),
            ack_latency: Arc::new(Distribution::new(Quantity::Latency)),
        }
    }
}

fn fill<T: Default>(count: usize) -> Vec<Arc<T>> {
    (0..count).map(|_| Arc::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_size_is_what_the_slowest_group_of_each_shard_has_left() {
        let channel = ChannelMetrics::new(ChannelKind::File, 1_000, 2, ["a", "b"]);
        channel.shard(0).log.end_event.set(100);
        channel.shard(1).log.end_event.set(50);
        channel.group("a").delivered_to(0).set(90);
        channel.group("a").delivered_to(1).set(10);
        channel.group("b").delivered_to(0).set(60);
        channel.group("b").delivered_to(1).set(50);
        assert_eq!(channel.lag_events(channel.group("a")), 50);
        assert_eq!(channel.lag_events(channel.group("b")), 40);
        assert_eq!(channel.size_events(), 80);
        assert!((channel.fill_percentage() - 8.0).abs() < 1e-9);
    }

    #[test]
    fn cursor_ahead_of_an_end_not_yet_set_is_no_lag() {
        let channel = ChannelMetrics::new(ChannelKind::File, 0, 1, ["a"]);
        channel.group("a").delivered_to(0).set(7);
        assert_eq!(channel.size_events(), 0);
        assert!((channel.fill_percentage() - f64::MAX).abs() < 1.0);
    }

    #[test]
    fn oldest_unacknowledged_age_is_the_oldest_of_all_shards() {
        let channel = ChannelMetrics::new(ChannelKind::Memory, 1, 3, ["a"]);
        assert_eq!(channel.oldest_unacknowledged_age_ms(5_000), 0);
        channel.shard(1).log.oldest_unacknowledged_ms.set(4_000);
        channel.shard(2).log.oldest_unacknowledged_ms.set(4_900);
        assert_eq!(channel.oldest_unacknowledged_age_ms(5_000), 1_000);
    }
}
