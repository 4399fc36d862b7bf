//! One librdkafka producer and the thread that polls it.
//!
//! The producer is used from the sink's drain thread; the polling thread runs the delivery reports
//! and nothing else. It is parked while nothing is outstanding, so an idle sink costs nothing here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::deliveries::Deliveries;

/// How long one poll lasts: the longest that closing waits for the thread. The rdkafka crate counts whole
/// milliseconds and spins through the last one, so short polls would keep a core busy while nothing
/// happens: a twentieth of it at 20 ms.
const POLL: Duration = Duration::from_millis(200);
/// How often a parked thread looks for connection errors.
const PARK: Duration = Duration::from_secs(5);
/// How long the sink waits for room at a time before it asks again.
const ROOM_WAIT: Duration = Duration::from_millis(100);
/// How often what came back to librdkafka's queue is purged while a rollback waits.
const PURGE_INTERVAL: Duration = Duration::from_millis(100);

/// A record with the slot it is counted under.
pub(super) type SlotRecord<'a> = BaseRecord<'a, [u8], [u8], usize>;

/// The producer.
pub(super) struct Client {
    producer: Arc<BaseProducer<Deliveries>>,
    deliveries: Arc<Deliveries>,
    stop: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Makes the producer. It connects in the background.
    pub(super) fn new(
        config: &ClientConfig,
        sink: &str,
        deliveries: Deliveries,
    ) -> KafkaResult<Self> {
        let producer: BaseProducer<Deliveries> = config.create_with_context(deliveries)?;
        let producer = Arc::new(producer);
        let stop = Arc::new(AtomicBool::new(false));
        let poller = thread::Builder::new()
            .name(format!("kafka-{sink}"))
            .spawn({
                let producer = Arc::clone(&producer);
                let stop = Arc::clone(&stop);
                move || poll(&producer, &stop)
            })
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self {
            deliveries: Arc::clone(producer.context()),
            producer,
            stop,
            poller: Some(poller),
        })
    }

    /// What became of the records.
    pub(super) fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// Wakes the polling thread: records have been sent. Not before: it would find nothing outstanding
    /// and go back to sleep.
    pub(super) fn wake(&self) {
        if let Some(poller) = &self.poller {
            poller.thread().unpark();
        }
    }

    /// Gives a record to librdkafka. While its queue is full, waits for deliveries and tries the same
    /// record again, which keeps the order.
    ///
    /// # Errors
    /// librdkafka refuses the record, or its queue is full and a record in it has failed.
    pub(super) async fn send(&self, record: SlotRecord<'_>) -> KafkaResult<()> {
        let mut outcome = self.producer.send(record);
        while let Err((error, record)) = outcome {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || self.deliveries.any_failure() {
                return Err(error);
            }
            self.deliveries.want_room();
            self.wake();
            // A report between the refusal and the wish is not seen: so the wait is short.
            drop(tokio::time::timeout(ROOM_WAIT, self.deliveries.changed()).await);
            outcome = self.producer.send(record);
        }
        Ok(())
    }

    /// Takes back what has not been sent and waits until every record is accounted for. Requests on
    /// the wire are not torn: they end with the broker's answer or librdkafka's time limit.
    pub(super) async fn abandon(&self) {
        self.wake();
        while !self.deliveries.all_settled() {
            self.producer
                .purge(PurgeConfig::default().queue().non_blocking());
            drop(tokio::time::timeout(PURGE_INTERVAL, self.deliveries.changed()).await);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(poller) = self.poller.take() {
            poller.thread().unpark();
            // It ends within one poll; a panic there has been reported already.
            drop(poller.join());
        }
    }
}

fn poll(producer: &BaseProducer<Deliveries>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if producer.in_flight_count() > 0 {
            producer.poll(POLL);
        } else {
            producer.poll(Duration::ZERO);
            thread::park_timeout(PARK);
        }
        producer.context().recall_complaints();
    }
}
