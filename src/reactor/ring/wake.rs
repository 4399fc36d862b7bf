//! Wakers of tasks: cheap on the executor's thread, safe from any other.
//!
//! Always true: a task that was woken is in one queue once, until it is polled; and a thread that
//! sleeps in the kernel while a wake from another thread waits in `remote` is woken by the counter.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use crossbeam_queue::SegQueue;

thread_local! {
    /// The queue of the executor that runs on this thread.
    static HERE: RefCell<Option<Rc<Ready>>> = const { RefCell::new(None) };
}

/// Tasks to be polled, on the executor's thread.
#[derive(Debug)]
pub(super) struct Ready {
    queue: RefCell<VecDeque<Arc<Handle>>>,
    /// Whether tasks that are woken now go before all others.
    pub(super) urgent: Cell<bool>,
    remote: Arc<Remote>,
}

/// Tasks that other threads have woken.
#[derive(Debug)]
pub(super) struct Remote {
    queue: SegQueue<Arc<Handle>>,
    /// The executor's thread waits in the kernel, or is about to.
    sleeps: AtomicBool,
    counter: Arc<OwnedFd>,
}

/// What a waker points to.
#[derive(Debug)]
pub(super) struct Handle {
    /// The task's place.
    pub(super) place: usize,
    queued: AtomicBool,
    remote: Arc<Remote>,
}

impl Ready {
    pub(super) fn new(counter: Arc<OwnedFd>) -> Rc<Self> {
        let remote = Remote {
            queue: SegQueue::new(),
            sleeps: AtomicBool::new(false),
            counter,
        };
        Rc::new(Self {
            queue: RefCell::default(),
            urgent: Cell::new(false),
            remote: Arc::new(remote),
        })
    }

    /// Wakes on this thread come here until the guard is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> Here {
        let before = HERE.replace(Some(Rc::clone(self)));
        assert!(before.is_none(), "one executor a thread");
        Here
    }

    /// The handle of a task at `place`, which is to be polled.
    pub(super) fn handle(&self, place: usize) -> Arc<Handle> {
        let handle = Arc::new(Handle {
            place,
            queued: AtomicBool::new(true),
            remote: Arc::clone(&self.remote),
        });
        self.queue.borrow_mut().push_back(Arc::clone(&handle));
        handle
    }

    /// The next task to poll. From here on it can be woken again.
    pub(super) fn pop(&self) -> Option<Arc<Handle>> {
        let handle = self.queue.borrow_mut().pop_front()?;
        handle.queued.store(false, Ordering::Release);
        Some(handle)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Takes over what other threads have woken.
    pub(super) fn collect(&self) {
        while let Some(handle) = self.remote.queue.pop() {
            self.queue.borrow_mut().push_back(handle);
        }
    }

    /// Says that this thread is about to wait. False: another thread was faster, do not.
    pub(super) fn falls_asleep(&self) -> bool {
        // Either we see what a waker pushed, or it sees that we sleep.
        self.remote.sleeps.store(true, Ordering::SeqCst);
        if self.remote.queue.is_empty() {
            return true;
        }
        self.wakes_up();
        false
    }

    /// It waits no more.
    pub(super) fn wakes_up(&self) {
        self.remote.sleeps.store(false, Ordering::SeqCst);
    }
}

impl Handle {
    fn enqueue(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut handle = Some(self);
        // A thread that is ending has no executor any more.
        let here = HERE.try_with(|here| {
            let here = here.borrow();
            let own = |ready: &&Rc<Ready>| {
                let remote = handle.as_ref().map(|handle| &handle.remote);
                remote.is_some_and(|remote| Arc::ptr_eq(&ready.remote, remote))
            };
            if let Some(ready) = here.as_ref().filter(own)
                && let Some(handle) = handle.take()
            {
                let mut queue = ready.queue.borrow_mut();
                if ready.urgent.get() {
                    queue.push_front(handle);
                } else {
                    queue.push_back(handle);
                }
            }
        });
        if here.is_err() {
            tracing::trace!("woken by a thread that ends");
        }
        if let Some(handle) = handle {
            let remote = Arc::clone(&handle.remote);
            remote.queue.push(handle);
            std::sync::atomic::fence(Ordering::SeqCst);
            if remote.sleeps.swap(false, Ordering::SeqCst) {
                add_to(&remote.counter);
            }
        }
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.enqueue();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Most wakes find the task queued already.
        if !self.queued.load(Ordering::Acquire) {
            Arc::clone(self).enqueue();
        }
    }
}

/// An executor runs on this thread.
#[derive(Debug)]
pub(super) struct Here;

impl Drop for Here {
    fn drop(&mut self) {
        HERE.replace(None);
    }
}

/// A counter that other threads add to.
pub(super) fn event_counter() -> io::Result<OwnedFd> {
    let flags = rustix::event::EventfdFlags::CLOEXEC;
    Ok(rustix::event::eventfd(0, flags)?)
}

/// Adds to the counter, which completes the read of it.
#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel reads a number of the host"
)]
fn add_to(counter: &OwnedFd) {
    let written = rustix::io::write(counter, &1u64.to_ne_bytes());
    assert!(written.is_ok(), "a counter that is read takes one more");
}
