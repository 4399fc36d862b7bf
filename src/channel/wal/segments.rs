//! The segment files of one shard: where the next one comes from, and where released ones go.
//!
//! Lives on the shard, used by its appender and its housekeeping. Files are fixed in size, written
//! once before they are used and then recycled: writing into initialised extents changes no file
//! system metadata, which doubled the speed of small flushes in the measurements this design rests on.
//! A directory whose device failed is left alone for a while and then tried again.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::header::{NUMBER_MAX, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::patience::{no_answer, patiently};
use super::shared::{LogPosition, SegmentInfo};
use crate::limits;
use crate::reactor::{DiskFile, Fill, Ground, WriteBuffer};

/// A failed directory is tried again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What decides where segments lie and how large they are.
#[derive(Debug, Clone)]
pub struct SegmentPlan {
    /// Shard number.
    pub shard: u32,
    /// This shard's folder in each data directory.
    pub directories: Vec<PathBuf>,
    /// Size of a new segment.
    pub segment_bytes: u64,
    /// `minimumRequiredSpace`: left free on each data directory's file system.
    pub minimum_required_space: u64,
    /// Files this shard may have, when `capacityBytes` bounds the log.
    pub segment_count_max: Option<usize>,
}

/// Why there is no next segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Creating one would leave less than `minimumRequiredSpace` free.
    #[error("{directory}: only {free_bytes} bytes remaining, required {required_bytes} bytes")]
    NoSpace {
        /// The directory with the most room.
        directory: PathBuf,
        /// Free there.
        free_bytes: u64,
        /// What a new segment needs, with the reserve.
        required_bytes: u64,
    },
    /// `capacityBytes` is used up by segments that still wait for a sink.
    #[error("capacityBytes is used up by {segment_count} segments of {segment_bytes} bytes")]
    Full {
        /// Files of this shard.
        segment_count: usize,
        /// Size of each.
        segment_bytes: u64,
    },
    /// Every directory failed.
    #[error("{path}: {operation} failed")]
    Device {
        /// File or directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Every directory failed a short time ago and is left alone.
    #[error("every data directory failed less than {} s ago", RETRY_AFTER.as_secs())]
    Resting,
}

/// A segment open for appending.
#[derive(Debug)]
pub(super) struct ActiveSegment<F> {
    pub(super) file: Rc<F>,
    pub(super) info: SegmentInfo,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    failed_at: Option<Duration>,
    /// Less than the reserve is free there.
    is_low: bool,
    /// Operations that somebody gave up waiting for and that still run.
    hanging: u32,
}

#[derive(Debug)]
struct State {
    directories: Vec<Directory>,
    /// Where to look first, so that segments spread over the disks.
    turn: usize,
    next_slot: u64,
    next_segment: u64,
    spares: Vec<PathBuf>,
    /// Segments and spares of this shard.
    file_count: usize,
}

/// Makes, recycles and removes one shard's segments.
#[derive(Debug)]
pub(super) struct Segments<G> {
    ground: G,
    plan: SegmentPlan,
    state: RefCell<State>,
}

impl<G: Ground> Segments<G> {
    /// `spares` are files that recovery found free; `next_segment` and `next_slot` are unused.
    pub(super) fn new(
        ground: G,
        plan: SegmentPlan,
        next_segment: u64,
        next_slot: u64,
        spares: Vec<PathBuf>,
        file_count: usize,
    ) -> Self {
        let directories = plan.directories.iter();
        let directories = directories
            .map(|path| Directory {
                path: path.clone(),
                failed_at: None,
                is_low: false,
                hanging: 0,
            })
            .collect();
        let state = State {
            directories,
            turn: 0,
            next_slot,
            next_segment,
            spares,
            file_count,
        };
        Self {
            ground,
            plan,
            state: RefCell::new(state),
        }
    }

