//! The log lines with which Flume says that a component started or stopped.
//!
//! Operators and scripts wait for `Component type: SOURCE, name: r1 started`, so the text is
//! Flume's. The agent calls these from the thread that starts and stops components; each call also
//! notes the time that `StartTime` and `StopTime` show.

use tracing::info;

use super::component::{
    ChannelMetrics, Lifetime, SinkKind, SinkMetrics, SourceKind, SourceMetrics,
};
use super::flume_json::{
    Attribute, Figure, channel_attributes, sink_attributes, source_attributes,
};
use super::registry::Registry;

const THREAD: &str = "lifecycleSupervisor-1-0";

/// Notes and logs that a source started.
pub fn source_started(registry: &Registry, name: &str, now_ms: u64) {
    let source = registry.source(name);
    started(
        "SOURCE",
        name,
        &source.lifetime,
        now_ms,
        counts_source(source),
    );
}

/// Notes and logs that a channel started.
pub fn channel_started(registry: &Registry, name: &str, now_ms: u64) {
    let channel = registry.channel(name);
    started("CHANNEL", name, &channel.lifetime, now_ms, true);
}

/// Notes and logs that a sink started.
pub fn sink_started(registry: &Registry, name: &str, now_ms: u64) {
    let sink = registry.sink(name);
    started("SINK", name, &sink.lifetime, now_ms, counts_sink(sink));
}

/// Notes and logs that a source stopped, with its counters.
pub fn source_stopped(registry: &Registry, name: &str, now_ms: u64) {
    let source = registry.source(name);
    source.lifetime.stop(now_ms);
    stopped("SOURCE", name, &source_lines(name, source));
}

/// Notes and logs that a channel stopped, with its counters.
pub fn channel_stopped(registry: &Registry, name: &str, now_ms: u64) {
    let channel = registry.channel(name);
    channel.lifetime.stop(now_ms);
    stopped("CHANNEL", name, &channel_lines(name, channel));
}

/// Notes and logs that a sink stopped, with its counters.
pub fn sink_stopped(registry: &Registry, name: &str, now_ms: u64) {
    let sink = registry.sink(name);
    sink.lifetime.stop(now_ms);
    stopped("SINK", name, &sink_lines(name, sink));
}

fn counts_source(source: &SourceMetrics) -> bool {
    source.kind != SourceKind::Silent
}

fn counts_sink(sink: &SinkMetrics) -> bool {
    sink.kind != SinkKind::Silent
}

/// Flume says nothing of components without counters; operators wait for the line all the same.
fn started(kind: &str, name: &str, lifetime: &Lifetime, now_ms: u64, counts: bool) {
    lifetime.start(now_ms);
    if counts {
        info!(
            target: "org.apache.flume.instrumentation.MonitoredCounterGroup.register(MonitoredCounterGroup.java:119)",
            thread = THREAD,
            "Monitored counter group for type: {kind}, name: {name}: Successfully registered new MBean."
        );
    }
    info!(
        target: "org.apache.flume.instrumentation.MonitoredCounterGroup.start(MonitoredCounterGroup.java:95)",
        thread = THREAD,
        "Component type: {kind}, name: {name} started"
    );
}

fn stopped(kind: &str, name: &str, lines: &[String]) {
    info!(
        target: "org.apache.flume.instrumentation.MonitoredCounterGroup.stop(MonitoredCounterGroup.java:149)",
        thread = THREAD,
        "Component type: {kind}, name: {name} stopped"
    );
    for line in lines {
        info!(
            target: "org.apache.flume.instrumentation.MonitoredCounterGroup.stop(MonitoredCounterGroup.java:177)",
            thread = THREAD,
            "{line}"
        );
    }
}

fn source_lines(name: &str, source: &SourceMetrics) -> Vec<String> {
    let attributes = source_attributes(source);
    shutdown_lines("SOURCE", name, "source", &source.lifetime, &attributes)
}

fn channel_lines(name: &str, channel: &ChannelMetrics) -> Vec<String> {
    let attributes = channel_attributes(channel);
    shutdown_lines("CHANNEL", name, "channel", &channel.lifetime, &attributes)
}

