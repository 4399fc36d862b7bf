//! Flume's monitoring JSON: what its HTTP server answers to `/metrics`.
//!
//! One object with a member a component, `"CHANNEL.c1"`, whose values are all strings, numbers
//! included: that is what Flume 1.11 sends and what its dashboards read. Beside them stand `CHANNEL`,
//! `SINK` and `SOURCE`, objects by component name whose values are numbers: many a monitoring script
//! in the field reads `metrics['CHANNEL']['c1']['ChannelSize']` and compares it with a number, which
//! Flume never served and which therefore never alarmed (`docs/COMPATIBILITY.md`, monitoring).
//!
//! Runs on the admin thread, at each request.

use serde_json::{Map, Value};

use super::component::{
    ChannelKind, ChannelMetrics, Lifetime, SinkKind, SinkMetrics, SourceKind, SourceMetrics,
};
use super::java_double::java_double;
use super::registry::Registry;

/// A value that Flume writes as a string.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Figure {
    Count(u64),
    Double(f64),
    Truth(bool),
    Word(&'static str),
}

impl Figure {
    fn as_text(self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Double(value) => java_double(value),
            Self::Truth(truth) => truth.to_string(),
            Self::Word(word) => word.to_owned(),
        }
    }

    fn as_value(self) -> Value {
        match self {
            Self::Count(count) => count.into(),
            Self::Double(value) => value.into(),
            Self::Truth(truth) => truth.into(),
            Self::Word(word) => word.into(),
        }
    }
}

/// One attribute: its name in the JSON, its name in the lines logged at stop (if it is logged), and
/// its value.
pub(super) type Attribute = (&'static str, Option<&'static str>, Figure);

/// The answer to `/metrics`.
#[must_use]
pub fn render(registry: &Registry) -> String {
    let mut flat = Map::new();
    let mut nested = Map::new();
    for (kind, name, attributes) in components(registry) {
        let texts = attributes
            .iter()
            .map(|(key, _, figure)| ((*key).to_owned(), figure.as_text().into()));
        let numbers = attributes
            .iter()
            .map(|(key, _, figure)| ((*key).to_owned(), figure.as_value()));
        flat.insert(format!("{kind}.{name}"), Value::Object(texts.collect()));
        let of_kind = nested
            .entry(kind)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(of_kind) = of_kind {
            of_kind.insert(name.to_owned(), Value::Object(numbers.collect()));
        }
    }
    flat.append(&mut nested);
    Value::Object(flat).to_string()
}

fn components(registry: &Registry) -> Vec<(&'static str, &str, Vec<Attribute>)> {
    let sources = registry
        .sources()
        .map(|(name, metrics)| ("SOURCE", name, source_attributes(metrics)));
    let channels = registry
        .channels()
        .map(|(name, metrics)| ("CHANNEL", name, channel_attributes(metrics)));
    let sinks = registry
        .sinks()
        .map(|(name, metrics)| ("SINK", name, sink_attributes(metrics)));
    let all = sources.chain(channels).chain(sinks);
    all.filter(|(_, _, attributes)| !attributes.is_empty())
        .collect()
}

/// `SOURCE.<name>`; nothing for a source that Flume does not count.
pub(super) fn source_attributes(source: &SourceMetrics) -> Vec<Attribute> {
    if source.kind == SourceKind::Silent {
        return Vec::new();
    }
    let total = |of: fn(&super::SourceCounters) -> u64| Figure::Count(source.total(of));
    let mut all = vec![
        (
            "EventReceivedCount",
            Some("src.events.received"),
            total(|c| c.event_received.get()),
        ),
        (
            "EventAcceptedCount",
            Some("src.events.accepted"),
            total(|c| c.event_accepted.get()),
        ),
        (
            "AppendReceivedCount",
            Some("src.append.received"),
            total(|c| c.append_received.get()),
        ),
        (
            "AppendAcceptedCount",
            Some("src.append.accepted"),
            total(|c| c.append_accepted.get()),
        ),
        (
            "AppendBatchReceivedCount",
            Some("src.append-batch.received"),
            total(|c| c.append_batch_received.get()),
        ),
        (
            "AppendBatchAcceptedCount",
            Some("src.append-batch.accepted"),
            total(|c| c.append_batch_accepted.get()),
        ),
        (
            "OpenConnectionCount",
            Some("src.open-connection.count"),
            total(|c| c.open_connection.get()),
        ),
        (
            "EventReadFail",
            Some("src.event.read.fail"),
            total(|c| c.event_read_fail.get()),
        ),
        (
            "ChannelWriteFail",
            Some("src.channel.write.fail"),
            total(|c| c.channel_write_fail.get()),
        ),
        (
            "GenericProcessingFail",
            Some("src.generic.processing.fail"),
            total(|c| c.generic_processing_fail.get()),
        ),
    ];
    all.extend(frame("SOURCE", &source.lifetime));
    all
}