    /// Opens the next segment for the block that will be written at `end`: a spare one, else a new
    /// one that is only allocated, because somebody waits for it.
    pub(super) async fn open_next(
        self: &Rc<Self>,
        end: LogPosition,
    ) -> Result<ActiveSegment<G::File>, SegmentError> {
        let mut last_error = SegmentError::Resting;
        let directory_count = self.state.borrow().directories.len();
        for _ in 0..=directory_count {
            let spare = self.take_spare();
            let recycled = spare.is_some();
            let path = match spare {
                Some(path) => path,
                None => match self.place_for_new() {
                    Ok(path) => path,
                    Err(error) => {
                        if !matches!(error, SegmentError::Resting) {
                            last_error = error;
                        }
                        break;
                    }
                },
            };
            let begun = Box::pin(Rc::clone(self).begin(path.clone(), recycled, end));
            let source = match patiently(&self.ground, begun).await {
                Ok(Ok(active)) => return Ok(active),
                Ok(Err(error)) => {
                    self.not_begun(&path, recycled, &error).await;
                    error
                }
                Err(begun) => {
                    let (segments, path) = (Rc::clone(self), path.clone());
                    self.let_run(&path.clone(), async move {
                        match begun.await {
                            // It got a number that the log has passed meanwhile.
                            Ok(active) => segments.recycle(active.info).await,
                            Err(error) => segments.not_begun(&path, recycled, &error).await,
                        }
                    });
                    no_answer()
                }
            };
            tracing::error!(
                "segment {}: {source}; the next data directory is tried",
                path.display()
            );
            last_error = SegmentError::Device {
                path,
                operation: "opening",
                source,
            };
        }
        Err(last_error)
    }

    /// The segment at `path` could not be begun.
    async fn not_begun(&self, path: &Path, recycled: bool, error: &io::Error) {
        self.failed(path);
        if recycled {
            // Left where it is: recovery looks at it again.
            self.state.borrow_mut().file_count -= 1;
        } else {
            self.discard_unfinished(path, error).await;
        }
    }

    async fn begin(
        self: Rc<Self>,
        path: PathBuf,
        recycled: bool,
        end: LogPosition,
    ) -> io::Result<ActiveSegment<G::File>> {
        let file = match recycled {
            true => self.ground.open(&path).await?,
            false => {
                self.ground
                    .create(&path, self.plan.segment_bytes, Fill::Allocated)
                    .await?
            }
        };
        let bytes = file.size().await?;
        if bytes < self.ground.bounds().segment_bytes_min {
            // A crash cut its creation short, or somebody else made it.
            return Err(io::Error::other(format!(
                "a segment of {bytes} bytes is too short"
            )));
        }
        let segment = self.state.borrow().next_segment;
        self.state.borrow_mut().next_segment += 1;
        let header = SegmentHeader {
            shard: self.plan.shard,
            segment,
            epoch: self.ground.random(),
            segment_bytes: bytes,
            first_sequence: end.sequence,
            first_event: end.event,
            chain: end.chain,
        };
        write_header(&self.ground, &file, &header, true).await?;
        let info = SegmentInfo {
            id: segment,
            epoch: header.epoch,
            path,
            bytes,
            first_sequence: end.sequence,
            first_event: end.event,
            failed: false,
        };
        Ok(ActiveSegment {
            file: Rc::new(file),
            info,
        })
    }

    /// The device under `path` failed: its directory rests, and its spares are not used.
    pub(super) fn failed(&self, path: &Path) {
        let now = self.ground.now();
        let mut state = self.state.borrow_mut();
        for directory in &mut state.directories {
            if path.starts_with(&directory.path) {
                directory.failed_at = Some(now);
            }
        }
    }

    /// The device under `path` does not answer: its directory rests until it does. `operation` is what
    /// nobody waits for any more, and what is to be done with its outcome.
    pub(super) fn let_run(
        self: &Rc<Self>,
        path: &Path,
        operation: impl Future<Output = ()> + 'static,
    ) {
        self.failed(path);
        let at = self.directory_of(path);
        self.state.borrow_mut().directories[at].hanging += 1;
        let segments = Rc::clone(self);
        self.ground.spawn(async move {
            operation.await;
            let directory = &mut segments.state.borrow_mut().directories[at];
            directory.hanging -= 1;
            tracing::warn!("{} answers again", directory.path.display());
        });
    }

    /// Whether something in the directory of `path` was given up and still runs.
    pub(super) fn hangs(&self, path: &Path) -> bool {
        self.state.borrow().directories[self.directory_of(path)].hanging > 0
    }

    fn directory_of(&self, path: &Path) -> usize {
        let state = self.state.borrow();
        let mut directories = state.directories.iter();
        directories
            .position(|directory| path.starts_with(&directory.path))
            .expect("every segment is in a data directory")
    }

    fn take_spare(&self) -> Option<PathBuf> {
        let now = self.ground.now();
        let mut state = self.state.borrow_mut();
        let State {
            directories,
            spares,
            ..
        } = &mut *state;
        let healthy = |path: &PathBuf| {
            directories
                .iter()
                .all(|dir| !dir.rests(now) || !path.starts_with(&dir.path))
        };
        let at = spares.iter().position(healthy)?;
        Some(spares.remove(at))
    }

