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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::reactor::ShardWorld;

    const KEEP_ALIVE: Duration = Duration::from_millis(120);

    fn on_shard<F: Future<Output = ()> + 'static>(
        work: impl FnOnce(ShardWorld) -> F + Send + 'static,
    ) {
        glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
            .spawn(move || work(ShardWorld::new()))
            .unwrap()
            .join()
            .unwrap();
    }

    /// To a channel of 10 events and 1,000 bytes, of which so many are used.
    fn admission(used_events: u64, used_bytes: u64) -> Rc<Admission> {
        let usage = Arc::new(Usage::new(10, 1_000));
        assert!(usage.reserve(used_events, used_bytes));
        Rc::new(Admission::new("c1", 5, KEEP_ALIVE, usage, Arc::default()))
    }

    fn nothing() -> Option<PutError> {
        None
    }

    fn closed() -> Option<PutError> {
        let channel = Rc::from("c1");
        Some(PutError::Closed { channel })
    }

    #[test]
    fn room_is_taken_at_once_and_all_or_nothing() {
        on_shard(|world| async move {
            let admission = admission(7, 0);
            let begun = world.now();
            drop(admission.admit(&world, 3, 1_000, nothing).await.unwrap());
            assert!(world.now() - begun < KEEP_ALIVE);
            assert_eq!(
                (admission.usage.events(), admission.usage.bytes()),
                (10, 1_000)
            );
            admission.usage.release(10, 1_000);
            assert!(admission.usage.reserve(8, 990));
            assert!(
                admission.admit(&world, 1, 11, nothing).await.is_err(),
                "bytes are short"
            );
            assert_eq!(
                (admission.usage.events(), admission.usage.bytes()),
                (8, 990)
            );
            assert_eq!(admission.counters.event_put_attempt.get(), 4);
        });
    }

    #[test]
    fn full_channel_refuses_after_keep_alive_and_says_by_how_much() {
        on_shard(|world| async move {
            let admission = admission(8, 500);
            let begun = world.now();
            let error = admission.admit(&world, 3, 1, nothing).await.unwrap_err();
            let waited = world.now() - begun;
            assert!(
                waited >= KEEP_ALIVE && waited < KEEP_ALIVE * 5,
                "{waited:?}"
            );
            let text = error.to_string();
            assert!(
                text.contains("8 of 10 events (500 of 1000 bytes)"),
                "{text}"
            );
            assert!(text.contains("within 120 ms"), "{text}");
            assert_eq!(
                admission.usage.events(),
                8,
                "nothing is kept of a refused batch"
            );
        });
    }

    #[test]
    fn room_that_comes_within_keep_alive_admits() {
        on_shard(|world| async move {
            let admission = admission(10, 0);
            let freed = Rc::clone(&admission);
            let later = world.clone();
            world.spawn(async move {
                later.sleep(KEEP_ALIVE / 4).await;
                freed.usage.release(4, 0);
            });
            assert!(admission.admit(&world, 4, 0, nothing).await.is_ok());
        });
    }

    #[test]
    fn batch_larger_than_a_transaction_is_refused_without_a_wait() {
        on_shard(|world| async move {
            let admission = admission(10, 0);
            let begun = world.now();
            let error = admission.admit(&world, 6, 1, nothing).await.unwrap_err();
            assert!(matches!(
                error,
                PutError::TransactionTooLarge { event_count: 6, .. }
            ));
            assert!(world.now() - begun < KEEP_ALIVE / 2);
        });
    }

    #[test]
    fn large_batch_that_waits_is_not_overtaken_by_a_small_one_that_fits() {
        on_shard(|world| async move {
            let admission = admission(8, 0);
            let order = Rc::new(RefCell::new(Vec::new()));
            for events in [5, 1, 2] {
                let (admission, order) = (Rc::clone(&admission), Rc::clone(&order));
                let waiting = world.clone();
                world.spawn(async move {
                    let admitted = admission.admit(&waiting, events, 0, nothing).await;
                    assert!(admitted.is_ok());
                    order.borrow_mut().push(events);
                });
            }
            world.sleep(KEEP_ALIVE / 4).await;
            assert!(order.borrow().is_empty(), "{order:?}");
            admission.usage.release(8, 0);
            world.sleep(KEEP_ALIVE / 4).await;
            assert_eq!(*order.borrow(), [5, 1, 2]);
        });
    }

    #[test]
    fn whoever_waits_behind_another_waits_no_longer_than_keep_alive() {
        on_shard(|world| async move {
            let admission = admission(5, 0);
            let holder = admission.admit(&world, 1, 0, nothing).await.unwrap();
            let begun = world.now();
            let error = admission.admit(&world, 1, 0, nothing).await.unwrap_err();
            let waited = world.now() - begun;
            assert!(matches!(error, PutError::Full { .. }));
            assert!(
                waited >= KEEP_ALIVE && waited < KEEP_ALIVE * 5,
                "{waited:?}"
            );
            drop(holder);
            assert!(admission.admit(&world, 1, 0, nothing).await.is_ok());
        });
    }

    #[test]
    fn closed_channel_refuses_without_a_wait() {
        on_shard(|world| async move {
            let admission = admission(0, 0);
            let begun = world.now();
            let error = admission.admit(&world, 1, 1, closed).await.unwrap_err();
            assert!(matches!(error, PutError::Closed { .. }));
            assert!(world.now() - begun < KEEP_ALIVE / 2);
            assert_eq!(admission.usage.events(), 0);
        });
    }

    #[test]
    fn short_disk_is_waited_for_and_named_if_it_stays_short() {
        on_shard(|world| async move {
            let admission = admission(0, 0);
            let short = || {
                let channel = Rc::from("c1");
                let directory = "/data".to_owned();
                Some(PutError::NoSpace {
                    channel,
                    directory,
                    free_bytes: 1,
                    required_bytes: 2,
                })
            };
            let begun = world.now();
            let error = admission.admit(&world, 1, 1, short).await.unwrap_err();
            assert!(matches!(error, PutError::NoSpace { .. }));
            assert!(world.now() - begun >= KEEP_ALIVE);
            let back_at = world.now() + KEEP_ALIVE / 4;
            let for_a_while = || if world.now() < back_at { short() } else { None };
            assert!(admission.admit(&world, 1, 1, for_a_while).await.is_ok());
        });
    }
}
