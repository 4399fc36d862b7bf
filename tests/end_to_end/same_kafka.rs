//! flumen's Kafka records beside those of a real Flume collector given the same events and the same
//! configuration: keys, headers, values, timestamps and their order.

use std::time::Duration;

use crate::support::conf::{avro_to_file_channel, prefixed};
use crate::support::kafka::KafkaRecord;
use crate::support::{
    Collector, Compression, KafkaBroker, RpcClient, Scratch, Status, TestEvent, free_port,
    wait_until,
};

/// Events that exercise what the sink reads: key, topic, partition, mapped headers, a timestamp.
fn events() -> Vec<TestEvent> {
    (0..250)
        .map(|number| {
            let text = number.to_string();
            let stamp = (1_700_000_000_000u64 + number * 1_000).to_string();
            let mut headers = vec![
                ("zone", "z1"),
                ("number", text.as_str()),
                ("timestamp", stamp.as_str()),
            ];
            if number % 3 == 0 {
                headers.push(("key", text.as_str()));
            }
            TestEvent::new(
                &headers,
                format!("event {number} \u{65e5}\u{5fd7}").as_bytes(),
            )
        })
        .collect()
}

/// Runs one collector into `topic` and returns what the topic then holds.
fn collect(
    start: fn(&str, &str) -> Collector,
    topic: &str,
    topic_lines: &str,
    sink_lines: &str,
) -> Vec<KafkaRecord> {
    let scratch = Scratch::new(topic);
    let port = free_port();
    let bootstrap = {
        let mut kafka = KafkaBroker::shared();
        kafka.create_topic(topic, 1);
        kafka.bootstrap()
    };
    let sink = format!(
        "sinks.k.type = org.apache.flume.sink.kafka.KafkaSink\n\
         sinks.k.channel = c\n\
         sinks.k.kafka.bootstrap.servers = {bootstrap}\n\
         {topic_lines}\n\
         {sink_lines}"
    );
    let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k") + &prefixed("a", &sink);
    let mut collector = start(&conf, "a");
    let mut client = RpcClient::connect(port, Compression::None).expect("listens");
    let events = events();
    for batch in events.chunks(60) {
        assert_eq!(client.append_batch(batch).expect("a reply"), Status::Ok);
    }
    let mut kafka = KafkaBroker::shared();
    wait_until("all records in Kafka", Duration::from_secs(60), || {
        kafka.count(topic) >= events.len() as u64
    });
    collector.stop();
    kafka.records(topic)
}

/// Both collectors, the same lines; `topic` in them stands for each one's own topic.
#[track_caller]
fn check(name: &str, topic_lines: &str, sink_lines: &str, timestamps: bool) {
    let run = |who: &str, start| {
        let topic = format!("{name}-{who}");
        let mut records = collect(
            start,
            &topic,
            &topic_lines.replace("TOPIC", &topic),
            sink_lines,
        );
        if !timestamps {
            records.iter_mut().for_each(|record| record.timestamp = 0);
        }
        records.iter_mut().for_each(|record| record.headers.sort());
        records
    };
    let flume = run("flume", Collector::flume as fn(&str, &str) -> Collector);
    let subject = run("subject", Collector::subject);
    assert_eq!(flume.len(), 250, "Flume's own records");
    assert_eq!(subject.len(), flume.len());
    for (flume, subject) in flume.iter().zip(&subject) {
        assert_eq!(subject, flume, "left is ours, right is Flume's");
    }
}

#[test]
fn plain_values_and_keys_are_the_same() {
    check(
        "values",
        "sinks.k.kafka.topic = TOPIC",
        "sinks.k.flumeBatchSize = 100\n",
        false,
    );
}

#[test]
fn flume_event_format_is_the_same() {
    check(
        "datum",
        "sinks.k.kafka.topic = TOPIC",
        "sinks.k.useFlumeEventFormat = true\n",
        false,
    );
}

#[test]
fn mapped_headers_and_timestamps_are_the_same() {
    let lines = "sinks.k.timestampHeader = timestamp\nsinks.k.header.zone = kafka-zone\nsinks.k.header.number = n\n";
    check("mapped", "sinks.k.kafka.topic = TOPIC", lines, true);
}

#[test]
fn producer_settings_are_understood() {
    let lines = "sinks.k.kafka.producer.acks = all\nsinks.k.kafka.producer.linger.ms = 1\n\
                 sinks.k.kafka.producer.compression.type = gzip\n";
    check("producer", "sinks.k.kafka.topic = TOPIC", lines, false);
}
