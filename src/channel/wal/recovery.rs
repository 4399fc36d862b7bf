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
use super::segments::{slot_of, write_header};
use super::shared::{LogPosition, SegmentInfo};
use crate::channel::consumer::DeliveredTo;
use crate::reactor::{Defence, DiskFile, Ground};

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

    fn first(&self) -> Option<SegmentInfo> {
        self.0.first().cloned()
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
    census.refuse_twins()?;
    let written = checkpoint;
    let checkpoint =
        checkpoint.filter(|entry| census.knows(entry) || ground.lacks(Defence::CheckpointFits));
    for path in census.release(checkpoint, groups) {
        blank(ground, &path).await?;
        census.spares.push(path);
    }

    let begin = checkpoint.map_or_else(|| census.first_position(), |entry| entry.end);
    let total_bytes = census.bytes_from(begin);
    let table = SegmentList(census.segments.clone());
    let mut reader = LogReader::new(ground.clone(), table, shard, begin);
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
    if let Some(last) = census.segments.last() {
        end.sequence = end.sequence.max(last.first_sequence);
        end.event = end.event.max(last.first_event);
    }
    if let Some(written) = written.filter(|_| !ground.lacks(Defence::NumbersOnce)) {
        end = census.outnumber(written, checkpoint.is_some(), end, shard);
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
        for path in paths.clone() {
            let Some(slot) = slot_of(&path) else { continue };
            self.next_slot = self.next_slot.max(slot + 1);
            match look_at(ground, shard, &path).await? {
                File::Segment(segment) => {
                    self.next_segment = self.next_segment.max(segment.id + 1);
                    self.segments.push(segment);
                }
                File::Spare => self.spares.push(path),
                File::Unfinished => {
                    tracing::info!(
                        "segment {}: its creation was cut short; removed",
                        path.display()
                    );
                    ground
                        .remove(&path)
                        .await
                        .map_err(io_error("removing", &path))?;
                }
                File::Unreadable(error) => tracing::error!(
                    "segment {}: its header cannot be read: {error}. What it holds is not delivered; the \
                     file is left as it is. Look at the disk",
                    path.display()
                ),
                File::Damaged(reason) => quarantine(ground, &path, &reason, &paths).await,
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

    /// Two files with one id: a disk came back that was missing when its number was given again.
    fn refuse_twins(&self) -> Result<(), RecoveryError> {
        for pair in self.segments.windows(2) {
            if let [one, other] = pair
                && one.id == other.id
            {
                return Err(RecoveryError::Twins {
                    segment: one.id,
                    one: one.path.clone(),
                    other: other.path.clone(),
                });
            }
        }
        Ok(())
    }

    /// Takes out the segments that every group has passed.
    fn release(&mut self, checkpoint: Option<&ShardCheckpoint>, groups: &[String]) -> Vec<PathBuf> {
        let Some(entry) = checkpoint else {
            return Vec::new();
        };
        let cursors = groups.iter().map(|group| cursor_of(entry, group));
        // A group without a cursor is new: it gets what is still there.
        let Some(Some(released)) = cursors.map(|cursor| cursor.map(|c| c.block)).min() else {
            return Vec::new();
        };
        let count = self
            .segments
            .windows(2)
            .take_while(|pair| matches!(pair, [_, next] if next.first_sequence <= released))
            .count();
        self.segments
            .drain(..count)
            .map(|segment| segment.path)
            .collect()
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
        if !is_known && written.end.segment > 0 && !self.segments.is_empty() {
            tracing::error!(
                "shard {shard}: the checkpoint speaks of segment {}, which is not there: is a data \
                 directory not mounted? The whole log that is there is delivered, what was delivered \
                 before included",
                written.end.segment
            );
        }
        LogPosition {
            sequence: end.sequence.max(written.end.sequence),
            event: end.event.max(written.end.event),
            ..end
        }
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
            let cursor = if known.event < oldest.event || known.block < oldest.block {
                DeliveredTo {
                    event: known.event.max(oldest.event),
                    ..oldest
                }
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

/// What a file in a shard's folder is.
enum File {
    Segment(SegmentInfo),
    Spare,
    /// Too short to have been used, and blank: a crash cut its creation short.
    Unfinished,
    /// The medium refuses its header.
    Unreadable(io::Error),
    Damaged(String),
}

/// Looks at the header of `path`. Errors that say nothing about the data (no right, no descriptor)
/// and formats of another version stop the start: nothing is set aside for them.
async fn look_at<G: Ground>(ground: &G, shard: u32, path: &Path) -> Result<File, RecoveryError> {
    let io_error = |operation| {
        let path = path.to_path_buf();
        move |source| RecoveryError::Io {
            path,
            operation,
            source,
        }
    };
    let file = ground.open(path).await.map_err(io_error("opening"))?;
    let bytes = file.size().await.map_err(io_error("asking for the size"))?;
    let length = usize::try_from(SEGMENT_HEADER_BYTES).expect("one sector");
    let header = match file.read(0, length).await {
        Ok(header) => header,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            return Ok(File::Unreadable(error));
        }
        Err(error) => return Err(io_error("reading the header")(error)),
    };
    let is_short = bytes < ground.bounds().segment_bytes_min;
    match SegmentHeader::decode(&header) {
        Ok(header) if header.shard != shard => Ok(File::Damaged(format!(
            "it belongs to shard {}, not to shard {shard}",
            header.shard
        ))),
        Ok(header) => Ok(File::Segment(SegmentInfo {
            id: header.segment,
            epoch: header.epoch,
            path: path.to_path_buf(),
            bytes: bytes.min(header.segment_bytes),
            first_sequence: header.first_sequence,
            first_event: header.first_event,
            failed: false,
        })),
        Err(HeaderError::Version { version }) => Err(RecoveryError::Version {
            path: path.to_path_buf(),
            version,
        }),
        Err(_) if is_short && header.iter().all(|byte| *byte == 0) => Ok(File::Unfinished),
        Err(HeaderError::Blank) => Ok(File::Spare),
        Err(error) => Ok(File::Damaged(error.to_string())),
    }
}

/// Blanks the header of a released segment, so that no later start takes it for a part of the log.
async fn blank<G: Ground>(ground: &G, path: &Path) -> Result<(), RecoveryError> {
    let blanked = async {
        let file = ground.open(path).await?;
        write_header(ground, &file, None).await
    };
    blanked.await.map_err(|source| RecoveryError::Io {
        path: path.to_path_buf(),
        operation: "blanking a released segment",
        source,
    })
}

/// Sets a file aside under a name that is not taken.
async fn quarantine<G: Ground>(ground: &G, path: &Path, reason: &str, taken: &[PathBuf]) {
    let aside = (0..)
        .map(|number: u32| path.with_extension(format!("damaged-{number}")))
        .find(|name| !taken.contains(name))
        .expect("a folder holds fewer files than there are numbers");
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
