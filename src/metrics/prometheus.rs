//! The Prometheus form of the registry: our counters, by component, on the admin address.
//!
//! Nothing is kept twice: a [`Collector`] sums the counters of all threads at each scrape. Names
//! read `flumen_<area>_<what>_<unit>`; the text format adds `_total` to counters.
//! Runs on the admin thread.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::component::{ChannelMetrics, SinkMetrics, SourceMetrics};
use super::distribution::Shown;
use super::flume::{ChannelCounters, SinkCounters, SourceCounters};
use super::registry::Registry;

/// What Prometheus is told the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The answer to a scrape at `now_ms`.
#[must_use]
pub fn render(registry: &Arc<Registry>, now_ms: u64) -> String {
    let mut exposition = prometheus_client::registry::Registry::default();
    exposition.register_collector(Box::new(Scrape {
        registry: Arc::clone(registry),
        now_ms,
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &exposition)
        .expect("writing to a string does not fail");
    text
}

/// One scrape.
#[derive(Debug)]
struct Scrape {
    registry: Arc<Registry>,
    now_ms: u64,
}

type Labels<'a> = Vec<(&'a str, String)>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.threads(&mut encoder)?;
        self.sources(&mut encoder)?;
        self.channels(&mut encoder)?;
        self.channel_shards(&mut encoder)?;
        self.groups(&mut encoder)?;
        self.sinks(&mut encoder)
    }
}

type Row<T> = (&'static str, &'static str, fn(&T) -> u64);

const SOURCE_COUNTERS: &[Row<SourceCounters>] = &[
    (
        "source_received_events",
        "Events in calls that were read whole",
        |c| c.event_received.get(),
    ),
    (
        "source_accepted_events",
        "Events committed to all required channels",
        |c| c.event_accepted.get(),
    ),
    ("source_received_bytes", "Bytes read from sockets", |c| {
        c.received_bytes.get()
    }),
    ("source_append_received_calls", "Calls of append", |c| {
        c.append_received.get()
    }),
    (
        "source_append_accepted_calls",
        "Calls of append answered OK",
        |c| c.append_accepted.get(),
    ),
    (
        "source_append_batch_received_calls",
        "Calls of appendBatch",
        |c| c.append_batch_received.get(),
    ),
    (
        "source_append_batch_accepted_calls",
        "Calls of appendBatch answered OK",
        |c| c.append_batch_accepted.get(),
    ),
    ("source_unreadable_calls", "Calls that did not parse", |c| {
        c.event_read_fail.get()
    }),
    (
        "source_channel_refused_calls",
        "Calls that a channel refused",
        |c| c.channel_write_fail.get(),
    ),
    (
        "source_failed_calls",
        "Calls that failed for another reason",
        |c| c.generic_processing_fail.get(),
    ),
    (
        "source_refused_connections",
        "Connections refused by ipFilter or a connection limit",
        |c| c.connection_refused.get(),
    ),
    (
        "source_aborted_connections",
        "Connections closed for breaking a limit or a deadline",
        |c| c.connection_aborted.get(),
    ),
];

const PUT_COUNTERS: &[Row<ChannelCounters>] = &[
    (
        "channel_put_attempt_events",
        "Events that sources offered",
        |c| c.event_put_attempt.get(),
    ),
    ("channel_put_events", "Events committed", |c| {
        c.event_put_success.get()
    }),
    (
        "channel_put_errors",
        "Puts that a device error failed",
        |c| c.event_put_error.get(),
    ),
    (
        "channel_checkpoint_write_errors",
        "Checkpoints that could not be written",
        |c| c.checkpoint_write_error.get(),
    ),
];

const TAKE_COUNTERS: &[Row<ChannelCounters>] = &[
    (
        "channel_take_attempts",
        "Takes by the sinks of a consumer group",
        |c| c.event_take_attempt.get(),
    ),
    (
        "channel_take_events",
        "Events delivered and released by a consumer group",
        |c| c.event_take_success.get(),
    ),
    ("channel_take_errors", "Takes that failed", |c| {
        c.event_take_error.get()
    }),
];