/// `CHANNEL.<name>`.
pub(super) fn channel_attributes(channel: &ChannelMetrics) -> Vec<Attribute> {
    let total = |of: fn(&super::ChannelCounters) -> u64| Figure::Count(channel.total(of));
    let mut all = vec![
        (
            "ChannelSize",
            Some("channel.current.size"),
            Figure::Count(channel.size_events()),
        ),
        (
            "ChannelCapacity",
            Some("channel.capacity"),
            Figure::Count(channel.capacity_events),
        ),
        (
            "ChannelFillPercentage",
            None,
            Figure::Double(channel.fill_percentage()),
        ),
        (
            "EventPutAttemptCount",
            Some("channel.event.put.attempt"),
            total(|c| c.event_put_attempt.get()),
        ),
        (
            "EventPutSuccessCount",
            Some("channel.event.put.success"),
            total(|c| c.event_put_success.get()),
        ),
        (
            "EventTakeAttemptCount",
            Some("channel.event.take.attempt"),
            total(|c| c.event_take_attempt.get()),
        ),
        (
            "EventTakeSuccessCount",
            Some("channel.event.take.success"),
            total(|c| c.event_take_success.get()),
        ),
    ];
    if channel.kind == ChannelKind::File {
        let open = channel.is_open();
        all.extend([
            ("Open", None, Figure::Truth(open)),
            ("Closed", None, Figure::Count(u64::from(!open))),
            (
                "Unhealthy",
                None,
                Figure::Count(u64::from(channel.is_unhealthy())),
            ),
            (
                "EventPutErrorCount",
                Some("channel.file.event.put.error"),
                total(|c| c.event_put_error.get()),
            ),
            (
                "EventTakeErrorCount",
                Some("channel.file.event.take.error"),
                total(|c| c.event_take_error.get()),
            ),
            (
                "CheckpointWriteErrorCount",
                Some("channel.file.checkpoint.write.error"),
                total(|c| c.checkpoint_write_error.get()),
            ),
            // Our checkpoint has two generations in place of Flume's backup; nothing to count.
            (
                "CheckpointBackupWriteErrorCount",
                Some("channel.file.checkpoint.backup.write.error"),
                Figure::Count(0),
            ),
        ]);
    }
    all.extend(frame("CHANNEL", &channel.lifetime));
    all
}

/// `SINK.<name>`; nothing for a sink that Flume does not count.
pub(super) fn sink_attributes(sink: &SinkMetrics) -> Vec<Attribute> {
    let c = &sink.counters;
    let count = |counter: &super::Counter| Figure::Count(counter.get());
    let mut all = vec![
        (
            "ConnectionCreatedCount",
            Some("sink.connection.creation.count"),
            count(&c.connection_created),
        ),
        (
            "ConnectionClosedCount",
            Some("sink.connection.closed.count"),
            count(&c.connection_closed),
        ),
        (
            "ConnectionFailedCount",
            Some("sink.connection.failed.count"),
            count(&c.connection_failed),
        ),
        (
            "BatchEmptyCount",
            Some("sink.batch.empty"),
            count(&c.batch_empty),
        ),
        (
            "BatchUnderflowCount",
            Some("sink.batch.underflow"),
            count(&c.batch_underflow),
        ),
        (
            "BatchCompleteCount",
            Some("sink.batch.complete"),
            count(&c.batch_complete),
        ),
        (
            "EventDrainAttemptCount",
            Some("sink.event.drain.attempt"),
            count(&c.event_drain_attempt),
        ),
        (
            "EventDrainSuccessCount",
            // Flume's own spelling.
            Some("sink.event.drain.sucess"),
            count(&c.event_drain_success),
        ),
    ];
    match sink.kind {
        SinkKind::Silent => return Vec::new(),
        SinkKind::Standard => all.extend([
            (
                "EventWriteFail",
                Some("sink.event.write.fail"),
                count(&c.event_write_fail),
            ),
            (
                "ChannelReadFail",
                Some("sink.channel.read.fail"),
                count(&c.channel_read_fail),
            ),
        ]),
        SinkKind::Kafka => all.extend([
            (
                "KafkaEventSendTimer",
                Some("channel.kafka.event.send.time"),
                count(&c.event_send_ms),
            ),
            (
                "RollbackCount",
                Some("channel.rollback.count"),
                count(&c.rollback),
            ),
        ]),
    }
    all.extend(frame("SINK", &sink.lifetime));
    all
}

fn frame(kind: &'static str, lifetime: &Lifetime) -> [Attribute; 3] {
    [
        ("StartTime", None, Figure::Count(lifetime.start_ms())),
        ("StopTime", None, Figure::Count(lifetime.stop_ms())),
        ("Type", None, Figure::Word(kind)),
    ]
}

#[cfg(test)]
#[path = "flume_json_tests.rs"]
mod tests;
