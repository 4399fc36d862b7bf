//! The ring, and every operation under way.
//!
//! Lives on one thread. Always true: memory that the kernel reads from or writes to stays in the slot
//! of its operation, with the file, until the completion has come, whatever became of the future that
//! asked for it. A slot's number is used again only after that.

#![expect(
    unsafe_code,
    reason = "hands memory to the kernel; see the notes at each block"
)]

use std::cell::RefCell;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};

use super::operation::{Held, Operation, checked};
use crate::reactor::aligned::AlignedMemory;

/// Operations that can wait for the next entry into the kernel.
const ENTRIES: u32 = 256;
/// Completions that fit; the kernel keeps more than these aside.
const COMPLETIONS: u32 = 4096;
/// Completions of cancellations, which nobody waits for.
const NOBODY: u64 = u64::MAX;

/// One operation.
#[derive(Debug)]
enum Slot {
    Free,
    Waiting {
        held: Held,
        waker: Option<Waker>,
    },
    Done {
        held: Held,
        result: i32,
    },
    /// Nobody waits for it any more.
    Abandoned {
        held: Held,
    },
}

/// See the module.
pub(super) struct Ring {
    state: RefCell<State>,
}

struct State {
    uring: IoUring,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Operations whose completion has not come.
    under_way: usize,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for this thread, with as much of what newer kernels offer as this one has.
    pub(super) fn new() -> io::Result<Self> {
        let newest = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(ENTRIES);
        let uring = newest.or_else(|_| {
            // Before Linux 6.1.
            let mut builder = IoUring::builder();
            builder.setup_cqsize(COMPLETIONS).build(ENTRIES)
        })?;
        if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_nodrop() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "io_uring waits without a time limit before Linux 5.11",
            ));
        }
        Ok(Self {
            state: RefCell::new(State {
                uring,
                slots: Vec::new(),
                free: Vec::new(),
                under_way: 0,
            }),
        })
    }

    /// Completes when `socket` is ready for one of `events` (as for `poll`). The operation has to be
    /// cancelled before the socket is closed, or the kernel keeps the connection open.
    pub(super) fn poll_socket(self: &Rc<Self>, socket: BorrowedFd<'_>, events: u32) -> Operation {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), events).build();
        // SAFETY: a poll works in no memory of ours.
        unsafe { self.begin(entry, Held::Nothing) }
    }

    /// Writes the first `length` bytes of `memory`.
    pub(super) fn write(
        self: &Rc<Self>,
        file: Rc<File>,
        memory: AlignedMemory,
        length: usize,
        offset: u64,
    ) -> Operation {
        assert!(length <= memory.len(), "no more is written than there is");
        let length = u32::try_from(length).expect("a write is shorter than 4 GiB");
        let entry = opcode::Write::new(Fd(file.as_raw_fd()), memory.as_ptr(), length)
            .offset(offset)
            .build();
        // SAFETY: the mapping does not move with `memory`, is as long as the write, and stays in the
        // slot, unchanged, until the completion; so does the file.
        unsafe { self.begin(entry, Held::Disk(memory, file)) }
    }

    /// Reads up to the whole length of `memory`.
    pub(super) fn read(
        self: &Rc<Self>,
        file: Rc<File>,
        mut memory: AlignedMemory,
        offset: u64,
    ) -> Operation {
        let length = u32::try_from(memory.len()).expect("a read is shorter than 4 GiB");
        let entry = opcode::Read::new(Fd(file.as_raw_fd()), memory.as_mut_ptr(), length)
            .offset(offset)
            .build();
        // SAFETY: as for `write`; nobody looks at the memory before the completion.
        unsafe { self.begin(entry, Held::Disk(memory, file)) }
    }

    /// Reads an event counter into the first bytes of `memory`.
    pub(super) fn read_count(
        self: &Rc<Self>,
        counter: Arc<OwnedFd>,
        mut memory: AlignedMemory,
    ) -> Operation {
        let length = u32::try_from(size_of::<u64>()).expect("eight");
        let entry = opcode::Read::new(Fd(counter.as_raw_fd()), memory.as_mut_ptr(), length).build();
        // SAFETY: as for `read`; a page is longer than a counter.
        unsafe { self.begin(entry, Held::Count(memory, counter)) }
    }

    /// Opens a file.
    pub(super) async fn open(self: &Rc<Self>, path: CString, flags: i32) -> io::Result<File> {
        let here = Fd(rustix::fs::CWD.as_raw_fd());
        let entry = opcode::OpenAt::new(here, path.as_ptr())
            .flags(flags)
            .build();
        // SAFETY: the text of a C string does not move with it, and stays in the slot until the
        // completion.
        let operation = unsafe { self.begin(entry, Held::Open { _path: path }) };
        let (result, _path) = operation.await;
        let descriptor = checked(result)?;
        // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
        Ok(unsafe { File::from_raw_fd(i32::try_from(descriptor).expect("it came as an i32")) })
    }

    /// Puts an operation into the queue; the kernel sees it at the next entry.
    ///
    /// # Safety
    /// All memory and descriptors of `entry` must be kept alive by `held`, and be left alone until
    /// the completion.
    unsafe fn begin(self: &Rc<Self>, entry: squeue::Entry, held: Held) -> Operation {
        let mut state = self.state.borrow_mut();
        let waiting = Slot::Waiting { held, waker: None };
        let slot = match state.free.pop() {
            Some(slot) => {
                state.slots[slot] = waiting;
                slot
            }
            None => {
                state.slots.push(waiting);
                state.slots.len() - 1
            }
        };
        state.under_way += 1;
        // SAFETY: the caller's promise.
        unsafe { state.push(&entry.user_data(slot as u64)) };
        Operation::new(Rc::clone(self), slot)
    }

    /// Shows the kernel what waits in the queue. Does not wait for anything.
    pub(super) fn submit(&self) {
        self.state.borrow_mut().submit();
    }

    /// Asks the kernel to end an operation early; it completes all the same.
    pub(super) fn cancel(&self, operation: &Operation) {
        let Some(slot) = operation.slot() else { return };
        let mut state = self.state.borrow_mut();
        if matches!(state.slots[slot], Slot::Waiting { .. }) {
            let entry = opcode::AsyncCancel::new(slot as u64).build();
            // SAFETY: a cancellation works in no memory of ours.
            unsafe { state.push(&entry.user_data(NOBODY)) };
        }
    }

    /// Whether an entry into the kernel would do something: operations wait for it, or completions do.
    pub(super) fn has_news(&self) -> bool {
        let state = &mut *self.state.borrow_mut();
        let queue = state.uring.submission();
        let waits = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        waits || !state.uring.completion().is_empty()
    }

    /// Enters the kernel, waits until something completes or `timeout` is over (none: does not wait),
    /// and wakes those whose operations have completed. `urgent` is told whether the next wakes are
    /// for the disk.
    pub(super) fn turn(&self, timeout: Option<Duration>, urgent: impl Fn(bool)) {
        let mut state = self.state.borrow_mut();
        match timeout {
            None => state.submit(),
            Some(timeout) => state.wait(timeout),
        }
        while let Some((number, result)) = state.next_completed() {
            if number == NOBODY {
                continue;
            }
            // A wake only puts a task into a queue: it does not come back here.
            if let Some((is_disk, waker)) = state.complete(number, result) {
                urgent(is_disk);
                waker.wake();
            }
        }
        urgent(false);
    }

    /// Cancels what can be cancelled and waits until the kernel works in no memory of ours any more.
    pub(super) fn finish(&self) {
        {
            let mut state = self.state.borrow_mut();
            for slot in 0..state.slots.len() {
                let works_on_disk = |held: &Held| matches!(held, Held::Disk(..));
                let ends_early = match &state.slots[slot] {
                    Slot::Waiting { held, .. } | Slot::Abandoned { held } => !works_on_disk(held),
                    Slot::Free | Slot::Done { .. } => false,
                };
                if ends_early {
                    let entry = opcode::AsyncCancel::new(slot as u64).build();
                    // SAFETY: a cancellation works in no memory of ours.
                    unsafe { state.push(&entry.user_data(NOBODY)) };
                }
            }
        }
        while self.state.borrow().under_way > 0 {
            self.turn(Some(Duration::from_secs(1)), |_| {});
        }
    }

    pub(super) fn poll(&self, slot: usize, cx: &Context<'_>) -> Poll<(i32, Held)> {
        let mut state = self.state.borrow_mut();
        match &mut state.slots[slot] {
            Slot::Waiting { waker, .. } => {
                match waker {
                    Some(known) if known.will_wake(cx.waker()) => {}
                    other => *other = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            done @ Slot::Done { .. } => {
                let Slot::Done { held, result } = std::mem::replace(done, Slot::Free) else {
                    unreachable!("matched above")
                };
                state.free.push(slot);
                Poll::Ready((result, held))
            }
            Slot::Free | Slot::Abandoned { .. } => unreachable!("its future holds the slot"),
        }
    }

    pub(super) fn abandon(&self, slot: usize) {
        let mut state = self.state.borrow_mut();
        match std::mem::replace(&mut state.slots[slot], Slot::Free) {
            Slot::Waiting { held, .. } => state.slots[slot] = Slot::Abandoned { held },
            Slot::Done { held, result } => {
                state.free.push(slot);
                let_go(held, result);
            }
            Slot::Free | Slot::Abandoned { .. } => unreachable!("its future held the slot"),
        }
    }
}

impl Drop for Ring {
    /// The memory of what is under way must not go before its time, not even after a panic.
    fn drop(&mut self) {
        self.finish();
    }
}

impl State {
    /// # Safety
    /// As for [`Ring::begin`].
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: the caller's promise.
            let pushed = unsafe { self.uring.submission().push(entry) };
            if pushed.is_ok() {
                return;
            }
            self.submit();
        }
    }

    fn submit(&mut self) {
        settle(self.uring.submit());
    }

    fn wait(&mut self, timeout: Duration) {
        let limit = Timespec::from(timeout);
        let arguments = SubmitArgs::new().timespec(&limit);
        settle(self.uring.submitter().submit_with_args(1, &arguments));
    }

    fn next_completed(&mut self) -> Option<(u64, i32)> {
        let entry = self.uring.completion().next()?;
        Some((entry.user_data(), entry.result()))
    }

    /// Who is to be woken, and whether for the disk.
    fn complete(&mut self, number: u64, result: i32) -> Option<(bool, Waker)> {
        let slot = usize::try_from(number).expect("it was a slot's number");
        assert!(self.under_way > 0, "an operation completes once");
        self.under_way -= 1;
        match std::mem::replace(&mut self.slots[slot], Slot::Free) {
            Slot::Waiting { held, waker } => {
                let is_disk = matches!(held, Held::Disk(..));
                self.slots[slot] = Slot::Done { held, result };
                waker.map(|waker| (is_disk, waker))
            }
            Slot::Abandoned { held } => {
                self.free.push(slot);
                let_go(held, result);
                None
            }
            Slot::Free | Slot::Done { .. } => unreachable!("an operation completes once"),
        }
    }
}

/// An operation nobody waits for has completed.
fn let_go(held: Held, result: i32) {
    if let (Held::Open { .. }, Ok(descriptor)) = (&held, checked(result)) {
        let descriptor = i32::try_from(descriptor).expect("it came as an i32");
        // SAFETY: the kernel has opened this descriptor for us, and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
}

/// Entering the kernel fails for reasons that pass, or because of a mistake of ours.
fn settle(entered: io::Result<usize>) {
    use rustix::io::Errno;
    if let Err(error) = entered {
        let passes = [Errno::TIME, Errno::INTR, Errno::BUSY, Errno::AGAIN];
        let passes = passes
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
        assert!(passes, "io_uring_enter: {error}");
    }
}
