//! Publishes the events of a channel to Kafka.
//!
//! Lives on the drain thread of its runner. Several transactions are on their way at once, so that
//! waiting for a broker's confirmation does not stop the flow.
//!
//! Always true:
//! - transactions are committed in the order in which they were taken, each when all its records are
//!   confirmed;
//! - after a failure, everything from the failed transaction on is rolled back, confirmed or not, and
//!   nothing is sent again before every record of it is accounted for. So a partition may hold
//!   repeated events, and the last repetition of each stands in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;
use tracing::{info, warn};

use super::client::Client;
use super::complaints::Complaints;
use super::deliveries::{Deliveries, Failure, SLOTS};
use super::error::KafkaSinkError;
use super::record::RecordWriter;
use super::settings::{QUEUE_BYTES_MAX, RECORD_OVERHEAD_BYTES, client_config};
use super::topic::TopicName;
use crate::channel::{Consumer, Slice, Transaction};
use crate::config::KafkaSinkConfig;
use crate::metrics::SinkCounters;
use crate::reactor::{Clock, Defence};
use crate::sink::{Sink, SinkError, Status};

/// One call of `process` takes transactions for this long, then sees the last ones through and
/// returns, so that stop signals and other sinks of the thread have their turn.
const CALL_MAX: Duration = Duration::from_secs(1);
/// After this many events the other tasks of the thread have their turn.
const YIELD_EVENTS: usize = 1_000;

/// The sink.
#[derive(Debug)]
pub struct KafkaSink {
    name: String,
    batch_size: usize,
    settings: ClientConfig,
    writer: RecordWriter,
    counters: Arc<SinkCounters>,
    client: Option<Client>,
    /// Of all its producers: a failure makes a new one, and the broker is still away.
    complaints: Arc<Complaints>,
    clock: Clock,
    next_slot: usize,
}

/// A transaction whose records are on their way.
struct OnItsWay {
    transaction: Transaction,
    slot: usize,
    bytes: usize,
    taken: Instant,
}

