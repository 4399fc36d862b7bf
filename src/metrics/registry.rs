//! Every counter of the process, by component.
//!
//! Built once, at start, before any thread runs; shared by all threads as an `Arc` and never
//! changed afterwards, so that looking up and summing take no lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::component::{
    ChannelKind, ChannelMetrics, SinkKind, SinkMetrics, SourceKind, SourceMetrics, ThreadMetrics,
};

/// Every counter of the process.
#[derive(Debug)]
pub struct Registry {
    shards: Vec<ThreadMetrics>,
    drains: Vec<ThreadMetrics>,
    sources: BTreeMap<String, SourceMetrics>,
    channels: BTreeMap<String, ChannelMetrics>,
    sinks: BTreeMap<String, SinkMetrics>,
}

/// Collects the components, then becomes the [`Registry`].
#[derive(Debug)]
pub struct RegistryBuilder(Registry);

impl RegistryBuilder {
    /// Adds a source.
    #[must_use]
    pub fn source(mut self, name: &str, kind: SourceKind) -> Self {
        let metrics = SourceMetrics::new(kind, self.0.shards.len());
        let before = self.0.sources.insert(name.to_owned(), metrics);
        assert!(before.is_none(), "source {name} is registered once");
        self
    }

    /// Adds a channel with its consumer groups.
    #[must_use]
    pub fn channel<'a>(
        mut self,
        name: &str,
        kind: ChannelKind,
        capacity_events: u64,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let metrics = ChannelMetrics::new(kind, capacity_events, self.0.shards.len(), groups);
        let before = self.0.channels.insert(name.to_owned(), metrics);
        assert!(before.is_none(), "channel {name} is registered once");
        self
    }

    /// Adds a sink.
    #[must_use]
    pub fn sink(mut self, name: &str, kind: SinkKind) -> Self {
        let before = self.0.sinks.insert(name.to_owned(), SinkMetrics::new(kind));
        assert!(before.is_none(), "sink {name} is registered once");
        self
    }

    /// The registry, complete.
    #[must_use]
    pub fn build(self) -> Arc<Registry> {
        Arc::new(self.0)
    }
}

impl Registry {
    /// A registry of so many threads, without components yet.
    #[must_use]
    pub fn builder(shard_count: usize, drain_count: usize) -> RegistryBuilder {
        let threads = |count| (0..count).map(|_| ThreadMetrics::new()).collect();
        RegistryBuilder(Self {
            shards: threads(shard_count),
            drains: threads(drain_count),
            sources: BTreeMap::new(),
            channels: BTreeMap::new(),
            sinks: BTreeMap::new(),
        })
    }

    /// A source by name.
    ///
    /// # Panics
    /// When it was not registered at start.
    #[must_use]
    pub fn source(&self, name: &str) -> &SourceMetrics {
        self.sources
            .get(name)
            .expect("sources are registered at start")
    }

    /// A channel by name.
    ///
    /// # Panics
    /// When it was not registered at start.
    #[must_use]
    pub fn channel(&self, name: &str) -> &ChannelMetrics {
        self.channels
            .get(name)
            .expect("channels are registered at start")
    }

    /// A sink by name.
    ///
    /// # Panics
    /// When it was not registered at start.
    #[must_use]
    pub fn sink(&self, name: &str) -> &SinkMetrics {
        self.sinks.get(name).expect("sinks are registered at start")
    }

    /// Every source, by name.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceMetrics)> {
        self.sources.iter().map(|(name, it)| (name.as_str(), it))
    }

    /// Every channel, by name.
    pub fn channels(&self) -> impl Iterator<Item = (&str, &ChannelMetrics)> {
        self.channels.iter().map(|(name, it)| (name.as_str(), it))
    }

    /// Every sink, by name.
    pub fn sinks(&self) -> impl Iterator<Item = (&str, &SinkMetrics)> {
        self.sinks.iter().map(|(name, it)| (name.as_str(), it))
    }

    /// Ingest threads, by shard number.
    #[must_use]
    pub fn shards(&self) -> &[ThreadMetrics] {
        &self.shards
    }

    /// Drain threads, by number.
    #[must_use]
    pub fn drains(&self) -> &[ThreadMetrics] {
        &self.drains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_shards_are_summed() {
        let registry = Registry::builder(2, 1)
            .source("r1", SourceKind::Standard)
            .build();
        let source = registry.source("r1");
        source.counters(0).event_received.add(3);
        source.counters(1).event_received.add(4);
        assert_eq!(source.total(|counters| counters.event_received.get()), 7);
    }

    #[test]
    #[should_panic(expected = "registered once")]
    fn name_registered_twice_is_refused() {
        let twice = Registry::builder(1, 1).sink("k1", SinkKind::Standard);
        drop(twice.sink("k1", SinkKind::Standard));
    }
}
