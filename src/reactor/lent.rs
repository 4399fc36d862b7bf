//! Memory that a shard lends to the drain threads without a copy.
//!
//! A shard's block buffers belong to its executor and may not leave the thread; what is in a written
//! block may be read anywhere. So a buffer is split in two: the shard keeps the [`DmaBuffer`], alive
//! and untouched, and a [`Lent`] view travels inside `Bytes`. When the last reader drops the view,
//! the buffer's number goes back through a queue and the shard frees it, on its own thread.

#![expect(
    unsafe_code,
    reason = "lends memory across threads; see the notes at each block"
)]

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_queue::SegQueue;
use glommio::io::DmaBuffer;

/// The buffers of one shard that readers hold.
#[derive(Debug, Default)]
pub(super) struct LendingDesk {
    /// Indexed by loan number.
    on_loan: Vec<Option<Rc<DmaBuffer>>>,
    free_numbers: Vec<usize>,
    returned: Arc<SegQueue<usize>>,
}

impl LendingDesk {
    /// Frees what readers have given back.
    pub(super) fn collect(&mut self) {
        while let Some(number) = self.returned.pop() {
            let buffer = self.on_loan[number].take();
            assert!(buffer.is_some(), "a loan is returned once");
            self.free_numbers.push(number);
        }
    }

    /// Lends the first `length` bytes of `buffer` to readers on any thread.
    pub(super) fn lend(&mut self, buffer: Rc<DmaBuffer>, length: usize) -> Bytes {
        assert!(length <= buffer.len(), "no more is lent than there is");
        assert_eq!(Rc::strong_count(&buffer), 1, "a lent buffer is only read");
        let start = buffer.as_ptr();
        let number = self.free_numbers.pop().unwrap_or_else(|| {
            self.on_loan.push(None);
            self.on_loan.len() - 1
        });
        assert!(
            self.on_loan[number].is_none(),
            "a loan number is used once at a time"
        );
        self.on_loan[number] = Some(buffer);
        Bytes::from_owner(Lent {
            start,
            length,
            number,
            returned: Arc::clone(&self.returned),
        })
    }
}

impl Drop for LendingDesk {
    /// Readers may outlive the shard: what they still hold is never freed. This happens only while
    /// the process ends.
    fn drop(&mut self) {
        while let Some(number) = self.returned.pop() {
            self.on_loan[number] = None;
        }
        for held in self.on_loan.drain(..).flatten() {
            std::mem::forget(held);
        }
    }
}

/// A read-only view of a buffer on loan.
struct Lent {
    start: *const u8,
    length: usize,
    number: usize,
    returned: Arc<SegQueue<usize>>,
}

// SAFETY: the pointed-to memory is owned by the desk's `on_loan` slot `number`. Until this view is
// dropped the desk does not free it (the slot is emptied only after the number came back through
// `returned`, pushed by our `Drop`; the desk's own `Drop` forgets it), and nobody writes to it
// (`lend` takes the only `Rc`). So any thread may read it, and drop the view.
unsafe impl Send for Lent {}
// SAFETY: as above; all access through a shared reference is reading.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start..start + length` lies inside one live allocation (`lend` checked the length
        // against the buffer) which was initialised up to `length` before it was written to disk,
        // outlives `self` and is not written meanwhile (see the note on `Send`).
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.returned.push(self.number);
    }
}
