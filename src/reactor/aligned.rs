//! Memory for direct I/O: an anonymous mapping, which begins at a page and never moves.
//!
//! Owned by whoever holds the value, on any thread.

use crate::limits;

/// Page-aligned memory, zeroed when it is made, of a size that never changes.
#[derive(Debug)]
pub(super) struct AlignedMemory(memmap2::MmapMut);

impl AlignedMemory {
    /// At least `bytes` long.
    pub(super) fn new(bytes: usize) -> Self {
        let map = memmap2::MmapMut::map_anon(bytes.next_multiple_of(limits::ALIGN_BYTES))
            .expect("an anonymous mapping fails only when the process is out of memory");
        Self(map)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
}

impl AsRef<[u8]> for AlignedMemory {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for AlignedMemory {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
