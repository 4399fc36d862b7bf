//! Recovery: what a shard's folders hold after a stop, a crash or a power cut.
//!
//! Runs on the shard before anything else. The [census](Census) looks, this file acts. The checkpoint
//! says where the log ended when it was written; only what follows is read. Without a checkpoint the
//! whole log is. A start that is refused leaves every file as it was.
//!
//! | file                                         | becomes                                       |
//! |----------------------------------------------|-----------------------------------------------|
//! | blank or released                            | a spare                                       |
//! | every group's cursor is behind it            | a spare, marked as released                   |
//! | holds no block                               | a spare                                       |
//! | a segment by its header, or by its blocks    | a segment of the log                          |
//! | anything else                                | renamed `.damaged-N`, named in the log, kept  |
//!
//! The log goes on in a new segment, so nothing is ever written behind a torn tail.

use std::path::{Path, PathBuf};

use super::census::{Census, Content, FileError};
use super::checkpoint::ShardCheckpoint;
use super::header::SEGMENT_HEADER_BYTES;
use super::reader::{Found, LogReader, Lost, ReadError};
use super::segment_list::SegmentList;
use super::segments::mark_released;
use super::shared::{LogPosition, SegmentInfo};
use crate::channel::consumer::DeliveredTo;
use crate::reactor::{Defence, Ground};

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
}