const SINK_COUNTERS: &[Row<SinkCounters>] = &[
    (
        "sink_connections_created",
        "Connections or files opened",
        |c| c.connection_created.get(),
    ),
    (
        "sink_connections_closed",
        "Connections or files closed",
        |c| c.connection_closed.get(),
    ),
    (
        "sink_connections_failed",
        "Connections or files that failed",
        |c| c.connection_failed.get(),
    ),
    ("sink_empty_batches", "Takes that found nothing", |c| {
        c.batch_empty.get()
    }),
    (
        "sink_underflow_batches",
        "Takes below the batch size",
        |c| c.batch_underflow.get(),
    ),
    ("sink_complete_batches", "Takes of the batch size", |c| {
        c.batch_complete.get()
    }),
    (
        "sink_drain_attempt_events",
        "Events that the sink tried to deliver",
        |c| c.event_drain_attempt.get(),
    ),
    (
        "sink_drain_events",
        "Events that the target confirmed",
        |c| c.event_drain_success.get(),
    ),
    ("sink_write_failures", "Deliveries that failed", |c| {
        c.event_write_fail.get()
    }),
    ("sink_channel_read_failures", "Takes that failed", |c| {
        c.channel_read_fail.get()
    }),
    ("sink_rollbacks", "Transactions rolled back", |c| {
        c.rollback.get()
    }),
    (
        "sink_send_milliseconds",
        "Time from sending to confirmation, summed over transactions",
        |c| c.event_send_ms.get(),
    ),
];

type Level = (&'static str, &'static str, fn(&ChannelMetrics) -> u64);

const CHANNEL_LEVELS: &[Level] = &[
    (
        "channel_size_events",
        "Events that wait for the slowest consumer group",
        ChannelMetrics::size_events,
    ),
    (
        "channel_capacity_events",
        "Events the channel may hold",
        |c| c.capacity_events,
    ),
    (
        "channel_used_bytes",
        "Bytes that wait for the slowest consumer group",
        |c| c.log_total(|l| l.used_bytes.get()),
    ),
    (
        "channel_capacity_bytes",
        "Bytes the channel may hold, 0 if not limited",
        |c| c.capacity_bytes.get(),
    ),
    ("channel_wal_bytes", "Bytes of all segments on disk", |c| {
        c.log_total(|l| l.wal_bytes.get())
    }),
    ("channel_segments", "Segments that hold events", |c| {
        c.log_total(|l| l.segment_count.get())
    }),
    (
        "channel_spare_segments",
        "Pre-written segments ready for use",
        |c| c.log_total(|l| l.spare_segment_count.get()),
    ),
    (
        "channel_lost_blocks",
        "Blocks that damage took since the start; nothing of them was delivered",
        |c| c.log_total(|l| l.lost_block_count.get()),
    ),
    (
        "channel_lost_events",
        "Events in blocks that damage took since the start",
        |c| c.log_total(|l| l.lost_event_count.get()),
    ),
    ("channel_open", "1 when every shard takes batches", |c| {
        u64::from(c.is_open())
    }),
    (
        "channel_unhealthy",
        "1 while a shard has no data directory to write to",
        |c| u64::from(c.is_unhealthy()),
    ),
];

