//! Recovery: what a shard's folders hold after a stop, a crash or a power cut.
//!
//! Runs on the shard before anything else. The checkpoint says where the log ended when it was
//! written; only what follows is read. Without a checkpoint the whole log is.
//!
//! | file                                         | becomes                                       |
//! |----------------------------------------------|-----------------------------------------------|
//! | blank header                                 | a spare                                       |
//! | every group's cursor is behind it            | a spare, blanked when it is used              |
//! | holds no block                               | a spare                                       |
//! | valid header of this shard                   | a segment of the log                          |
//! | anything else                                | renamed `.damaged`, named in the log, kept    |
//!
//! The log goes on in a new segment, so nothing is ever written behind a torn tail.

use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::ShardCheckpoint;
use super::header::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::reader::{Found, LogReader, Lost, ReadError, SegmentTable};
use super::segments::slot_of;
use super::shared::{LogPosition, SegmentInfo};
use crate::channel::consumer::DeliveredTo;
use crate::limits;
use crate::reactor::{DiskFile, Ground};

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// Where the log goes on.
    pub end: LogPosition,
    /// Segments that hold blocks somebody may need, in order.
    pub segments: Vec<SegmentInfo>,
    /// Files free for reuse.
    pub spares: Vec<PathBuf>,
    /// The first segment id that was never used.
    pub next_segment: u64,
    /// The first file slot that was never used.
    pub next_slot: u64,
    /// Each wanted group's cursor.
    pub cursors: Vec<(String, DeliveredTo)>,
    /// Damage met on the way. The drain meets it again and counts it.
    pub lost: Vec<Lost>,
    /// Bytes of log that were read.
    pub scanned_bytes: u64,
}

/// Why a shard's log cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A folder cannot be read or made.
    #[error("{path}: {operation} failed")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A segment cannot be read.
    #[error("the log cannot be read to its end")]
    Read(#[from] ReadError),
}

/// A list of segments, oldest first.
#[derive(Debug, Clone)]
struct SegmentList(Vec<SegmentInfo>);

impl SegmentTable for SegmentList {
    fn segment_of(&self, sequence: u64) -> Option<SegmentInfo> {
        let after = self
            .0
            .partition_point(|segment| segment.first_sequence <= sequence);
        self.0.get(after.checked_sub(1)?).cloned()
    }

    fn segment_after(&self, id: u64) -> Option<SegmentInfo> {
        self.0.iter().find(|segment| segment.id > id).cloned()
    }
}

/// Recovers the log of `shard` from its folders. `groups` are the consumer groups of the
/// configuration; one the checkpoint does not know begins at the oldest event still there.
///
/// # Errors
/// [`RecoveryError`].
pub async fn recover<G: Ground>(
    ground: &G,
    shard: u32,
    directories: &[PathBuf],
    checkpoint: Option<&ShardCheckpoint>,
    groups: &[String],
    mut progress: impl FnMut(u64, u64),
) -> Result<Recovered, RecoveryError> {
    let mut census = Census::default();
    for directory in directories {
        census.take(ground, shard, directory).await?;
    }
    census.segments.sort_by_key(|segment| segment.id);
    let checkpoint = checkpoint.filter(|entry| census.knows(entry));
    census.release(checkpoint, groups);

    let begin = checkpoint.map_or_else(|| census.first_position(), |entry| entry.end);
    let total_bytes = census.bytes_from(begin);
    let table = SegmentList(census.segments.clone());
    let mut reader = LogReader::new(ground.clone(), table, shard, begin);
    let mut end = begin;
    let (mut lost, mut scanned_bytes) = (Vec::new(), 0);
    loop {
        match reader.next().await? {
            Found::Block {
                block,
                next,
                lost: gap,
            } => {
                lost.extend(gap);
                scanned_bytes += next.offset.saturating_sub(block.offset);
                progress(scanned_bytes, total_bytes);
                end = next;
            }
            Found::End => break,
        }
    }
    // A segment that was begun and holds nothing still took its numbers.
    if let Some(last) = census.segments.last() {
        end.sequence = end.sequence.max(last.first_sequence);
        end.event = end.event.max(last.first_event);
    }
    census.drop_empty(end);
    let cursors = census.cursors(checkpoint, groups, end);
    Ok(Recovered {
        end,
        next_segment: census.next_segment,
        next_slot: census.next_slot,
        cursors,
        segments: census.segments,
        spares: census.spares,
        lost,
        scanned_bytes,
    })
}

/// The files of a shard's folders.
#[derive(Debug, Default)]
struct Census {
    segments: Vec<SegmentInfo>,
    spares: Vec<PathBuf>,
    next_segment: u64,
    next_slot: u64,
}

impl Census {
    async fn take<G: Ground>(
        &mut self,
        ground: &G,
        shard: u32,
        directory: &Path,
    ) -> Result<(), RecoveryError> {
        let io_error = |operation, path: &Path| {
            let path = path.to_path_buf();
            move |source| RecoveryError::Io {
                path,
                operation,
                source,
            }
        };
        ground
            .create_directory(directory)
            .await
            .map_err(io_error("creating the folder", directory))?;
        let paths = ground
            .list(directory)
            .await
            .map_err(io_error("listing", directory))?;
        for path in paths {
            let Some(slot) = slot_of(&path) else { continue };
            self.next_slot = self.next_slot.max(slot + 1);
            if is_unfinished(ground, &path).await {
                tracing::info!(
                    "segment {}: its creation was cut short; removed",
                    path.display()
                );
                ground
                    .remove(&path)
                    .await
                    .map_err(io_error("removing", &path))?;
                continue;
            }
            match read_header(ground, shard, &path).await {
                Ok(Some(segment)) => {
                    self.next_segment = self.next_segment.max(segment.id + 1);
                    self.segments.push(segment);
                }
                Ok(None) => self.spares.push(path),
                Err(reason) => quarantine(ground, &path, &reason).await,
            }
        }
        Ok(())
    }

