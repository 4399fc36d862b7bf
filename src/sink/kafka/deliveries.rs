//! What became of each record: delivery reports, counted per transaction.
//!
//! Shared by two threads: the sink's drain thread gives out slots and waits, the polling thread
//! reports. A report costs one atomic subtraction; nothing is allocated unless a record failed.
//!
//! Always true: a slot is given out again only when none of its records is outstanding.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::complaints::{Complaints, Way};
use crate::reactor::Clock;

/// Transactions whose records may be outstanding at once.
pub(super) const SLOTS: usize = 1024;
/// Failures kept: the first names the cause, the others are like it.
const FAILURES_MAX: usize = 8;

/// A record that was not published.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) record_bytes: usize,
    pub(super) error: KafkaError,
}

#[derive(Debug, Default)]
struct Slot {
    outstanding: AtomicUsize,
    failed: AtomicBool,
}

/// The context of a producer.
#[derive(Debug)]
pub(super) struct Deliveries {
    slots: Box<[Slot]>,
    failures: ArrayQueue<Failure>,
    connection_error: ArrayQueue<String>,
    complaints: Arc<Complaints>,
    clock: Clock,
    room_wanted: AtomicBool,
    changed: Notify,
}

impl Deliveries {
    /// Complaints are `complaints`, of one clock, whichever producer has them.
    pub(super) fn new(complaints: Arc<Complaints>, clock: Clock) -> Self {
        Self {
            complaints,
            clock,
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            failures: ArrayQueue::new(FAILURES_MAX),
            connection_error: ArrayQueue::new(1),
            room_wanted: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// `record_count` records are about to be sent under `slot`.
    pub(super) fn begin(&self, slot: usize, record_count: usize) {
        let slot = &self.slots[slot];
        slot.failed.store(false, Ordering::Relaxed);
        let before = slot.outstanding.swap(record_count, Ordering::Relaxed);
        assert_eq!(before, 0, "a slot in use is not given out");
    }

    /// `record_count` of the records announced for `slot` will not be sent.
    pub(super) fn retract(&self, slot: usize, record_count: usize) {
        let slot = &self.slots[slot];
        slot.failed.store(true, Ordering::Relaxed);
        let before = slot.outstanding.fetch_sub(record_count, Ordering::Release);
        assert!(before >= record_count, "what is retracted was announced");
    }

    /// Whether every record of `slot` was reported.
    pub(super) fn is_settled(&self, slot: usize) -> bool {
        self.slots[slot].outstanding.load(Ordering::Acquire) == 0
    }

    /// Whether a record of `slot` was reported as failed, or never sent.
    pub(super) fn has_failed(&self, slot: usize) -> bool {
        self.slots[slot].failed.load(Ordering::Acquire)
    }

    /// Whether no record is outstanding.
    pub(super) fn all_settled(&self) -> bool {
        (0..SLOTS).all(|slot| self.is_settled(slot))
    }

    /// Whether a record has failed since [`Deliveries::take_failure`] emptied the list.
    pub(super) fn any_failure(&self) -> bool {
        !self.failures.is_empty()
    }

    /// The first failure, and forgets the others.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        let first = self.failures.pop();
        while self.failures.pop().is_some() {}
        first
    }

    /// What librdkafka last said about a connection.
    pub(super) fn take_connection_error(&self) -> Option<String> {
        self.connection_error.pop()
    }

    /// Makes the next report wake the waiter, whichever slot it belongs to.
    pub(super) fn want_room(&self) {
        self.room_wanted.store(true, Ordering::SeqCst);
    }

    /// Waits for a settled slot, a failure, or, when asked for, room. May return early.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Writes what is left to say about complaints that have ceased.
    pub(super) fn recall_complaints(&self) {
        for line in self.complaints.overdue(self.clock.now()) {
            warn!("Kafka: {line}");
        }
    }

    fn report(&self, slot: usize, failure: Option<Failure>) {
        let slot = &self.slots[slot];
        let failed = failure.is_some();
        if let Some(failure) = failure {
            slot.failed.store(true, Ordering::Relaxed);
            // A full list already names the cause.
            drop(self.failures.push(failure));
        }
        let before = slot.outstanding.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a record is reported once");
        let room = self.room_wanted.load(Ordering::Relaxed)
            && self.room_wanted.swap(false, Ordering::SeqCst);
        if before == 1 || failed || room {
            self.changed.notify_one();
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                let now = self.clock.now();
                if let Some(line) = self.complaints.hear(now, Way::Log, text) {
                    warn!("librdkafka {facility}: {line}");
                }
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                info!("librdkafka {facility}: {text}");
            }
            RDKafkaLogLevel::Debug => debug!("librdkafka {facility}: {text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let now = self.clock.now();
        if let Some(line) = self.complaints.hear(now, Way::Error, reason) {
            warn!("Kafka: {line} ({error})");
        }
        drop(self.connection_error.force_push(reason.to_owned()));
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: usize) {
        let failure = result.as_ref().err().map(|(error, record)| Failure {
            topic: record.topic().to_owned(),
            partition: record.partition(),
            record_bytes: record.key_len() + record.payload_len(),
            error: error.clone(),
        });
        self.report(slot, failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries() -> Deliveries {
        Deliveries::new(Arc::default(), Clock::new())
    }

    fn failure() -> Failure {
        Failure {
            topic: "t".to_owned(),
            partition: 0,
            record_bytes: 1,
            error: KafkaError::Canceled,
        }
    }

    #[test]
    fn slot_settles_with_its_last_report() {
        let deliveries = deliveries();
        deliveries.begin(3, 2);
        deliveries.report(3, None);
        assert!(!deliveries.is_settled(3));
        assert!(!deliveries.all_settled());
        deliveries.report(3, None);
        assert!(deliveries.is_settled(3));
        assert!(!deliveries.has_failed(3));
    }

    #[test]
    fn one_failed_record_fails_its_slot_and_no_other() {
        let deliveries = deliveries();
        deliveries.begin(0, 2);
        deliveries.begin(1, 1);
        deliveries.report(0, Some(failure()));
        deliveries.report(0, None);
        deliveries.report(1, None);
        assert!(deliveries.has_failed(0));
        assert!(!deliveries.has_failed(1));
        assert!(deliveries.take_failure().is_some());
        assert!(!deliveries.any_failure());
    }

    #[test]
    fn records_that_are_never_sent_fail_their_slot() {
        let deliveries = deliveries();
        deliveries.begin(0, 5);
        deliveries.retract(0, 5);
        assert!(deliveries.is_settled(0));
        assert!(deliveries.has_failed(0));
    }
}
