//! One operation of the ring, as those see it who asked for it. Lives on the ring's thread.

use std::ffi::CString;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::ring::Ring;
use crate::reactor::aligned::AlignedMemory;

/// What an operation works on.
#[derive(Debug)]
pub(super) enum Held {
    /// Readiness of a socket, which its stream owns.
    Nothing,
    /// A read or a write.
    Disk(AlignedMemory, Rc<File>),
    /// Opening a file.
    Open { _path: CString },
    /// Reading the event counter that other threads wake with.
    Count(AlignedMemory, Arc<OwnedFd>),
}

/// An operation and, once it is over, its result. Dropping it does not end the operation.
#[derive(Debug)]
pub(super) struct Operation {
    ring: Rc<Ring>,
    /// None once the result was taken.
    slot: Option<usize>,
}

impl Operation {
    pub(super) fn new(ring: Rc<Ring>, slot: usize) -> Self {
        let slot = Some(slot);
        Self { ring, slot }
    }

    /// Its slot in the ring; none once the result was taken.
    pub(super) fn slot(&self) -> Option<usize> {
        self.slot
    }
}

impl Future for Operation {
    type Output = (i32, Held);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.expect("not polled after it was ready");
        let result = self.ring.poll(slot, cx);
        if result.is_ready() {
            self.slot = None;
        }
        result
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.ring.abandon(slot);
        }
    }
}

/// What the kernel answered: a count, or an error below zero.
pub(super) fn checked(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