fn sink_lines(name: &str, sink: &SinkMetrics) -> Vec<String> {
    let attributes = sink_attributes(sink);
    shutdown_lines("SINK", name, "sink", &sink.lifetime, &attributes)
}

fn shutdown_lines(
    kind: &str,
    name: &str,
    prefix: &str,
    lifetime: &Lifetime,
    attributes: &[Attribute],
) -> Vec<String> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let line = |what: String| format!("Shutdown Metric for type: {kind}, name: {name}. {what}");
    let mut counters: Vec<(&str, u64)> = attributes
        .iter()
        .filter_map(|(_, logged_as, figure)| match (logged_as, figure) {
            (Some(logged_as), Figure::Count(count)) => Some((*logged_as, *count)),
            _ => None,
        })
        .collect();
    counters.sort_unstable();
    let times = [
        format!("{prefix}.start.time == {}", lifetime.start_ms()),
        format!("{prefix}.stop.time == {}", lifetime.stop_ms()),
    ];
    let counters = counters
        .into_iter()
        .map(|(logged_as, count)| format!("{logged_as} == {count}"));
    times.into_iter().chain(counters).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ChannelKind;
    use super::*;

    #[test]
    fn stopped_channel_logs_each_counter_as_flume_does() {
        let registry = Registry::builder(1, 1)
            .channel("c", ChannelKind::Memory, 100, [""])
            .build();
        let channel = registry.channel("c");
        channel_started(&registry, "c", 1_000);
        channel.shard(0).counters.event_put_attempt.add(7);
        channel_stopped(&registry, "c", 2_000);
        let prefix = "Shutdown Metric for type: CHANNEL, name: c. ";
        let expected = [
            "channel.start.time == 1000",
            "channel.stop.time == 2000",
            "channel.capacity == 100",
            "channel.current.size == 0",
            "channel.event.put.attempt == 7",
            "channel.event.put.success == 0",
            "channel.event.take.attempt == 0",
            "channel.event.take.success == 0",
        ];
        let expected: Vec<String> = expected.iter().map(|e| format!("{prefix}{e}")).collect();
        assert_eq!(channel_lines("c", channel), expected);
    }

    #[test]
    fn stopped_file_channel_and_sinks_log_the_counters_only_they_have() {
        let registry = Registry::builder(1, 1)
            .channel("f", ChannelKind::File, 100, [""])
            .sink("k", SinkKind::Standard)
            .sink("kafka", SinkKind::Kafka)
            .build();
        let file = channel_lines("f", registry.channel("f"));
        let sink = sink_lines("k", registry.sink("k"));
        let kafka = sink_lines("kafka", registry.sink("kafka"));
        for (lines, end) in [
            (&file, "f. channel.file.event.put.error == 0"),
            (&file, "f. channel.file.event.take.error == 0"),
            (&file, "f. channel.file.checkpoint.write.error == 0"),
            (&file, "f. channel.file.checkpoint.backup.write.error == 0"),
            (&sink, "k. sink.event.write.fail == 0"),
            (&sink, "k. sink.channel.read.fail == 0"),
            (&kafka, "kafka. channel.kafka.event.send.time == 0"),
            (&kafka, "kafka. channel.rollback.count == 0"),
        ] {
            assert!(lines.iter().any(|line| line.ends_with(end)), "{end}");
        }
    }

    #[test]
    fn sink_without_counters_logs_none() {
        let registry = Registry::builder(1, 1).sink("k", SinkKind::Silent).build();
        assert!(sink_lines("k", registry.sink("k")).is_empty());
    }

    #[test]
    fn drained_events_are_logged_under_flumes_misspelt_name() {
        let registry = Registry::builder(1, 1).sink("k", SinkKind::Kafka).build();
        registry.sink("k").counters.event_drain_success.add(5);
        let lines = sink_lines("k", registry.sink("k"));
        assert!(
            lines
                .iter()
                .any(|line| line.ends_with("k. sink.event.drain.sucess == 5"))
        );
    }
}