    /// A path for a new segment, in the next healthy directory that has room.
    fn place_for_new(&self) -> Result<PathBuf, SegmentError> {
        let now = self.ground.now();
        let required_bytes = self.plan.segment_bytes + self.plan.minimum_required_space;
        let segment_count = self.state.borrow().file_count;
        if self
            .plan
            .segment_count_max
            .is_some_and(|max| segment_count >= max)
        {
            let segment_bytes = self.plan.segment_bytes;
            return Err(SegmentError::Full {
                segment_count,
                segment_bytes,
            });
        }
        let mut roomiest: Option<(u64, PathBuf)> = None;
        let count = self.state.borrow().directories.len();
        for _ in 0..count {
            let directory = {
                let mut state = self.state.borrow_mut();
                let turn = state.turn % count;
                state.turn += 1;
                let directory = &state.directories[turn];
                if directory.rests(now) {
                    continue;
                }
                directory.path.clone()
            };
            match self.ground.free_bytes(&directory) {
                Ok(free_bytes) if free_bytes >= required_bytes => {
                    let mut state = self.state.borrow_mut();
                    let slot = state.next_slot;
                    state.next_slot += 1;
                    state.file_count += 1;
                    return Ok(directory.join(segment_file_name(slot)));
                }
                Ok(free_bytes) => {
                    if roomiest.as_ref().is_none_or(|(most, _)| free_bytes > *most) {
                        roomiest = Some((free_bytes, directory));
                    }
                }
                Err(error) => {
                    tracing::error!("data directory {}: {error}", directory.display());
                    self.failed(&directory);
                }
            }
        }
        Err(
            roomiest.map_or(SegmentError::Resting, |(free_bytes, directory)| {
                SegmentError::NoSpace {
                    directory,
                    free_bytes,
                    required_bytes,
                }
            }),
        )
    }

    /// Makes a written spare if there are fewer than `spares_wanted`, so that the next roll finds one.
    pub(super) async fn prepare_spare(&self, spares_wanted: usize) -> Result<(), SegmentError> {
        if self.state.borrow().spares.len() >= spares_wanted {
            return Ok(());
        }
        let path = self.place_for_new()?;
        let created = self
            .ground
            .create(&path, self.plan.segment_bytes, Fill::Written)
            .await;
        match created {
            Ok(file) => {
                drop(file);
                self.state.borrow_mut().spares.push(path);
                Ok(())
            }
            Err(source) => {
                self.failed(&path);
                self.discard_unfinished(&path, &source).await;
                Err(SegmentError::Device {
                    path,
                    operation: "writing zeros",
                    source,
                })
            }
        }
    }

    /// Takes back a segment whose every block is released. It is marked, so that a restart without a
    /// checkpoint does not deliver its events once more.
    pub(super) async fn recycle(&self, segment: SegmentInfo) {
        let fits = segment.bytes == self.plan.segment_bytes && !segment.failed;
        if !fits || self.state.borrow().spares.len() >= limits::SPARES_MAX {
            self.discard(&segment.path).await;
            return;
        }
        match mark_released(&self.ground, self.plan.shard, &segment).await {
            Ok(()) => self.state.borrow_mut().spares.push(segment.path),
            Err(error) => {
                tracing::error!(
                    "segment {}: {error}; it is not used again",
                    segment.path.display()
                );
                self.failed(&segment.path);
                self.state.borrow_mut().file_count -= 1;
            }
        }
    }

    /// Segments that wait to be used.
    pub(super) fn spare_count(&self) -> usize {
        self.state.borrow().spares.len()
    }

    /// Removes spares beyond those worth keeping. On a disk that is nearly full that is one: another
    /// shard may need the room to go on at all. Below the reserve, which two shards that make a segment
    /// at the same time can get to, it is none: spares must not be what keeps batches refused.
    pub(super) async fn trim_spares(&self) {
        let reserve_bytes = self.plan.minimum_required_space;
        self.keep_spares(Path::new(""), limits::SPARES_MAX).await;
        for directory in &self.plan.directories {
            let spares_max = match self.ground.free_bytes(directory) {
                Ok(free_bytes) if free_bytes < reserve_bytes => 0,
                Ok(free_bytes) if free_bytes < reserve_bytes + self.plan.segment_bytes => 1,
                _ => continue,
            };
            self.keep_spares(directory, spares_max).await;
        }
    }