/// Why a shard's log cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A file or folder cannot be read or made.
    #[error(transparent)]
    File(#[from] FileError),
    /// A segment was written by another version of the format.
    #[error(
        "{path}: format version {version} is not the one this flumen reads and writes; start the version \
         that wrote it, or move the file away"
    )]
    Version {
        /// The segment.
        path: PathBuf,
        /// What it says.
        version: u32,
    },
    /// Two segments have one id.
    #[error(
        "segment {segment} is there twice, as {one} and as {other}: a data directory was missing for one \
         start and is back. Move one of the two away; what it holds can be delivered by a start of its own"
    )]
    Twins {
        /// The id.
        segment: u64,
        /// One file.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A segment cannot be read.
    #[error("the log cannot be read to its end")]
    Read(#[from] ReadError),
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
    for directory in directories {
        ground
            .create_directory(directory)
            .await
            .map_err(FileError::when("creating the folder", directory))?;
    }
    let census = Census::take(ground, shard, directories).await?;
    // Whoever is refused finds everything as it was.
    refuse(&census)?;
    let spares = settle(ground, shard, &census).await?;
    let segments = census.segments();
    let mut log = Log {
        next_segment: census.next_segment(),
        segments,
        spares,
    };
    let written = checkpoint;
    let checkpoint = checkpoint
        .filter(|entry| log.segments.knows(entry) || ground.lacks(Defence::CheckpointFits));
    for segment in log.release(checkpoint, groups) {
        match mark_released(ground, shard, &segment).await {
            Ok(()) => log.spares.push(segment.path),
            // What it holds was delivered; a disk that refuses it must not keep the agent from starting.
            Err(error) => tracing::warn!(
                "segment {}: it is released and cannot be marked so: {error}; it is left as it is, and not used again",
                segment.path.display()
            ),
        }
    }

    let begin = checkpoint.map_or_else(|| log.segments.first_position(), |entry| entry.end);
    let total_bytes = log.segments.bytes_from(begin);
    let mut reader = LogReader::new(ground.clone(), log.segments.clone(), shard, begin);
    let mut end = begin;
    // One bad sector must not keep the agent from starting: it costs its block.
    reader.pass_unreadable(!ground.lacks(Defence::PassUnreadable));
    let (mut lost, mut scanned_bytes) = (Vec::new(), 0);
    while let Found::Block {
        block,
        next,
        lost: gap,
    } = reader.next(u64::MAX).await?
    {
        lost.extend(gap);
        scanned_bytes += next.offset.saturating_sub(block.offset);
        progress(scanned_bytes, total_bytes);
        end = next;
    }
    // A segment that was begun and holds nothing still took its numbers.
    if let Some(last) = log.segments.as_slice().last() {
        end.sequence = end.sequence.max(last.first_sequence);
        end.event = end.event.max(last.first_event);
    }
    if let Some(written) = written.filter(|_| !ground.lacks(Defence::NumbersOnce)) {
        end = log.outnumber(written, checkpoint.is_some(), end, shard);
    }
    log.drop_empty(end);
    // Where nothing is left of the log, what the checkpoint calls undelivered is lost, and counted.
    let checkpoint = match log.segments.as_slice() {
        [] => written,
        [..] => checkpoint,
    };
    let cursors = log.cursors(checkpoint, groups, end);
    Ok(Recovered {
        end,
        next_segment: log.next_segment,
        next_slot: census.next_slot(),
        cursors,
        segments: log.segments.into_vec(),
        spares: log.spares,
        lost,
    })
}

/// What must not be started on.
fn refuse(census: &Census) -> Result<(), RecoveryError> {
    for file in &census.files {
        if let Content::OtherVersion { version } = file.content {
            return Err(RecoveryError::Version {
                path: file.path.clone(),
                version,
            });
        }
    }
    match census.segments().twins().next() {
        Some((one, other)) => Err(RecoveryError::Twins {
            segment: one.id,
            one: one.path.clone(),
            other: other.path.clone(),
        }),
        None => Ok(()),
    }
}

/// Removes what was never finished, sets aside what has no header of this shard, and returns the
/// spares.
async fn settle<G: Ground>(
    ground: &G,
    shard: u32,
    census: &Census,
) -> Result<Vec<PathBuf>, FileError> {
    let mut spares = Vec::new();
    for file in &census.files {
        let path = &file.path;
        if let Some(reason) = &file.header_damage {
            tracing::error!(
                "segment {}: its header cannot be used: {reason}. The file is known by its blocks, and \
                 what they hold is delivered. Look at the disk",
                path.display()
            );
        }
        match &file.content {
            Content::Segment(_) => {}
            Content::Spare => spares.push(path.clone()),
            Content::Unfinished => {
                tracing::info!(
                    "segment {}: its creation was cut short; removed",
                    path.display()
                );
                ground
                    .remove(path)
                    .await
                    .map_err(FileError::when("removing", path))?;
            }
            // Left where it is it would come back one day, under numbers that were given again.
            Content::Unreadable(error) => {
                let reason = format!("it cannot be read: {error}; look at the disk");
                quarantine(ground, path, &reason, census).await;
            }
            Content::Foreign { shard: owner } => {
                let reason = format!("it belongs to shard {owner}, not to shard {shard}");
                quarantine(ground, path, &reason, census).await;
            }
            Content::Damaged(reason) => {
                quarantine(ground, path, &reason.to_string(), census).await;
            }
            Content::OtherVersion { .. } => unreachable!("refused above"),
        }
    }
    Ok(spares)
}

/// What recovery goes on with.
#[derive(Debug)]
struct Log {
    segments: SegmentList,
    spares: Vec<PathBuf>,
    next_segment: u64,
}

impl Log {
    /// Takes out the segments that every group has passed.
    fn release(
        &mut self,
        checkpoint: Option<&ShardCheckpoint>,
        groups: &[String],
    ) -> Vec<SegmentInfo> {
        let count = self.segments.released(checkpoint, groups);
        self.segments.take_first(count)
    }

    /// No number that the checkpoint has seen is given again, whatever is missing today.
    fn outnumber(
        &mut self,
        written: &ShardCheckpoint,
        is_known: bool,
        end: LogPosition,
        shard: u32,
    ) -> LogPosition {
        self.next_segment = self.next_segment.max(written.end.segment + 1);
        let delivered = |event: u64| {
            written
                .cursors
                .iter()
                .all(|(_, cursor)| cursor.event == event)
        };
        let is_missed = !self.segments.as_slice().is_empty() || !delivered(written.end.event);
        let is_there = |segment: &SegmentInfo| segment.id == written.end.segment;
        let is_there = self.segments.as_slice().iter().any(is_there);
        if !is_known && !is_there && written.end.segment > 0 && is_missed {
            tracing::error!(
                "shard {shard}: the checkpoint speaks of segment {}, which is not there: is a data \
                 directory not mounted? The whole log that is there is delivered, what was delivered \
                 before included",
                written.end.segment
            );
        }
        let mut sequence = end.sequence.max(written.end.sequence);
        let event = end.event.max(written.end.event);
        if event > end.event {
            // Events that no block holds would wait for ever: a gap of events is a gap of blocks.
            sequence = sequence.max(end.sequence + 1);
        }
        // A segment that is missing today may be back tomorrow: then what is appended now follows it.
        let chain = match written.end.sequence > end.sequence {
            true => written.end.chain,
            false => end.chain,
        };
        LogPosition {
            sequence,
            event,
            chain,
            ..end
        }
    }

    /// Segments at the end that hold no block are spares.
    fn drop_empty(&mut self, end: LogPosition) {
        while let Some(last) = self.segments.take_last_empty(end.sequence) {
            self.spares.push(last.path);
        }
    }

    fn cursors(
        &self,
        checkpoint: Option<&ShardCheckpoint>,
        groups: &[String],
        end: LogPosition,
    ) -> Vec<(String, DeliveredTo)> {
        let first = self.segments.as_slice().first();
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
                .and_then(|entry| entry.cursor(group))
                .unwrap_or(oldest);
            let behind_end = known.event <= end.event && known.block <= end.sequence;
            // A cursor in front of the oldest segment stays there: what is missing between the two was
            // not delivered, and the drain counts it. Segments are let go when both generations of the
            // checkpoint have passed them, so nothing else is missing.
            let cursor = match behind_end {
                true => known,
                false => DeliveredTo {
                    event: end.event,
                    block: end.sequence,
                    segment: 0,
                    offset: 0,
                },
            };
            (group.clone(), cursor)
        };
        groups.iter().map(cursor).collect()
    }
}

/// Sets a file aside under a name that is not taken.
async fn quarantine<G: Ground>(ground: &G, path: &Path, reason: &str, census: &Census) {
    let aside = census.name_aside(path);
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
