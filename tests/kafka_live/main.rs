//! The Kafka sink against a real broker: exactly what was sent, in order, through a broker's death.

#![allow(
    clippy::unwrap_used,
    clippy::single_range_in_vec_init,
    reason = "a test that cannot go on says where; the ranges are tables"
)]

mod generated;
#[path = "../support/mod.rs"]
mod support;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flumen::config::KafkaSinkConfig;
use flumen::event::{Cursor, Overlay, OverlayHeader};
use flumen::metrics::SinkCounters;
use flumen::sink::kafka::{KafkaSink, TopicName};
use flumen::sink::processor::{DefaultSinkProcessor, SinkRunner};
use support::KafkaBroker;
use tokio::sync::watch;

/// Longer than any of these tests takes on a busy box.
const LIMIT: Duration = Duration::from_secs(180);

fn config(bootstrap: &str, topic: &str, producer: &[(&str, &str)]) -> KafkaSinkConfig {
    let producer = producer
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    KafkaSinkConfig {
        bootstrap_servers: bootstrap.to_owned(),
        topic: topic.to_owned(),
        batch_size: 100,
        flume_event_format: false,
        allow_topic_override: true,
        topic_header: "topic".to_owned(),
        default_partition: None,
        partition_header: None,
        timestamp_header: None,
        header_names: BTreeMap::new(),
        producer,
    }
}

fn sink(config: &KafkaSinkConfig, counters: &Arc<SinkCounters>) -> KafkaSink {
    let topic = TopicName::new(config, |_| unreachable!("no escapes in these topics"));
    KafkaSink::new("k1", config, topic, Arc::clone(counters))
}