impl Scrape {
    fn threads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let shards = self.registry.shards().iter().enumerate();
        let drains = self.registry.drains().iter().enumerate();
        let named = |plane: &'static str| {
            move |(index, thread): (usize, &super::ThreadMetrics)| {
                let labels: Labels<'_> =
                    vec![("plane", plane.to_owned()), ("core", index.to_string())];
                (labels, seconds_of_ns(thread.busy_ns.get()))
            }
        };
        let busy = shards
            .map(named("ingest"))
            .chain(drains.map(named("drain")));
        let mut family = encoder.encode_descriptor(
            "flumen_core_busy_seconds",
            "Time a thread worked, not waited",
            None,
            MetricType::Counter,
        )?;
        for (labels, seconds) in busy {
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, f64, u64>(&seconds, None)?;
        }
        let latencies = self
            .registry
            .shards()
            .iter()
            .enumerate()
            .map(|(index, shard)| {
                let labels: Labels<'_> = vec![("shard", index.to_string())];
                (labels, shard.ack_latency.shown())
            });
        histogram(
            encoder,
            "flumen_source_ack_latency_seconds",
            "From the last byte of a call to its answer",
            latencies,
        )
    }

    fn sources(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = || {
            self.registry
                .sources()
                .map(|(name, it)| (source_labels(name), it))
        };
        for (name, help, of) in SOURCE_COUNTERS {
            let total = |source: &SourceMetrics| source.total(of);
            counter(
                encoder,
                name,
                help,
                each().map(|(labels, it)| (labels, total(it))),
            )?;
        }
        let open = each().map(|(labels, it)| (labels, it.total(|c| c.open_connection.get())));
        gauge(
            encoder,
            "source_open_connections",
            "Connections open now",
            open,
        )
    }

    fn channels(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = || {
            self.registry
                .channels()
                .map(|(name, it)| (channel_labels(name), it))
        };
        for (name, help, of) in CHANNEL_LEVELS {
            gauge(
                encoder,
                name,
                help,
                each().map(|(labels, it)| (labels, of(it))),
            )?;
        }
        let mut fill = encoder.encode_descriptor(
            "flumen_channel_fill_ratio",
            "Size by capacity, 1 is full",
            None,
            MetricType::Gauge,
        )?;
        for (labels, it) in each().filter(|(_, it)| it.capacity_events > 0) {
            let ratio = it.fill_percentage() / 100.0;
            fill.encode_family(&labels)?.encode_gauge(&ratio)?;
        }
        let mut age = encoder.encode_descriptor(
            "flumen_channel_oldest_unacknowledged_seconds",
            "Age of the oldest batch that waits for its commit",
            None,
            MetricType::Gauge,
        )?;
        for (labels, it) in each() {
            let seconds = seconds_of_ms(it.oldest_unacknowledged_age_ms(self.now_ms));
            age.encode_family(&labels)?.encode_gauge(&seconds)?;
        }
        Ok(())
    }

    fn channel_shards(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = || {
            self.registry.channels().flat_map(|(name, channel)| {
                channel.shards().iter().enumerate().map(move |(index, it)| {
                    let mut labels = channel_labels(name);
                    labels.push(("shard", index.to_string()));
                    (labels, it)
                })
            })
        };
        for (name, help, of) in PUT_COUNTERS {
            counter(
                encoder,
                name,
                help,
                each().map(|(labels, it)| (labels, of(&it.counters))),
            )?;
        }
        let committed = each().map(|(labels, it)| (labels, it.committed_bytes.get()));
        counter(
            encoder,
            "channel_committed_bytes",
            "Bytes of committed batches, padding not included",
            committed,
        )?;
        histogram(
            encoder,
            "flumen_channel_flush_latency_seconds",
            "Write and flush of one block",
            each().map(|(labels, it)| (labels, it.flush_latency.shown())),
        )?;
        histogram(
            encoder,
            "flumen_channel_block_bytes",
            "Size of a block, padding included",
            each().map(|(labels, it)| (labels, it.block_bytes.shown())),
        )
    }

    fn groups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = || {
            self.registry.channels().flat_map(|(name, channel)| {
                channel.groups().map(move |(group, it)| {
                    let mut labels = channel_labels(name);
                    labels.push(("group", group.to_owned()));
                    (labels, channel, it)
                })
            })
        };
        for (name, help, of) in TAKE_COUNTERS {
            counter(
                encoder,
                name,
                help,
                each().map(|(labels, _, it)| (labels, of(&it.counters))),
            )?;
        }
        let lag = each().map(|(labels, channel, it)| (labels, channel.lag_events(it)));
        gauge(
            encoder,
            "channel_lag_events",
            "Events a consumer group has not delivered",
            lag,
        )
    }

    fn sinks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = || {
            self.registry
                .sinks()
                .map(|(name, it)| (vec![("sink", name.to_owned())], it))
        };
        for (name, help, of) in SINK_COUNTERS {
            let value = |sink: &SinkMetrics| of(&sink.counters);
            counter(
                encoder,
                name,
                help,
                each().map(|(labels, it)| (labels, value(it))),
            )?;
        }
        Ok(())
    }
}

