//! What a disk was asked to do, in order, and what a power cut may have left of it.
//!
//! The rules are those of the kernel's dm-log-writes: a write is logged when it completes; a flush
//! makes durable whatever completed before it; of what came after the last flush any part may be on
//! the disk and any may not, each write for itself, the last one perhaps in part.

use std::ops::Range;
use std::sync::Arc;

use super::image::{Image, PAGE_BYTES};

/// Sectors of half a kibibyte: what a disk that is cut off in the middle of a block may have written.
const SECTOR_BYTES: usize = 512;

/// Whose bytes a write carries, as far as its first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A block of the log.
    Block {
        /// Of its segment.
        segment: u64,
        /// Of its segment.
        epoch: u64,
        /// Its number.
        sequence: u64,
    },
    /// The header of a segment.
    Header {
        /// Its id.
        segment: u64,
        /// Its epoch.
        epoch: u64,
    },
    /// Anything else: the file system's own, checkpoints, zeros.
    Other,
}

impl Content {
    /// Looks at the first bytes of a write (`docs/FORMAT.md`).
    pub fn of(bytes: &[u8]) -> Self {
        let field = |at: usize| {
            let bytes = bytes
                .get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        match bytes.get(..8) {
            Some(b"FLUMENB1") => Self::Block {
                segment: field(16),
                epoch: field(24),
                sequence: field(40),
            },
            Some(b"FLUMENS1") => Self::Header {
                segment: field(16),
                epoch: field(24),
            },
            _ => Self::Other,
        }
    }

    /// Segment and epoch, if it is of a segment.
    pub fn use_of_segment(self) -> Option<(u64, u64)> {
        match self {
            Self::Block { segment, epoch, .. } | Self::Header { segment, epoch } => {
                Some((segment, epoch))
            }
            Self::Other => None,
        }
    }
}

/// One completed request.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Bytes arrived at the disk.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// Whatever completed before is durable.
    Flush,
    /// A write that failed: nothing of it is on the disk.
    FailedWrite {
        /// What it carried.
        content: Content,
    },
    /// A flush that failed: what it should have made durable may or may not be.
    FailedFlush,
}

/// A request, and what the world outside of the disk looked like when it completed.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The request.
    pub entry: Entry,
    /// Bytes that the sink had put out by then: whatever this request tells the disk of deliveries
    /// speaks of no later ones.
    pub output_bytes: u64,
}

/// Everything since an image.
#[derive(Debug, Clone)]
pub struct Log {
    /// Where it began.
    pub base: Image,
    /// In the order of completion.
    pub entries: Vec<Logged>,
}

/// What is chosen of the writes that no flush covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// One of two for each write behind the last flush: it is on the disk.
    pub kept: Vec<bool>,
    /// Of the last write that is kept only these sectors are.
    pub torn: Option<Vec<bool>>,
}

impl Log {
    /// A log that begins with `base`.
    pub fn new(base: Image) -> Self {
        Self {
            base,
            entries: Vec::new(),
        }
    }

    /// The position behind the last flush before `position`: what comes before is durable.
    pub fn durable_at(&self, position: usize) -> usize {
        let mut before = self.entries[..position].iter();
        before
            .rposition(|logged| matches!(logged.entry, Entry::Flush))
            .map_or(0, |flush| flush + 1)
    }

    /// Writes between the last flush and `position`: those a power cut there may take.
    pub fn pending_at(&self, position: usize) -> Vec<(u64, &[u8])> {
        writes(&self.entries[self.durable_at(position)..position]).collect()
    }

    /// Bytes that the sink had put out when the first `position` requests were complete.
    pub fn output_at(&self, position: usize) -> u64 {
        position
            .checked_sub(1)
            .map_or(0, |last| self.entries[last].output_bytes)
    }

    /// The image that a power cut at `position` left, when `choice` is what survived of the rest.
    /// `from` is the durable image at an earlier position, to begin with.
    pub fn image_at(&self, from: &Durable, position: usize, choice: &Choice) -> Image {
        let mut image = from.forward(self, self.durable_at(position)).image;
        let pending = self.pending_at(position);
        assert_eq!(pending.len(), choice.kept.len(), "a choice for each write");
        let last = choice.kept.iter().rposition(|kept| *kept);
        for (number, (offset, bytes)) in pending.iter().enumerate() {
            match (&choice.torn, choice.kept[number]) {
                (_, false) => {}
                (Some(sectors), true) if Some(number) == last => {
                    write_torn(&mut image, *offset, bytes, sectors);
                }
                (_, true) => image.write(*offset, bytes),
            }
        }
        image
    }

    /// Uses of segments (id and epoch) that were written to again after a write or a flush of theirs
    /// had failed. Right only while one log is written at a time, so that a failed flush is the one of
    /// the block before it.
    pub fn written_after_failure(&self) -> Vec<(u64, u64)> {
        let (mut failed, mut pending, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for logged in &self.entries {
            let content = match &logged.entry {
                Entry::Write { bytes, .. } => Content::of(bytes),
                Entry::FailedWrite { content } => *content,
                Entry::Flush => {
                    pending.clear();
                    continue;
                }
                Entry::FailedFlush => {
                    failed.append(&mut pending);
                    continue;
                }
            };
            let Some(segment) = content.use_of_segment() else {
                continue;
            };
            if failed.contains(&segment) {
                wrong.push(segment);
            } else if matches!(logged.entry, Entry::FailedWrite { .. }) {
                failed.push(segment);
            } else {
                pending.push(segment);
            }
        }
        wrong
    }
}

/// The image as all writes before a position make it, to go forward from.
#[derive(Debug, Clone)]
pub struct Durable {
    position: usize,
    image: Image,
}

impl Durable {
    /// At the beginning of `log`.
    pub fn beginning(log: &Log) -> Self {
        Self {
            position: 0,
            image: log.base.clone(),
        }
    }

    /// The same at `position`, which lies behind.
    pub fn forward(&self, log: &Log, position: usize) -> Self {
        let mut image = self.image.clone();
        for (offset, bytes) in writes(&log.entries[self.position..position]) {
            image.write(offset, bytes);
        }
        Self { position, image }
    }
}

fn writes(entries: &[Logged]) -> impl Iterator<Item = (u64, &[u8])> {
    entries.iter().filter_map(|logged| match &logged.entry {
        Entry::Write { offset, bytes } => Some((*offset, &**bytes)),
        Entry::Flush | Entry::FailedWrite { .. } | Entry::FailedFlush => None,
    })
}

/// Writes the chosen sectors. Only the log's own blocks are torn within a page: the file systems were
/// made for sectors of a page, and rely on those being written whole.
fn write_torn(image: &mut Image, offset: u64, bytes: &[u8], sectors: &[bool]) {
    let unit = tear_bytes(bytes);
    for (chunk, written) in bytes.chunks(unit).zip(sectors) {
        if *written {
            let at = chunk.as_ptr().addr() - bytes.as_ptr().addr();
            image.write(offset + at as u64, chunk);
        }
    }
}

/// The unit in which a write may be torn.
pub fn tear_bytes(bytes: &[u8]) -> usize {
    match Content::of(bytes) {
        Content::Block { .. } => SECTOR_BYTES,
        Content::Header { .. } | Content::Other => PAGE_BYTES,
    }
}

/// The bytes that a request touches.
pub fn touched(offset: u64, length: usize) -> Range<u64> {
    offset..offset + length as u64
}
