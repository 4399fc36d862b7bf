//! Who sleeps until when. Lives on one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::reactor::clock::Clock;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// By time, then in the order of going to sleep.
    waiting: RefCell<BTreeMap<(Duration, u64), Waker>>,
    next: std::cell::Cell<u64>,
}

impl Timers {
    /// When the first sleeper is due.
    pub(super) fn first(&self) -> Option<Duration> {
        let waiting = self.waiting.borrow();
        waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Wakes those whose time has come.
    pub(super) fn fire(&self, now: Duration) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let due = waiting
                .first_entry()
                .filter(|first| first.key().0 <= now)
                .map(|first| first.remove());
            drop(waiting);
            match due {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }
}

/// Ready at a time.
#[derive(Debug)]
pub(super) struct Sleep {
    timers: Rc<Timers>,
    clock: Clock,
    due: Duration,
    key: Option<(Duration, u64)>,
}

impl Sleep {
    pub(super) fn new(timers: Rc<Timers>, clock: Clock, duration: Duration) -> Self {
        let due = clock.now().saturating_add(duration);
        Self {
            timers,
            clock,
            due,
            key: None,
        }
    }

    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            self.timers.waiting.borrow_mut().remove(&key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.forget();
        if self.clock.now() >= self.due {
            return Poll::Ready(());
        }
        let number = self.timers.next.get();
        self.timers.next.set(number + 1);
        let key = (self.due, number);
        let waker = cx.waker().clone();
        self.timers.waiting.borrow_mut().insert(key, waker);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
