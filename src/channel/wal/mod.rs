//! The write-ahead log behind `type = file`.
//!
//! A log's words: a **block** is one group commit; blocks lie in **segments**, files of fixed size that
//! are recycled; the **appender** makes blocks durable; the **reader** reads them back; a **cursor**
//! is how far a consumer group has come; a segment that all cursors have passed is **released**. In the
//! order of a batch: `appender` → `header`, `segments` → `shared` → `feed`, `reader` → `checkpoint`;
//! `lock`, `roster`, `census` and `recovery` come before it all. `docs/FORMAT.md` has every byte.

mod appender;
mod census;
mod checkpoint;
mod claim;
mod feed;
mod gather;
mod header;
mod lock;
mod open;
mod patience;
mod reader;
mod recovery;
#[cfg(test)]
mod room_tests;
mod roster;
mod segment_list;
mod segments;
pub(crate) mod shared;
#[cfg(test)]
mod tests;

pub use appender::{AppendMeters, Appender};
pub use census::{Census, Content, FileError, SegmentFile};
pub use checkpoint::{Checkpoint, CheckpointWriter, ShardCheckpoint};
pub use feed::WalFeed;
pub use header::{
    BLOCK_HEADER_BYTES, BLOCK_MAGIC, BlockHeader, FORMAT_VERSION, HeaderError,
    SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SegmentHeader, block_bytes,
};
pub use lock::{DirectoryLock, LockError};
pub use open::{OpenError, ShardLog, WalPlan, open_shard, shard_folder, shards_on_disk};
pub use reader::{Found, LogReader, Lost, ReadError, SegmentTable};
pub use recovery::{Recovered, RecoveryError, recover};
pub use roster::{RosterError, call_the_roll};
pub use segment_list::SegmentList;
pub use segments::{SegmentError, SegmentPlan, segment_file_name};
pub use shared::{GroupLink, LogPosition, LogShared, SegmentInfo, Usage};