    /// Whether the checkpoint's end lies in a segment that is here. Otherwise it speaks of another
    /// log, or of one whose segments were reused since, and a scan is right.
    fn knows(&self, entry: &ShardCheckpoint) -> bool {
        self.segments
            .iter()
            .any(|segment| segment.id == entry.end.segment && segment.epoch == entry.end_epoch)
    }

    /// Segments that every group has passed become spares.
    fn release(&mut self, checkpoint: Option<&ShardCheckpoint>, groups: &[String]) {
        let Some(entry) = checkpoint else { return };
        let cursors = groups.iter().map(|group| cursor_of(entry, group));
        // A group without a cursor is new: it gets what is still there.
        let Some(Some(released)) = cursors.map(|cursor| cursor.map(|c| c.block)).min() else {
            return;
        };
        let count = self
            .segments
            .windows(2)
            .take_while(|pair| matches!(pair, [_, next] if next.first_sequence <= released))
            .count();
        self.spares
            .extend(self.segments.drain(..count).map(|segment| segment.path));
    }

    fn first_position(&self) -> LogPosition {
        self.segments
            .first()
            .map_or_else(LogPosition::default, |first| LogPosition {
                segment: first.id,
                offset: SEGMENT_HEADER_BYTES,
                sequence: first.first_sequence,
                event: first.first_event,
                chain: 0,
            })
    }

    fn bytes_from(&self, begin: LogPosition) -> u64 {
        let rest = self
            .segments
            .iter()
            .filter(|segment| segment.id >= begin.segment);
        rest.map(|segment| segment.bytes)
            .sum::<u64>()
            .saturating_sub(begin.offset)
    }

    /// Segments at the end that hold no block are spares.
    fn drop_empty(&mut self, end: LogPosition) {
        while let Some(last) = self.segments.last() {
            let is_empty = last.first_sequence == end.sequence;
            if !is_empty {
                break;
            }
            let last = self.segments.pop().expect("looked at it");
            self.spares.push(last.path);
        }
    }

    fn cursors(
        &self,
        checkpoint: Option<&ShardCheckpoint>,
        groups: &[String],
        end: LogPosition,
    ) -> Vec<(String, DeliveredTo)> {
        let first = self.segments.first();
        let oldest = first.map_or_else(
            || DeliveredTo {
                event: end.event,
                block: end.sequence,
                segment: 0,
                offset: 0,
            },
            |first| DeliveredTo {
                event: first.first_event,
                block: first.first_sequence,
                segment: first.id,
                offset: SEGMENT_HEADER_BYTES,
            },
        );
        let cursor = |group: &String| {
            let known = checkpoint
                .and_then(|entry| cursor_of(entry, group))
                .unwrap_or(oldest);
            let behind_end = known.event <= end.event && known.block <= end.sequence;
            let cursor = if known.event < oldest.event {
                oldest
            } else if behind_end {
                known
            } else {
                DeliveredTo {
                    event: end.event,
                    block: end.sequence,
                    segment: 0,
                    offset: 0,
                }
            };
            (group.clone(), cursor)
        };
        groups.iter().map(cursor).collect()
    }
}

fn cursor_of(entry: &ShardCheckpoint, group: &str) -> Option<DeliveredTo> {
    entry
        .cursors
        .iter()
        .find(|(name, _)| name == group)
        .map(|(_, cursor)| *cursor)
}

/// Whether the file is too short to have been used: a crash cut its creation short.
async fn is_unfinished<G: Ground>(ground: &G, path: &Path) -> bool {
    let size = async { ground.open(path).await?.size().await };
    matches!(size.await, Ok(bytes) if bytes < limits::SEGMENT_BYTES_MIN)
}

/// The segment that `path` begins with, or none if its header is blank.
async fn read_header<G: Ground>(
    ground: &G,
    shard: u32,
    path: &Path,
) -> Result<Option<SegmentInfo>, String> {
    let read = async {
        let file = ground.open(path).await?;
        let bytes = file.size().await?;
        let length = usize::try_from(SEGMENT_HEADER_BYTES).expect("one sector");
        Ok::<_, io::Error>((bytes, file.read(0, length).await?))
    };
    let (bytes, header) = read.await.map_err(|error| error.to_string())?;
    match SegmentHeader::decode(&header) {
        Ok(header) if header.shard != shard => Err(format!(
            "it belongs to shard {}, not to shard {shard}",
            header.shard
        )),
        Ok(header) => Ok(Some(SegmentInfo {
            id: header.segment,
            epoch: header.epoch,
            path: path.to_path_buf(),
            bytes: bytes.min(header.segment_bytes),
            first_sequence: header.first_sequence,
            first_event: header.first_event,
        })),
        Err(HeaderError::Blank) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

async fn quarantine<G: Ground>(ground: &G, path: &Path, reason: &str) {
    let aside = path.with_extension("damaged");
    let moved = ground.rename(path, &aside).await;
    tracing::error!(
        "segment {}: its header cannot be used: {reason}. What it holds is not delivered. {}",
        path.display(),
        match moved {
            Ok(()) => format!("The file is kept as {}", aside.display()),
            Err(error) => format!("It could not be renamed: {error}"),
        }
    );
}