/// Runs a sink over a channel of `total` events until all are delivered; calls `meanwhile` (once, on
/// another thread) when `at` of them are.
fn deliver(
    config: &KafkaSinkConfig,
    overlay: Overlay,
    total: u64,
    at: u64,
    meanwhile: impl FnOnce() + Send + 'static,
) -> Arc<SinkCounters> {
    let counters = Arc::new(SinkCounters::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (consumer, delivered) = generated::channel(total, overlay);
        let (stop, stopped) = watch::channel(false);
        let processor = DefaultSinkProcessor::new("k1", sink(config, &counters));
        let runner = SinkRunner::new(processor, consumer, stopped, Duration::from_secs(10));
        let watcher = async {
            let reach = async |count| {
                while delivered.get() < count {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            reach(at).await;
            tokio::task::spawn_blocking(meanwhile)
                .await
                .expect("what happens meanwhile succeeds");
            tokio::time::timeout(LIMIT, reach(total))
                .await
                .expect("everything is delivered in time");
            stop.send(true).expect("the runner listens");
        };
        tokio::join!(runner.run(), watcher);
    });
    assert_eq!(counters.event_drain_success.get(), total);
    counters
}

#[test]
fn a_million_events_arrive_once_and_in_order() {
    const TOTAL: u64 = 1_000_000;
    let mut broker = KafkaBroker::start();
    broker.create_topic("million", 4);
    let config = config(&broker.bootstrap(), "million", &[]);
    let started = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock");
    let counters = deliver(&config, Overlay::default(), TOTAL, 0, || {});
    let ended = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock");
    println!("{TOTAL} events in {} ms", (ended - started).as_millis());
    assert_eq!(counters.rollback.get(), 0);
    let numbers = topic::numbers(&broker.bootstrap(), "million");
    assert_eq!(numbers.len(), 4, "keys spread over the partitions");
    assert_eq!(topic::assert_complete_and_in_order(&numbers, TOTAL), 0);
}

#[test]
fn broker_killed_and_restarted_in_the_middle_loses_nothing_and_repeats_nothing() {
    const TOTAL: u64 = 200_000;
    let mut broker = KafkaBroker::start();
    broker.create_topic("killed", 4);
    let bootstrap = broker.bootstrap();
    let config = config(&bootstrap, "killed", &[]);
    let (sender, back) = std::sync::mpsc::channel();
    deliver(&config, Overlay::default(), TOTAL, 50_000, move || {
        broker.kill();
        broker.restart();
        sender.send(broker).expect("the test waits");
    });
    let broker = back.recv().expect("sent above");
    let numbers = topic::numbers(&broker.bootstrap(), "killed");
    assert_eq!(topic::assert_complete_and_in_order(&numbers, TOTAL), 0);
}

/// The same with `delivery.timeout.ms` shorter than the outage (so that records fail and their
/// transactions are rolled back), for each kind of producer.
#[test]
fn outage_longer_than_the_delivery_timeout_rolls_back_and_loses_nothing() {
    const TOTAL: u64 = 100_000;
    for (topic, acks) in [("outage-all", "all"), ("outage-one", "1")] {
        let mut broker = KafkaBroker::start();
        broker.create_topic(topic, 4);
        let bootstrap = broker.bootstrap();
        let producer = [("message.timeout.ms", "2000"), ("acks", acks)];
        let config = config(&bootstrap, topic, &producer);
        let (sender, back) = std::sync::mpsc::channel();
        let counters = deliver(&config, Overlay::default(), TOTAL, 20_000, move || {
            broker.kill();
            support::clock::pause(Duration::from_secs(4));
            broker.restart();
            sender.send(broker).expect("the test waits");
        });
        assert!(counters.rollback.get() > 0, "acks {acks}");
        assert!(counters.event_write_fail.get() > 0, "acks {acks}");
        let broker = back.recv().expect("sent above");
        let numbers = topic::numbers(&broker.bootstrap(), topic);
        let repeated = topic::assert_complete_and_in_order(&numbers, TOTAL);
        println!("acks {acks}: {repeated} of {TOTAL} events repeated");
    }
}

#[test]
fn flume_event_format_carries_what_interceptors_added() {
    let mut broker = KafkaBroker::start();
    broker.create_topic("datum", 1);
    let mut config = config(&broker.bootstrap(), "datum", &[]);
    config.flume_event_format = true;
    let mut overlay = Overlay::default();
    overlay.push(OverlayHeader {
        key: b"host".to_vec(),
        value: b"h1".to_vec(),
        preserve_existing: false,
    });
    deliver(&config, overlay, 250, 0, || {});
    let mut count = 0;
    topic::read(&broker.bootstrap(), "datum", |_, value| {
        let mut cursor = Cursor::new(value);
        assert_eq!(cursor.block_count(), Ok(2));
        // In the order of Java's map, not of arrival.
        assert_eq!(cursor.bytes(), Ok(&b"host"[..]));
        assert_eq!(cursor.bytes(), Ok(&b"h1"[..]));
        assert_eq!(cursor.bytes(), Ok(&b"key"[..]));
        assert_eq!(cursor.bytes(), Ok(format!("k{}", count % 16).as_bytes()));
        assert_eq!(cursor.block_count(), Ok(0));
        assert_eq!(cursor.bytes().map(<[u8]>::len), Ok(512));
        assert_eq!(cursor.bytes_left(), 0);
        count += 1;
    });
    assert_eq!(count, 250);
}

/// A site lets Kafka make its topics. The first record of each finds none and waits for it: no failure, and
/// no five seconds of a thread that sleeps while reports wait for it.
#[test]
fn the_first_records_of_a_producer_and_of_a_topic_take_no_five_seconds() {
    const TOTAL: u64 = 2_000;
    let broker = KafkaBroker::start();
    for number in 0..8 {
        let topic = format!("made-{number}");
        let config = config(&broker.bootstrap(), &topic, &[]);
        let clock = support::Deadline::after(LIMIT);
        let counters = deliver(&config, Overlay::default(), TOTAL, 0, || {});
        let elapsed = clock.elapsed();
        println!(
            "{topic}: {elapsed:?}, {} rollbacks",
            counters.rollback.get()
        );
        let numbers = topic::numbers(&broker.bootstrap(), &topic);
        assert_eq!(topic::assert_complete_and_in_order(&numbers, TOTAL), 0);
        assert_eq!(counters.rollback.get(), 0, "{topic}");
        assert!(elapsed < Duration::from_secs(4), "{topic} took {elapsed:?}");
    }
}
