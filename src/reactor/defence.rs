//! The defences of the store and of the drain, by name, so that a test can take one away.
//!
//! A check that cannot fail proves nothing: every lane of tests that claims to find lost or altered
//! events runs once with a defence removed, and has to find it. Code asks its world,
//! [`Ground::lacks`](super::Ground::lacks). A simulated world lacks what its test says. The real ones
//! (and the sinks, which have no world) lack what the environment variable `FLUMEN_WITHOUT` names, in
//! debug builds only: a release build has every defence, always, and does not look.

use std::sync::OnceLock;

/// One thing the store or the drain does so that nothing acknowledged is lost, altered or held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defence {
    /// A batch is answered after the write of its block, not before.
    AckAfterWrite,
    /// A write returns after the flush (`O_DSYNC`).
    Flush,
    /// The directory is flushed after a file was created, renamed or removed in it.
    DirectoryFlush,
    /// A segment whose write failed is never written again.
    FailedSegmentEnds,
    /// The header of a block is held against its checksum.
    HeaderChecksum,
    /// A segment whose header is damaged is known by its blocks.
    HeaderFromBlocks,
    /// The payload of a block is held against its checksum.
    PayloadChecksum,
    /// A block counts only with the epoch of its segment: recycled files hold older blocks.
    Epoch,
    /// A block counts only at its own offset in its own segment: writes go astray.
    Place,
    /// A block follows the one before it by checksum.
    Chain,
    /// Where two segments hold a block of one number, the later segment's counts.
    LastCopy,
    /// Segments are let go when every group's cursor has passed them, not earlier.
    ReleaseBehindCursors,
    /// A checkpoint counts only if the log it speaks of is the one on disk.
    CheckpointFits,
    /// No number that a checkpoint has seen is given again.
    NumbersOnce,
    /// A read that failed is tried again, not taken for damage.
    ReadAgain,
    /// A cursor may lie inside a block.
    CursorInBlock,
    /// Recovery passes over a sector that cannot be read.
    PassUnreadable,
    /// A group's cursor passes events after its sink has delivered them, not when it takes them.
    CursorAfterDelivery,
    /// `file_roll` commits what it has written, not what it has formatted.
    FileWrite,
    /// The Kafka sink commits what the broker has confirmed, not what librdkafka has queued.
    DeliveryReport,
    /// The HDFS sink commits what `hsync` made durable, not what waits in its buffer.
    HdfsFlush,
}

impl Defence {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::AckAfterWrite,
        Self::Flush,
        Self::DirectoryFlush,
        Self::FailedSegmentEnds,
        Self::HeaderChecksum,
        Self::HeaderFromBlocks,
        Self::PayloadChecksum,
        Self::Epoch,
        Self::Place,
        Self::Chain,
        Self::LastCopy,
        Self::ReleaseBehindCursors,
        Self::CheckpointFits,
        Self::NumbersOnce,
        Self::ReadAgain,
        Self::CursorInBlock,
        Self::PassUnreadable,
        Self::CursorAfterDelivery,
        Self::FileWrite,
        Self::DeliveryReport,
        Self::HdfsFlush,
    ];

    /// Its name in `FLUMEN_WITHOUT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckAfterWrite => "ack-after-write",
            Self::Flush => "flush",
            Self::DirectoryFlush => "directory-flush",
            Self::FailedSegmentEnds => "failed-segment-ends",
            Self::HeaderChecksum => "header-checksum",
            Self::HeaderFromBlocks => "header-from-blocks",
            Self::PayloadChecksum => "payload-checksum",
            Self::Epoch => "epoch",
            Self::Place => "place",
            Self::Chain => "chain",
            Self::LastCopy => "last-copy",
            Self::ReleaseBehindCursors => "release-behind-cursors",
            Self::CheckpointFits => "checkpoint-fits",
            Self::NumbersOnce => "numbers-once",
            Self::ReadAgain => "read-again",
            Self::CursorInBlock => "cursor-in-block",
            Self::PassUnreadable => "pass-unreadable",
            Self::CursorAfterDelivery => "cursor-after-delivery",
            Self::FileWrite => "file-write",
            Self::DeliveryReport => "delivery-report",
            Self::HdfsFlush => "hdfs-flush",
        }
    }

    /// The defence of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Whether the environment takes this defence from the process. Never in a release build.
    ///
    /// # Panics
    /// When `FLUMEN_WITHOUT` names no defence: a test that removes nothing must not pass for one.
    #[inline]
    pub(crate) fn removed(self) -> bool {
        static REMOVED: OnceLock<Vec<Defence>> = OnceLock::new();
        if !cfg!(debug_assertions) {
            return false;
        }
        let removed = REMOVED.get_or_init(|| {
            let names = std::env::var("FLUMEN_WITHOUT").unwrap_or_default();
            let names = names.split(',').filter(|name| !name.is_empty());
            let of_name = |name| {
                Self::named(name).unwrap_or_else(|| panic!("FLUMEN_WITHOUT: no defence is {name}"))
            };
            names.map(of_name).collect()
        });
        removed.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defence_is_found_by_its_name() {
        for defence in Defence::ALL {
            assert_eq!(Defence::named(defence.name()), Some(defence));
            assert!(!defence.removed(), "{}", defence.name());
        }
    }
}