    /// Removes the spares below `directory` beyond `spares_max`.
    async fn keep_spares(&self, directory: &Path, spares_max: usize) {
        loop {
            let surplus = {
                let spares = &mut self.state.borrow_mut().spares;
                let there = (0..spares.len()).filter(|at| spares[*at].starts_with(directory));
                there
                    .skip(spares_max)
                    .last()
                    .map(|surplus| spares.remove(surplus))
            };
            let Some(surplus) = surplus else {
                return;
            };
            self.discard(&surplus).await;
        }
    }

    /// Removes what a failed creation left, unless the file was there before: then it is not ours.
    async fn discard_unfinished(&self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::AlreadyExists {
            self.state.borrow_mut().file_count -= 1;
        } else {
            self.discard(path).await;
        }
    }

    /// Removes a file that holds nothing anybody needs.
    async fn discard(&self, path: &Path) {
        self.state.borrow_mut().file_count -= 1;
        if let Err(error) = self.ground.remove(path).await {
            tracing::warn!("segment {}: cannot be removed: {error}", path.display());
        }
    }

    /// Looks at the room in each data directory: one below the reserve gets no new segments, and the
    /// log goes on in the others. When all are below it: the one with the most room, and its free
    /// bytes.
    pub(super) fn look_for_room(&self) -> Option<(PathBuf, u64)> {
        let required_bytes = self.plan.minimum_required_space;
        let mut roomiest: Option<(PathBuf, u64)> = None;
        for directory in &mut self.state.borrow_mut().directories {
            let Ok(free_bytes) = self.ground.free_bytes(&directory.path) else {
                continue;
            };
            directory.show_room(free_bytes, required_bytes);
            if roomiest.as_ref().is_none_or(|(_, most)| free_bytes > *most) {
                roomiest = Some((directory.path.clone(), free_bytes));
            }
        }
        roomiest.filter(|(_, free_bytes)| *free_bytes < required_bytes)
    }

    pub(super) fn plan(&self) -> &SegmentPlan {
        &self.plan
    }
}

impl Directory {
    /// Says so once when the reserve is touched, and once when it is free again.
    fn show_room(&mut self, free_bytes: u64, required_bytes: u64) {
        let is_low = free_bytes < required_bytes;
        if is_low == std::mem::replace(&mut self.is_low, is_low) {
            return;
        }
        let path = self.path.display();
        if is_low {
            tracing::warn!(
                "data directory {path}: only {free_bytes} bytes remaining, required {required_bytes} \
                 bytes: no new segments are made there. Make room on its disk"
            );
        } else {
            tracing::info!(
                "data directory {path}: {free_bytes} bytes are free, and it is used again"
            );
        }
    }

    fn rests(&self, now: Duration) -> bool {
        self.hanging > 0
            || self
                .failed_at
                .is_some_and(|failed_at| now < failed_at + RETRY_AFTER)
    }
}

/// Marks a segment that every group has passed, so that no later start takes it for a part of the log.
/// A mark, not zeros: those are what a sector may lose its content to.
pub(super) async fn mark_released<G: Ground>(
    ground: &G,
    shard: u32,
    segment: &SegmentInfo,
) -> io::Result<()> {
    let header = SegmentHeader {
        shard,
        segment: segment.id,
        epoch: segment.epoch,
        segment_bytes: segment.bytes,
        first_sequence: segment.first_sequence,
        first_event: segment.first_event,
        chain: 0,
    };
    let file = ground.open(&segment.path).await?;
    write_header(ground, &file, &header, false).await
}

async fn write_header<G: Ground>(
    ground: &G,
    file: &G::File,
    header: &SegmentHeader,
    is_in_use: bool,
) -> io::Result<()> {
    let length = usize::try_from(SEGMENT_HEADER_BYTES).expect("one sector");
    let mut buffer = ground.buffer(length);
    buffer.bytes_mut()[..length].fill(0);
    match is_in_use {
        true => header.encode(buffer.bytes_mut()),
        false => header.encode_released(buffer.bytes_mut()),
    }
    let (result, _buffer) = file.write_durable(buffer, length, 0).await;
    result
}

/// The name of a segment file. The slot is the file's, not the log's: a recycled file keeps it.
#[must_use]
pub fn segment_file_name(slot: u64) -> String {
    format!("segment-{slot:08}.wal")
}

/// The slot in a segment file's name.
#[must_use]
pub fn slot_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let slot = name.strip_prefix("segment-")?.strip_suffix(".wal")?;
    let slot: u64 = slot.parse().ok()?;
    // A number that leaves no room for the next one is not ours.
    (slot <= NUMBER_MAX).then_some(slot)
}
