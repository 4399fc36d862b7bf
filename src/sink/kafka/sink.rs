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
use super::deliveries::{Deliveries, Failure, SLOTS};
use super::error::KafkaSinkError;
use super::record::RecordWriter;
use super::settings::{QUEUE_BYTES_MAX, RECORD_OVERHEAD_BYTES, client_config};
use super::topic::TopicName;
use crate::channel::{Consumer, Slice, Transaction};
use crate::config::KafkaSinkConfig;
use crate::metrics::SinkCounters;
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
            next_slot: 0,
        }
    }

    /// Makes the producer, unless there is one that works.
    async fn connect(&mut self) -> Result<(), KafkaSinkError> {
        if let Some(client) = &self.client {
            // A call that was cut short left records behind; they belong to nobody now.
            client.abandon().await;
            drop(client.deliveries().take_failure());
            let Some((code, reason)) = client.fatal_error() else {
                return Ok(());
            };
            warn!(
                "Kafka sink {}: the producer has failed for good ({code}: {reason}); a new one takes over",
                self.name
            );
            self.client = None;
        }
        let client = Client::new(&self.settings, &self.name).map_err(KafkaSinkError::Settings)?;
        self.client = Some(client);
        Ok(())
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
        client.wake();
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
                let last = on_their_way.back().expect("pushed above");
                send_all(client, &mut self.writer, &last.transaction, slot)
                    .await
                    .map_err(|error| failed(self.explain(error)))?;
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
                source: error,
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
            source: error,
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
        self.client = None;
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
