//! Memory of a ring's files: kept for the next block or read, lent to readers on other threads, taken
//! back.
//!
//! Fresh memory costs a fault, and a cleared page, for every 4 KiB: a log that is read back through
//! fresh buffers takes twice as long.
//!
//! The pool lives on its thread, a shard's or a drain's. Always true: a buffer is in one hand: its
//! owner's, the kernel's (inside an operation), a reader's, or the pool's; and the pool keeps at most
//! [`KEPT_BYTES_MAX`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_queue::SegQueue;

use super::aligned::AlignedMemory;
use super::world::WriteBuffer;
use crate::limits;

/// What the pool keeps: as much as a reader that keeps up has on loan, and what is being filled and
/// written.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pool {
    kept: RefCell<BTreeMap<usize, Vec<AlignedMemory>>>,
    kept_bytes: Cell<usize>,
    /// What readers have given back.
    returned: Arc<SegQueue<AlignedMemory>>,
}

impl Pool {
    /// A buffer of exactly `bytes`, which may hold what was written to it before.
    pub(super) fn take(self: &Rc<Self>, bytes: usize) -> PooledBuffer {
        while let Some(memory) = self.returned.pop() {
            self.keep(memory);
        }
        let length = bytes.next_multiple_of(limits::ALIGN_BYTES);
        let kept = self.kept.borrow_mut().get_mut(&length).and_then(Vec::pop);
        let memory = match kept {
            Some(memory) => {
                self.kept_bytes.set(self.kept_bytes.get() - length);
                memory
            }
            None => AlignedMemory::new(length),
        };
        PooledBuffer {
            memory: Some(memory),
            bytes,
            pool: Rc::clone(self),
        }
    }

    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes.get()
    }

    fn keep(&self, memory: AlignedMemory) {
        let length = memory.len();
        if self.kept_bytes.get() + length <= KEPT_BYTES_MAX {
            self.kept_bytes.set(self.kept_bytes.get() + length);
            let mut kept = self.kept.borrow_mut();
            kept.entry(length).or_default().push(memory);
        } else {
            // Sizes change with the load: those of yesterday make room.
            self.kept.borrow_mut().clear();
            self.kept_bytes.set(0);
        }
    }
}

/// Memory of the pool, in use.
#[derive(Debug)]
pub struct PooledBuffer {
    /// None once it was given away.
    memory: Option<AlignedMemory>,
    bytes: usize,
    pool: Rc<Pool>,
}

impl PooledBuffer {
    /// Takes the memory out, for the kernel.
    pub(super) fn lend(&mut self) -> AlignedMemory {
        self.memory.take().expect("no write is under way")
    }

    /// Puts it back.
    pub(super) fn give_back(&mut self, memory: AlignedMemory) {
        self.memory = Some(memory);
    }
}

impl WriteBuffer for PooledBuffer {
    fn bytes(&self) -> &[u8] {
        let memory = self.memory.as_ref().expect("no write is under way");
        &memory.as_ref()[..self.bytes]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let memory = self.memory.as_mut().expect("no write is under way");
        &mut memory.as_mut()[..self.bytes]
    }

    fn share(mut self, length: usize) -> Bytes {
        assert!(length <= self.bytes, "no more is lent than there is");
        let lent = Lent {
            memory: Some(self.lend()),
            length,
            home: Arc::clone(&self.pool.returned),
        };
        Bytes::from_owner(lent)
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.pool.keep(memory);
        }
    }
}

/// Memory in the hands of readers; goes home when the last one drops it.
struct Lent {
    memory: Option<AlignedMemory>,
    length: usize,
    home: Arc<SegQueue<AlignedMemory>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        let memory = self.memory.as_ref().expect("it goes home when dropped");
        &memory.as_ref()[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.home.push(memory);
        }
    }
}
