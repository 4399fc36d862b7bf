//! Room in a channel: who may put, in which order, and how long a batch waits.
//!
//! Lives on a shard, shared by its connections. First come, first served: a large batch that waits is
//! not overtaken for ever by small ones.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::put::PutError;
use super::wal::shared::Usage;
use crate::metrics::ChannelCounters;
use crate::reactor::Ground;

/// How often a waiting batch looks for room. The drain runs on other threads and does not know who
/// waits; a full channel is no place where 5 ms count.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Admits batches to one channel on one shard.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) channel: Rc<str>,
    pub(super) transaction_capacity: usize,
    pub(super) keep_alive: Duration,
    pub(super) usage: Arc<Usage>,
    pub(super) counters: Arc<ChannelCounters>,
    turn: Semaphore,
}

/// The right to append next on this shard. The room itself is already taken from the usage.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    _turn: SemaphorePermit<'a>,
}

impl Admission {
    pub(super) fn new(
        channel: &str,
        transaction_capacity: usize,
        keep_alive: Duration,
        usage: Arc<Usage>,
        counters: Arc<ChannelCounters>,
    ) -> Self {
        let channel = Rc::from(channel);
        Self {
            channel,
            transaction_capacity,
            keep_alive,
            usage,
            counters,
            turn: Semaphore::new(1),
        }
    }

    /// Waits up to `keep-alive` for the turn and for room. `refusal` names a reason other than a
    /// full channel for which batches are refused at the moment.
    pub(super) async fn admit<G: Ground>(
        &self,
        ground: &G,
        events: usize,
        bytes: usize,
        refusal: impl Fn() -> Option<PutError>,
    ) -> Result<Admitted<'_>, PutError> {
        self.counters.event_put_attempt.add(events as u64);
        if events > self.transaction_capacity {
            return Err(PutError::TransactionTooLarge {
                channel: Rc::clone(&self.channel),
                event_count: events,
                transaction_capacity: self.transaction_capacity,
            });
        }
        // Nobody waits and there is room: by far the most frequent case.
        if let (Ok(turn), None) = (self.turn.try_acquire(), refusal())
            && self.usage.reserve(events as u64, bytes as u64)
        {
            return Ok(Admitted { _turn: turn });
        }
        let deadline = ground.now() + self.keep_alive;
        let turn = async { self.turn.acquire().await.ok() };
        let late = async {
            ground.sleep(self.keep_alive).await;
            None
        };
        let turn = future::or(turn, late).await;
        let Some(turn) = turn else {
            return Err(refusal().unwrap_or_else(|| self.full()));
        };
        loop {
            let refused = refusal();
            if refused.is_none() && self.usage.reserve(events as u64, bytes as u64) {
                return Ok(Admitted { _turn: turn });
            }
            // A dead device does not come back while we wait; a full channel may.
            if matches!(
                refused,
                Some(PutError::Device { .. } | PutError::Closed { .. })
            ) || ground.now() >= deadline
            {
                return Err(refused.unwrap_or_else(|| self.full()));
            }
            ground
                .sleep(LOOK_AGAIN.min(deadline.saturating_sub(ground.now())))
                .await;
        }
    }

    fn full(&self) -> PutError {
        PutError::Full {
            channel: Rc::clone(&self.channel),
            used_events: self.usage.events(),
            capacity_events: self.usage.capacity_events,
            used_bytes: self.usage.bytes(),
            capacity_bytes: self.usage.capacity_bytes,
            keep_alive_ms: u64::try_from(self.keep_alive.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
