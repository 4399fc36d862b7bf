//! `type = null`: takes events and throws them away.
//!
//! Lives on the drain thread of its runner. It never looks at an event: whole records are taken and
//! committed, which is what measures a channel at its full speed.

use tracing::info;

use super::{Sink, SinkError, Status};
use crate::channel::Consumer;

/// Events of one transaction, unless `batchSize` is larger: nobody can tell how many there were, and
/// a large number takes records whole instead of cutting them.
const TRANSACTION_EVENTS_MIN: usize = 64 * 1024;
/// Transactions of one call; then the other tasks of the thread have their turn.
const TRANSACTIONS_MAX: usize = 16;

/// The sink.
#[derive(Debug)]
pub struct NullSink {
    name: String,
    transaction_events: usize,
    log_every_events: u64,
    event_count: u64,
}

impl NullSink {
    /// Prints a line every `log_every_events` events; 0 prints none.
    #[must_use]
    pub fn new(name: impl Into<String>, batch_size: usize, log_every_events: u64) -> Self {
        Self {
            name: name.into(),
            transaction_events: batch_size.max(TRANSACTION_EVENTS_MIN),
            log_every_events,
            event_count: 0,
        }
    }

    fn count(&mut self, event_count: u64) {
        let before = self.event_count;
        self.event_count += event_count;
        for reached in milestones(before, self.event_count, self.log_every_events) {
            info!(
                target: "org.apache.flume.sink.NullSink.process(NullSink.java:91)",
                thread = "SinkRunner-PollingRunner-DefaultSinkProcessor",
                "Null sink {} successful processed {reached} events.",
                self.name
            );
        }
    }
}

/// The multiples of `every` above `before`, up to `after`.
fn milestones(before: u64, after: u64, every: u64) -> impl Iterator<Item = u64> {
    let passed = |count: u64| count.checked_div(every).unwrap_or(0);
    (passed(before) + 1..=passed(after)).map(move |index| index * every)
}

impl Sink for NullSink {
    async fn start(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn process(&mut self, consumer: &Consumer) -> Result<Status, SinkError> {
        for round in 0..TRANSACTIONS_MAX {
            let Some(transaction) = consumer.take(self.transaction_events).await? else {
                return Ok(match round {
                    0 => Status::Backoff,
                    _ => Status::Ready,
                });
            };
            let event_count = transaction.event_count() as u64;
            transaction.commit();
            self.count(event_count);
        }
        Ok(Status::Ready)
    }

    async fn stop(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_event_is_reported_once() {
        let all = |before, after, every| milestones(before, after, every).collect::<Vec<_>>();
        assert_eq!(all(0, 25_000, 10_000), [10_000, 20_000]);
        assert_eq!(all(25_000, 30_000, 10_000), [30_000]);
        assert_eq!(all(30_000, 39_999, 10_000), [] as [u64; 0]);
        assert_eq!(all(0, 100, 0), [] as [u64; 0]);
    }
}