impl KafkaSink {
    /// A sink with the settings of `config`; it connects when started.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        config: &KafkaSinkConfig,
        topic_name: TopicName,
        counters: Arc<SinkCounters>,
    ) -> Self {
        Self {
            name: name.into(),
            batch_size: config.batch_size,
            settings: client_config(config),
            writer: RecordWriter::new(config, topic_name),
            counters,
            client: None,
            complaints: Arc::default(),
            clock: Clock::new(),
            next_slot: 0,
        }
    }

    /// Makes the producer, unless there is one.
    async fn connect(&mut self) -> Result<(), KafkaSinkError> {
        if let Some(client) = &self.client {
            // A call that was cut short left records behind; they belong to nobody now.
            client.abandon().await;
            drop(client.deliveries().take_failure());
            return Ok(());
        }
        let deliveries = Deliveries::new(Arc::clone(&self.complaints), self.clock);
        let client = Client::new(&self.settings, &self.name, deliveries)
            .map_err(KafkaSinkError::Settings)?;
        self.client = Some(client);
        Ok(())
    }

    /// Lets the producer go; the next call makes a new one. librdkafka remembers some refusals (a
    /// topic that may not be written) for minutes, and some for good, while the operator may have
    /// removed the cause. Closing waits for librdkafka's threads, so another thread does it.
    fn retire(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let client = self.client.take()?;
        Some(tokio::task::spawn_blocking(move || drop(client)))
    }

    /// Takes, sends and commits until the channel is empty and everything is confirmed.
    async fn pump(
        &mut self,
        consumer: &Consumer,
        on_their_way: &mut VecDeque<OnItsWay>,
    ) -> Result<(), SinkError> {
        let client = self.client.as_ref().expect("connected before");
        let started = Instant::now();
        let mut bytes_on_their_way = 0;
        let mut dry = false;
        let mut events_since_yield = 0;
        loop {
            bytes_on_their_way -= commit_confirmed(client, on_their_way, &self.counters);
            if client.deliveries().any_failure() {
                return Err(failed(self.failure()));
            }
            let room = on_their_way.len() < SLOTS && bytes_on_their_way < QUEUE_BYTES_MAX / 2;
            let late = started.elapsed() >= CALL_MAX;
            if room && !late && !dry {
                let Some(transaction) = consumer.take(self.batch_size).await? else {
                    dry = true;
                    continue;
                };
                let slot = self.next_slot;
                self.next_slot = (slot + 1) % SLOTS;
                let event_count = transaction.event_count();
                if event_count < self.batch_size {
                    self.counters.batch_underflow.increment();
                }
                self.counters.event_drain_attempt.add(event_count as u64);
                let bytes = queue_bytes(&transaction);
                bytes_on_their_way += bytes;
                on_their_way.push_back(OnItsWay {
                    transaction,
                    slot,
                    bytes,
                    taken: Instant::now(),
                });
                let last = on_their_way.back_mut().expect("pushed above");
                if Defence::DeliveryReport.removed() {
                    last.transaction.pass();
                }
                let sent = send_all(client, &mut self.writer, &last.transaction, slot).await;
                client.wake();
                sent.map_err(|error| failed(self.explain(error)))?;
                events_since_yield += event_count;
                if events_since_yield >= YIELD_EVENTS {
                    events_since_yield = 0;
                    tokio::task::yield_now().await;
                }
                continue;
            }
            if on_their_way.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = client.deliveries().changed() => {}
                () = consumer.wait(), if room && !late => dry = false,
            }
        }
    }

    /// The failure that was reported first.
    fn failure(&self) -> KafkaSinkError {
        let client = self.client.as_ref().expect("a failure comes from a client");
        let failure = client.deliveries().take_failure();
        failure.map_or(KafkaSinkError::Settings(KafkaError::Canceled), |failure| {
            self.describe(failure)
        })
    }

    /// What a refusal by librdkafka means: a full queue with a failed record in it means that record.
    fn explain(&self, error: SendError) -> KafkaSinkError {
        match error {
            SendError::Record(error) => error,
            SendError::Refused {
                error,
                record_bytes,
            } => {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if full {
                    return self.failure();
                }
                self.describe(Failure {
                    topic: self.writer.last_topic().to_owned(),
                    partition: -1,
                    record_bytes,
                    error,
                })
            }
        }
    }

    fn describe(&self, failure: Failure) -> KafkaSinkError {
        let Failure {
            topic,
            partition,
            record_bytes,
            error,
        } = failure;
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            let producer_bytes_max = self.settings.get("message.max.bytes").unwrap_or("?");
            return KafkaSinkError::TooLarge {
                topic,
                record_bytes,
                producer_bytes_max: producer_bytes_max.to_owned(),
                source: Box::new(error),
            };
        }
        let connection_error = self
            .client
            .as_ref()
            .and_then(|client| client.deliveries().take_connection_error());
        KafkaSinkError::Record {
            topic,
            partition: match partition {
                0.. => format!("partition {partition}"),
                _ => "no partition chosen yet".to_owned(),
            },
            hint: connection_error.map_or_else(String::new, |reason| {
                format!("; the last connection error was: {reason}")
            }),
            source: Box::new(error),
        }
    }

    fn warn_of_bad_timestamps(&mut self) {
        let count = self.writer.take_bad_timestamps();
        if count > 0 {
            warn!(
                "Invalid timestamp in header of {count} events of Kafka sink {}; their records carry \
                 the time of sending",
                self.name
            );
        }
    }
}

impl Sink for KafkaSink {
    async fn start(&mut self) -> Result<(), SinkError> {
        self.connect().await.map_err(failed)
    }

    async fn process(&mut self, consumer: &Consumer) -> Result<Status, SinkError> {
        self.connect().await.map_err(failed)?;
        let success_before = self.counters.event_drain_success.get();
        let mut on_their_way = VecDeque::new();
        let outcome = self.pump(consumer, &mut on_their_way).await;
        self.warn_of_bad_timestamps();
        if let Err(error) = outcome {
            let client = self.client.as_ref().expect("connected above");
            client.abandon().await;
            commit_confirmed(client, &mut on_their_way, &self.counters);
            self.counters.rollback.increment();
            match error {
                SinkError::Take(_) => self.counters.channel_read_fail.increment(),
                SinkError::Delivery { .. } => self.counters.event_write_fail.increment(),
            }
            // From the newest to the oldest: each goes back to the head of the channel.
            while let Some(last) = on_their_way.pop_back() {
                last.transaction.rollback();
            }
            drop(self.retire());
            return Err(error);
        }
        if self.counters.event_drain_success.get() == success_before {
            self.counters.batch_empty.increment();
            return Ok(Status::Backoff);
        }
        Ok(Status::Ready)
    }

