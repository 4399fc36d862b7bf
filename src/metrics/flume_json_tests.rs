//! What readers of Flume's JSON rely on: the keys of each kind, strings in the flat objects,
//! numbers in the nested ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

fn registry() -> Arc<Registry> {
    Registry::builder(2, 1)
        .source("r1", SourceKind::Standard)
        .source("quiet", SourceKind::Silent)
        .channel("c", ChannelKind::Memory, 100, [""])
        .channel("f", ChannelKind::File, 1_000_000, [""])
        .sink("k1", SinkKind::Standard)
        .sink("kafka", SinkKind::Kafka)
        .sink("logger", SinkKind::Silent)
        .build()
}

fn parsed(registry: &Registry) -> Value {
    serde_json::from_str(&render(registry)).unwrap()
}

fn check_keys(component: &str, keys: &str) {
    let json = parsed(&registry());
    let object = json[component].as_object().unwrap();
    let shown: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    assert_eq!(shown, keys.split_whitespace().collect(), "{component}");
    for (key, value) in object {
        assert!(value.is_string(), "{component}.{key}: {value}");
    }
}

#[test]
fn each_kind_has_exactly_flumes_keys() {
    check_keys(
        "SOURCE.r1",
        "EventReceivedCount EventAcceptedCount AppendReceivedCount AppendAcceptedCount \
         AppendBatchReceivedCount AppendBatchAcceptedCount OpenConnectionCount EventReadFail \
         ChannelWriteFail GenericProcessingFail StartTime StopTime Type",
    );
    let channel = "ChannelSize ChannelCapacity ChannelFillPercentage EventPutAttemptCount \
         EventPutSuccessCount EventTakeAttemptCount EventTakeSuccessCount StartTime StopTime Type";
    check_keys("CHANNEL.c", channel);
    check_keys(
        "CHANNEL.f",
        &format!(
            "{channel} Open Closed Unhealthy EventPutErrorCount EventTakeErrorCount \
             CheckpointWriteErrorCount CheckpointBackupWriteErrorCount"
        ),
    );
    let sink = "ConnectionCreatedCount ConnectionClosedCount ConnectionFailedCount BatchEmptyCount \
         BatchUnderflowCount BatchCompleteCount EventDrainAttemptCount EventDrainSuccessCount \
         StartTime StopTime Type";
    check_keys("SINK.k1", &format!("{sink} EventWriteFail ChannelReadFail"));
    check_keys(
        "SINK.kafka",
        &format!("{sink} KafkaEventSendTimer RollbackCount"),
    );
}

#[test]
fn components_without_counters_in_flume_are_not_shown() {
    let json = parsed(&registry());
    assert!(json.get("SINK.logger").is_none());
    assert!(json.get("SOURCE.quiet").is_none());
    assert!(json["SINK"].get("logger").is_none());
}

#[test]
fn flat_values_read_as_flume_writes_them() {
    let registry = registry();
    let channel = registry.channel("f");
    channel.lifetime.start(1_763_722_222_222);
    channel.shard(0).log.end_event.set(1);
    channel.shard(0).counters.event_put_success.add(1);
    channel.group("").counters.event_take_attempt.add(3);
    let json = parsed(&registry);
    let shown = &json["CHANNEL.f"];
    assert_eq!(shown["ChannelCapacity"], "1000000");
    assert_eq!(shown["ChannelFillPercentage"], "9.999999999999999E-5");
    assert_eq!(shown["ChannelSize"], "1");
    assert_eq!(shown["EventPutSuccessCount"], "1");
    assert_eq!(shown["EventTakeAttemptCount"], "3");
    assert_eq!(shown["StartTime"], "1763722222222");
    assert_eq!(shown["StopTime"], "0");
    assert_eq!(shown["Type"], "CHANNEL");
    assert_eq!(shown["Open"], "false");
    assert_eq!(shown["Closed"], "1");
    for shard in channel.shards() {
        shard.log.open.set(1);
    }
    let json = parsed(&registry);
    assert_eq!(json["CHANNEL.f"]["Open"], "true");
    assert_eq!(json["CHANNEL.f"]["Closed"], "0");
}

/// The alarms of a monitoring script seen in the field, which loops over `metrics['CHANNEL']` and
/// `metrics['SINK']` and compares with numbers.
fn alarms(metrics: &Value) -> Vec<String> {
    let mut alarms = Vec::new();
    let of = |kind: &str| metrics[kind].as_object().cloned().unwrap_or_default();
    for (channel, values) in of("CHANNEL") {
        let size = values["ChannelSize"].as_u64().expect("size > 500000");
        if size > 500_000 {
            alarms.push(format!("WARNING: {channel} backlog {size}"));
        }
    }
    for (sink, values) in of("SINK") {
        let success = values["EventDrainSuccessCount"].as_u64().expect("number");
        let attempts = values["EventDrainAttemptCount"].as_u64().expect("number");
        if attempts > 0 && success * 100 < attempts * 95 {
            alarms.push(format!("WARNING: {sink} success rate low"));
        }
    }
    alarms
}

#[test]
fn script_that_reads_nested_numbers_alarms_when_it_should() {
    let registry = registry();
    assert!(alarms(&parsed(&registry)).is_empty());
    registry.channel("f").shard(1).log.end_event.set(500_001);
    registry.sink("k1").counters.event_drain_attempt.add(100);
    registry.sink("k1").counters.event_drain_success.add(94);
    registry.sink("kafka").counters.event_drain_attempt.add(100);
    registry.sink("kafka").counters.event_drain_success.add(95);
    assert_eq!(
        alarms(&parsed(&registry)),
        ["WARNING: f backlog 500001", "WARNING: k1 success rate low"]
    );
}
