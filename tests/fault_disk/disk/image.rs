//! What a disk holds: pages that copies share until one of them writes.
//!
//! A copy costs a pointer a page, so that a test can keep the image of every moment it looks at.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A page, and the sector of the disk: what a real one writes whole or not at all.
pub const PAGE_BYTES: usize = 4096;

type Page = Arc<[u8; PAGE_BYTES]>;

/// All bytes of a disk. A page that was never written is zeros.
#[derive(Debug, Clone)]
pub struct Image {
    pages: Vec<Option<Page>>,
}

impl Image {
    /// The content of a (sparse) file, whole pages only.
    pub fn load(path: &Path) -> Self {
        let file = File::open(path).expect("the file was made a moment ago");
        let bytes = file.metadata().expect("it is open").len();
        let count = usize::try_from(bytes).expect("fits memory") / PAGE_BYTES;
        let mut image = Self {
            pages: vec![None; count],
        };
        let mut chunk = vec![0; 256 * PAGE_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let read = file.read_at(&mut chunk, offset).expect("a readable file");
            image.write(offset, &chunk[..read]);
            offset += read as u64;
        }
        image
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        (self.pages.len() * PAGE_BYTES) as u64
    }

    /// Fills `into` from `offset`; what lies behind the end is zeros.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        for (page, at, range) in spans(offset, into.len()) {
            let to = &mut into[range.clone()];
            match self.pages.get(page) {
                Some(Some(held)) => to.copy_from_slice(&held[at..at + range.len()]),
                Some(None) | None => to.fill(0),
            }
        }
    }

    /// Puts `bytes` at `offset`; what lies behind the end is dropped.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (page, at, range) in spans(offset, bytes.len()) {
            let Some(slot) = self.pages.get_mut(page) else {
                return;
            };
            let from = &bytes[range];
            if from.len() == PAGE_BYTES && from.iter().all(|&byte| byte == 0) {
                *slot = None;
                continue;
            }
            let held = slot.get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(held)[at..at + from.len()].copy_from_slice(from);
        }
    }
}

/// The pages that `length` bytes at `offset` touch: page, offset in it, range of the bytes.
fn spans(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let offset = usize::try_from(offset).expect("fits memory");
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let (page, at) = ((offset + done) / PAGE_BYTES, (offset + done) % PAGE_BYTES);
        let step = (PAGE_BYTES - at).min(length - done);
        done += step;
        Some((page, at, done - step..done))
    })
}

#[test]
fn copies_of_an_image_do_not_see_each_others_writes() {
    let mut one = Image {
        pages: vec![None; 4],
    };
    one.write(4000, &[7; 200]);
    let other = one.clone();
    one.write(4096, &[9; 8192]);
    let mut bytes = [0; 204];
    other.read(3998, &mut bytes);
    assert_eq!((bytes[1], bytes[2], bytes[201], bytes[202]), (0, 7, 7, 0));
    one.read(4095, &mut bytes[..2]);
    assert_eq!(bytes[..2], [7, 9]);
}