    async fn stop(&mut self) {
        // Every call of `process` sees its records through, so nothing is lost with the producer.
        if let Some(closing) = self.retire() {
            // It ends by itself; a panic in it has been reported already.
            drop(closing.await);
        }
        info!("Kafka Sink {} stopped.", self.name);
    }
}

enum SendError {
    Record(KafkaSinkError),
    Refused {
        error: KafkaError,
        record_bytes: usize,
    },
}

/// Records announced for a slot and not yet sent. Dropping it takes the announcement back, so that a
/// slot settles even when sending ends early.
struct Unsent<'a> {
    deliveries: &'a Deliveries,
    slot: usize,
    record_count: usize,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if self.record_count > 0 {
            self.deliveries.retract(self.slot, self.record_count);
        }
    }
}

/// Gives every event of `transaction` to librdkafka.
async fn send_all(
    client: &Client,
    writer: &mut RecordWriter,
    transaction: &Transaction,
    slot: usize,
) -> Result<(), SendError> {
    let deliveries = client.deliveries();
    let record_count = transaction.event_count();
    deliveries.begin(slot, record_count);
    let mut unsent = Unsent {
        deliveries,
        slot,
        record_count,
    };
    for event in transaction.iter() {
        let event = event.map_err(|error| SendError::Record(error.into()))?;
        let record = writer.write(&event, slot).map_err(SendError::Record)?;
        let record_bytes =
            record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len);
        if let Err(error) = client.send(record).await {
            return Err(SendError::Refused {
                error,
                record_bytes,
            });
        }
        unsent.record_count -= 1;
    }
    assert_eq!(
        unsent.record_count, 0,
        "every event of a transaction is sent"
    );
    Ok(())
}

/// Commits the oldest transactions while they are confirmed; returns their bytes.
fn commit_confirmed(
    client: &Client,
    on_their_way: &mut VecDeque<OnItsWay>,
    counters: &SinkCounters,
) -> usize {
    let mut bytes = 0;
    while let Some(first) = on_their_way.front() {
        let deliveries = client.deliveries();
        if !deliveries.is_settled(first.slot) || deliveries.has_failed(first.slot) {
            break;
        }
        let done = on_their_way.pop_front().expect("looked at above");
        bytes += done.bytes;
        counters
            .event_drain_success
            .add(done.transaction.event_count() as u64);
        let elapsed_ms = u64::try_from(done.taken.elapsed().as_millis()).unwrap_or(u64::MAX);
        counters.event_send_ms.add(elapsed_ms);
        done.transaction.commit();
    }
    bytes
}

/// What the records of a transaction take in librdkafka's queue, about.
fn queue_bytes(transaction: &Transaction) -> usize {
    let encoded = transaction.slices().iter().map(Slice::encoded);
    encoded.map(bytes::Bytes::len).sum::<usize>()
        + transaction.event_count() * RECORD_OVERHEAD_BYTES
}

