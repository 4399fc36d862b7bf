//! The allocator of the fuzzers. It ends the run when what is under test holds more memory than its
//! bound allows, or asks for more in one piece.
//!
//! One thread allocates: libFuzzer's own is C++ and does not come here. What a check itself needs
//! (a reference decoder, say) is outside [`held`] and not counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering::Relaxed};

static ARMED: AtomicBool = AtomicBool::new(false);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// Counts what is allocated inside [`held`].
#[derive(Debug)]
pub(crate) struct Meter;

impl Meter {
    #[inline]
    fn count(gained: usize, lost: usize) {
        if !ARMED.load(Relaxed) {
            return;
        }
        let change = gained.cast_signed().wrapping_sub(lost.cast_signed());
        let live = LIVE.fetch_add(change, Relaxed) + change;
        let limit = LIMIT.load(Relaxed);
        if gained > limit || live > limit.cast_signed() {
            ARMED.store(false, Relaxed);
            if std::thread::panicking() {
                return; // What is printed about a panic needs memory too.
            }
            panic!(
                "allocation above the limit: {gained} bytes asked for, {live} bytes held; at most \
                 {limit} bytes are allowed for this input"
            );
        }
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor unwinds
// into it (a panic aborts the process in its hook).
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 0);
        // SAFETY: the caller's promises about `layout` are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size, layout.size());
        // SAFETY: `memory` came from the system's allocator, as all of ours does.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        Self::count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Runs what is under test; it may hold `limit` bytes at once and not more.
pub(crate) fn held<R>(limit: usize, tested: impl FnOnce() -> R) -> R {
    LIMIT.store(limit, Relaxed);
    LIVE.store(0, Relaxed);
    ARMED.store(true, Relaxed);
    let result = tested();
    ARMED.store(false, Relaxed);
    result
}