fn source_labels(name: &str) -> Labels<'static> {
    vec![("source", name.to_owned())]
}

fn channel_labels(name: &str) -> Labels<'static> {
    vec![("channel", name.to_owned())]
}

fn counter<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let name = format!("flumen_{name}");
    let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        family
            .encode_family(&labels)?
            .encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
    }
    Ok(())
}

fn gauge<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let name = format!("flumen_{name}");
    let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn histogram<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Labels<'a>, Shown)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, shown) in values {
        family
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(shown.sum, shown.count, &shown.buckets, None)?;
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for a chart: 53 bits are enough"
)]
fn seconds_of_ns(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for a chart: 53 bits are enough"
)]
fn seconds_of_ms(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{ChannelKind, SinkKind, SourceKind};
    use super::*;

    #[test]
    fn counters_of_all_cores_are_summed_at_the_scrape() {
        let registry = Registry::builder(2, 1)
            .source("r1", SourceKind::Standard)
            .channel("c1", ChannelKind::File, 10, ["default", "audit"])
            .sink("k1", SinkKind::Silent)
            .build();
        registry.source("r1").counters(0).event_received.add(3);
        registry.source("r1").counters(1).event_received.add(4);
        registry.sink("k1").counters.event_drain_success.add(9);
        let channel = registry.channel("c1");
        channel.shard(1).log.end_event.set(5);
        channel.shard(1).committed_bytes.add(480);
        channel.shard(1).log.oldest_unacknowledged_ms.set(8_500);
        channel.group("audit").delivered_to(1).set(2);
        registry.shards()[1].busy_ns.add(1_500_000_000);
        let mut acks = registry.shards()[0].ack_latency.recorder();
        acks.record_latency(Duration::from_millis(3), Duration::ZERO);
        let text = render(&registry, 10_000);
        for line in [
            "# HELP flumen_source_received_events Events in calls that were read whole",
            "# TYPE flumen_source_received_events counter",
            "flumen_source_received_events_total{source=\"r1\"} 7",
            "flumen_sink_drain_events_total{sink=\"k1\"} 9",
            "flumen_channel_size_events{channel=\"c1\"} 5",
            "flumen_channel_fill_ratio{channel=\"c1\"} 0.5",
            "flumen_channel_oldest_unacknowledged_seconds{channel=\"c1\"} 1.5",
            "flumen_channel_committed_bytes_total{channel=\"c1\",shard=\"1\"} 480",
            "flumen_channel_lag_events{channel=\"c1\",group=\"audit\"} 3",
            "flumen_channel_lag_events{channel=\"c1\",group=\"default\"} 5",
            "flumen_core_busy_seconds_total{plane=\"ingest\",core=\"1\"} 1.5",
            "flumen_source_ack_latency_seconds_count{shard=\"0\"} 1",
            "flumen_source_ack_latency_seconds_bucket{le=\"0.0025\",shard=\"0\"} 0",
            "flumen_source_ack_latency_seconds_bucket{le=\"0.005\",shard=\"0\"} 1",
            "flumen_source_ack_latency_seconds_bucket{le=\"+Inf\",shard=\"0\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }
}