fn failed(source: KafkaSinkError) -> SinkError {
    SinkError::Delivery {
        what: "Failed to publish events".to_owned(),
        source: Some(Box::new(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::error::Error;

    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use tokio::sync::Notify;

    use super::*;
    use crate::channel::{Block, DeliveredTo, Feed, Next, record_bytes, write_record};
    use crate::event::{Batch, Overlay, encode_event};

    /// Blocks of ten events of one byte count each; the cursor in a cell.
    struct Blocks {
        body_bytes: usize,
        /// How long each takes to read.
        read_time: Duration,
        /// The event with this number says where it wants to go.
        wayward: Option<(u64, &'static str)>,
        left: u64,
        next: u64,
        delivered: std::rc::Rc<std::cell::Cell<u64>>,
    }

    const BLOCK_EVENTS: u64 = 10;

    impl Feed for Blocks {
        fn shard(&self) -> u32 {
            0
        }

        fn start(&self) -> DeliveredTo {
            DeliveredTo::default()
        }

        fn next(&mut self) -> Next {
            if self.left == 0 {
                return Next::Empty;
            }
            self.left -= 1;
            let mut events = Vec::new();
            for number in self.next..self.next + BLOCK_EVENTS {
                let wayward = self.wayward.filter(|(event, _)| *event == number);
                let topic = wayward.map(|(_, topic)| ("topic".to_owned(), topic.to_owned()));
                let headers = topic.into_iter().collect();
                encode_event(&mut events, &headers, &vec![b'x'; self.body_bytes]);
            }
            let batch = Batch {
                pieces: &[&events],
                event_count: usize::try_from(BLOCK_EVENTS).unwrap(),
                overlay: &Overlay::default(),
                arrival_ms: 0,
            };
            let mut payload = vec![0; record_bytes(&batch, &[])];
            write_record(&mut payload, &batch, &[]);
            let first_event = self.next;
            self.next += BLOCK_EVENTS;
            let block = Block {
                sequence: first_event / BLOCK_EVENTS,
                first_event,
                event_count: u32::try_from(BLOCK_EVENTS).unwrap(),
                segment: 0,
                offset: 0,
                payload: payload.into(),
                held_bytes: 0,
            };
            if self.read_time.is_zero() {
                return Next::Block(block);
            }
            let read_time = self.read_time;
            Next::Fetch(Box::pin(async move {
                tokio::time::sleep(read_time).await;
                Ok(block)
            }))
        }

        fn delivered(&mut self, cursor: DeliveredTo) {
            self.delivered.set(cursor.event);
        }
    }

    struct Bench {
        sink: KafkaSink,
        config: KafkaSinkConfig,
        consumer: Consumer,
        counters: Arc<SinkCounters>,
        delivered: std::rc::Rc<std::cell::Cell<u64>>,
    }

    fn bench(cluster: &MockCluster<'_, impl rdkafka::client::ClientContext>, body: usize) -> Bench {
        bench_of(cluster, body, Duration::ZERO, None)
    }

    fn bench_of(
        cluster: &MockCluster<'_, impl rdkafka::client::ClientContext>,
        body: usize,
        read_time: Duration,
        wayward: Option<(u64, &'static str)>,
    ) -> Bench {
        cluster.create_topic("t", 2, 1).unwrap();
        let config = KafkaSinkConfig {
            bootstrap_servers: cluster.bootstrap_servers(),
            topic: "t".to_owned(),
            batch_size: 10,
            flume_event_format: false,
            allow_topic_override: true,
            topic_header: "topic".to_owned(),
            default_partition: None,
            partition_header: None,
            timestamp_header: None,
            header_names: BTreeMap::new(),
            producer: BTreeMap::new(),
        };
        let counters = Arc::new(SinkCounters::default());
        let topic = TopicName::new(&config, |_| unreachable!("no escapes"));
        let delivered = std::rc::Rc::default();
        let blocks = Blocks {
            body_bytes: body,
            read_time,
            wayward,
            left: 50,
            next: 0,
            delivered: std::rc::Rc::clone(&delivered),
        };
        Bench {
            sink: KafkaSink::new("k1", &config, topic, Arc::clone(&counters)),
            config,
            consumer: Consumer::new(vec![Box::new(blocks)], Arc::new(Notify::new())),
            counters,
            delivered,
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn transactions_are_committed_when_all_their_records_are_confirmed() {
        let cluster = MockCluster::new(1).unwrap();
        let mut bench = bench(&cluster, 100);
        run(async {
            bench.sink.start().await.unwrap();
            let status = bench.sink.process(&bench.consumer).await.unwrap();
            assert_eq!(status, Status::Ready);
            assert_eq!(bench.delivered.get(), 500);
            let status = bench.sink.process(&bench.consumer).await.unwrap();
            assert_eq!(status, Status::Backoff);
            bench.sink.stop().await;
        });
        assert_eq!(bench.counters.event_drain_attempt.get(), 500);
        assert_eq!(bench.counters.event_drain_success.get(), 500);
        assert_eq!(bench.counters.batch_empty.get(), 1);
        assert_eq!(bench.counters.rollback.get(), 0);
    }

    /// The polling thread sleeps while nothing is outstanding. It was woken when a call began, found
    /// nothing while the first block was being read, and slept on for five seconds.
    #[test]
    fn reports_are_polled_however_long_the_first_record_takes_to_come() {
        let cluster = MockCluster::new(1).unwrap();
        let mut bench = bench_of(&cluster, 100, Duration::from_millis(20), None);
        run(async {
            bench.sink.start().await.unwrap();
            let calls = async {
                while bench.delivered.get() < 500 {
                    bench.sink.process(&bench.consumer).await.unwrap();
                }
            };
            tokio::time::timeout(Duration::from_secs(4), calls)
                .await
                .expect("nobody waits for a thread that sleeps");
        });
        assert_eq!(bench.counters.rollback.get(), 0);
    }

    #[test]
    fn refusal_of_the_broker_rolls_back_and_the_next_call_delivers() {
        let cluster = MockCluster::new(1).unwrap();
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        let mut bench = bench(&cluster, 100);
        run(async {
            bench.sink.start().await.unwrap();
            let error = bench.sink.process(&bench.consumer).await.unwrap_err();
            assert_eq!(error.to_string(), "Failed to publish events");
            let cause = error.source().unwrap().to_string();
            assert!(cause.contains("topic t, partition"), "{cause}");
            assert!(cause.contains("Topic authorization failed"), "{cause}");
            assert!(bench.delivered.get() < 500);
            let status = bench.sink.process(&bench.consumer).await.unwrap();
            assert_eq!(status, Status::Ready);
            assert_eq!(bench.delivered.get(), 500);
        });
        assert_eq!(bench.counters.rollback.get(), 1);
        assert_eq!(bench.counters.event_write_fail.get(), 1);
    }

    #[test]
    fn event_too_large_names_its_size_the_limit_and_the_setting() {
        let cluster = MockCluster::new(1).unwrap();
        let mut bench = bench(&cluster, 2_000_000);
        run(async {
            bench.sink.start().await.unwrap();
            let error = bench.sink.process(&bench.consumer).await.unwrap_err();
            let cause = error.source().unwrap().to_string();
            assert!(
                cause.contains("a record of 2000000 bytes for topic t"),
                "{cause}"
            );
            assert!(
                cause.contains("1048576 bytes (kafka.producer.max.request.size)"),
                "{cause}"
            );
        });
        assert_eq!(bench.delivered.get(), 0);
    }

    #[test]
    fn topic_with_a_nul_blocks_the_sink_and_loses_nothing() {
        let cluster = MockCluster::new(1).unwrap();
        let mut bench = bench_of(&cluster, 100, Duration::ZERO, Some((203, "a\0b")));
        run(async {
            bench.sink.start().await.unwrap();
            for _ in 0..2 {
                let error = bench.sink.process(&bench.consumer).await.unwrap_err();
                let cause = error.source().unwrap().to_string();
                assert!(cause.contains("`a\\0b` cannot be the name"), "{cause}");
                assert!(bench.delivered.get() <= 200);
            }
            bench.sink.stop().await;
            // What the operator may do about it.
            bench.config.allow_topic_override = false;
            let topic = TopicName::new(&bench.config, |_| unreachable!("no escapes"));
            let counters = Arc::clone(&bench.counters);
            let mut changed = KafkaSink::new("k1", &bench.config, topic, counters);
            changed.start().await.unwrap();
            while bench.delivered.get() < 500 {
                changed.process(&bench.consumer).await.unwrap();
            }
            changed.stop().await;
        });
        assert_eq!(bench.counters.event_drain_success.get(), 500);
        assert_eq!(bench.counters.rollback.get(), 2);
    }

    #[test]
    fn call_that_is_cut_short_leaves_its_events_in_the_channel() {
        let cluster = MockCluster::new(1).unwrap();
        let mut bench = bench(&cluster, 100);
        cluster.broker_down(1).unwrap();
        run(async {
            bench.sink.start().await.unwrap();
            let call = bench.sink.process(&bench.consumer);
            let cut = tokio::time::timeout(Duration::from_millis(200), call).await;
            assert!(
                cut.is_err(),
                "nothing is confirmed while the broker is down"
            );
            assert_eq!(bench.delivered.get(), 0);
            cluster.broker_up(1).unwrap();
            let status = bench.sink.process(&bench.consumer).await.unwrap();
            assert_eq!(status, Status::Ready);
            assert_eq!(bench.delivered.get(), 500);
        });
    }
}
