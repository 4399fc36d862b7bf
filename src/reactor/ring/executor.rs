//! Tasks, and the loop of a shard: poll what is ready, enter the kernel, wake whom it answered.
//!
//! Lives on one thread from [`run_ring`] to its end. Always true: the thread waits in the kernel only
//! when no task is ready; and no task runs for longer than [`LOOK_EVERY`] past its own poll before the
//! kernel's news are looked at.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::operation::{Held, Operation};
use super::ring::Ring;
use super::timers::Timers;
use super::wake::{Handle, Ready, event_counter};
use super::world::RingWorld;
use crate::reactor::aligned::AlignedMemory;
use crate::reactor::clock::Clock;

/// While tasks are ready, the kernel's news are looked at this often. A disk that is done should not
/// wait for the next block until all that was received has been parsed.
const LOOK_EVERY: Duration = Duration::from_micros(50);
/// The longest wait when nobody sleeps.
const WAIT_MAX: Duration = Duration::from_secs(10);

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// A place for a task.
enum Place {
    Free,
    Waiting(Task),
    /// It is being polled.
    Away,
}

struct Task {
    work: Work,
    handle: Arc<Handle>,
    waker: Waker,
}

/// What a world and its executor share.
pub(super) struct Core {
    pub(super) ring: Rc<Ring>,
    pub(super) timers: Rc<Timers>,
    pub(super) clock: Clock,
    ready: Rc<Ready>,
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<usize>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

/// Runs `work` in a [`RingWorld`] on this thread, with everything it spawns, until it ends. What was
/// spawned and has not ended is dropped then.
///
/// # Errors
/// The kernel gives no ring.
pub fn run_ring<T: 'static, F: Future<Output = T> + 'static>(
    work: impl FnOnce(RingWorld) -> F,
) -> io::Result<T> {
    let counter = Arc::new(event_counter()?);
    let core = Rc::new(Core {
        ring: Rc::new(Ring::new()?),
        timers: Rc::default(),
        clock: Clock::new(),
        ready: Ready::new(Arc::clone(&counter)),
        places: RefCell::default(),
        free: RefCell::default(),
    });
    let _here = core.ready.enter();
    let work = work(RingWorld::new(Rc::clone(&core)));
    let result = Rc::new(RefCell::new(None));
    let end = Rc::clone(&result);
    core.spawn(async move {
        let value = work.await;
        *end.borrow_mut() = Some(value);
    });
    let memory = AlignedMemory::new(size_of::<u64>());
    let mut counting = core.ring.read_count(Arc::clone(&counter), memory);
    let value = loop {
        core.run_ready();
        let ended = result.borrow_mut().take();
        if let Some(value) = ended {
            break value;
        }
        core.look();
        counting = core.count_again(counting);
    };
    core.drop_tasks();
    core.ring.finish();
    drop(counting);
    Ok(value)
}

impl Core {
    /// Runs a task until it ends.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        let free = self.free.borrow_mut().pop();
        let mut places = self.places.borrow_mut();
        let place = free.unwrap_or_else(|| {
            places.push(Place::Free);
            places.len() - 1
        });
        let handle = self.ready.handle(place);
        places[place] = Place::Waiting(Task {
            work: Box::pin(work),
            waker: Waker::from(Arc::clone(&handle)),
            handle,
        });
    }

    /// Polls tasks until none is ready, or it is time to look at the kernel's news.
    fn run_ready(&self) {
        let began = self.clock.now();
        self.timers.fire(began);
        self.ready.collect();
        while let Some(handle) = self.ready.pop() {
            self.poll(&handle);
            if self.ready.is_empty() || self.clock.now() >= began + LOOK_EVERY {
                return;
            }
        }
    }

    /// Looks at the kernel's news; waits for them when no task is ready.
    fn look(&self) {
        let urgent = |is_urgent| self.ready.urgent.set(is_urgent);
        let now = self.clock.now();
        let first = self.timers.first();
        let wait = first.map_or(WAIT_MAX, |due| due.saturating_sub(now).min(WAIT_MAX));
        let idle = self.ready.is_empty() && !wait.is_zero();
        if idle && self.ready.falls_asleep() {
            self.ring.turn(Some(wait), urgent);
            self.ready.wakes_up();
        } else if self.ring.has_news() {
            self.ring.turn(None, urgent);
        }
    }

    fn poll(&self, handle: &Arc<Handle>) {
        let Some(mut task) = self.take(handle) else {
            // It has ended since it was woken.
            return;
        };
        let polled = task
            .work
            .as_mut()
            .poll(&mut Context::from_waker(&task.waker));
        let back = match polled {
            Poll::Pending => Place::Waiting(task),
            Poll::Ready(()) => {
                drop(task);
                self.free.borrow_mut().push(handle.place);
                Place::Free
            }
        };
        self.places.borrow_mut()[handle.place] = back;
    }

    fn take(&self, handle: &Arc<Handle>) -> Option<Task> {
        let mut places = self.places.borrow_mut();
        let place = &mut places[handle.place];
        match place {
            Place::Waiting(task) if Arc::ptr_eq(&task.handle, handle) => {
                match std::mem::replace(place, Place::Away) {
                    Place::Waiting(task) => Some(task),
                    Place::Free | Place::Away => unreachable!("matched above"),
                }
            }
            Place::Waiting(_) | Place::Free | Place::Away => None,
        }
    }

    /// Reads the counter once more if another thread has added to it.
    fn count_again(&self, mut counting: Operation) -> Operation {
        let mut cx = Context::from_waker(Waker::noop());
        match pin!(&mut counting).poll(&mut cx) {
            Poll::Pending => counting,
            Poll::Ready((_, Held::Count(memory, counter))) => self.ring.read_count(counter, memory),
            Poll::Ready(_) => unreachable!("an operation gives back what it held"),
        }
    }

    /// Drops every task; what their ends spawn or wake as well.
    fn drop_tasks(&self) {
        loop {
            let places = std::mem::take(&mut *self.places.borrow_mut());
            self.free.borrow_mut().clear();
            if places.is_empty() {
                return;
            }
            drop(places);
        }
    }
}
