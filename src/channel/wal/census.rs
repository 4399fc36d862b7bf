//! The census: which files a shard's folders hold, and what each one's header says it is.
//!
//! Looks and changes nothing, so that recovery, which acts on it, and the tools, which only show it,
//! cannot differ about what they see. Lives as long as the look takes.

use std::io;
use std::path::{Path, PathBuf};

use super::header::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::reader::is_medium;
use super::segment_list::SegmentList;
use super::segments::slot_of;
use super::shared::SegmentInfo;
use crate::limits;
use crate::reactor::{DiskFile, Ground};

/// A file or folder of a log that the system refuses.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {operation} failed")]
pub struct FileError {
    /// File or folder.
    pub path: PathBuf,
    /// What was tried.
    pub operation: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`.
    pub(super) fn when(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self {
            path,
            operation,
            source,
        }
    }
}

/// What a file in a shard's folder is, by its header.
#[derive(Debug)]
pub enum Content {
    /// A segment of this shard's log.
    Segment(SegmentInfo),
    /// Nothing: its header is blank.
    Spare,
    /// Too short to have been used, and blank: a crash cut its creation short.
    Unfinished,
    /// A segment of another shard.
    Foreign {
        /// That shard.
        shard: u32,
    },
    /// A segment in another version of the format.
    OtherVersion {
        /// That version.
        version: u32,
    },
    /// The medium refuses its header.
    Unreadable(io::Error),
    /// No header.
    Damaged(HeaderError),
}

/// One file of a shard's folders.
#[derive(Debug)]
pub struct SegmentFile {
    /// Where it is.
    pub path: PathBuf,
    /// The number in its name.
    pub slot: u64,
    /// How long it is.
    pub bytes: u64,
    /// Its header, where it has one.
    pub header: Option<SegmentHeader>,
    /// What it is.
    pub content: Content,
}

/// The files of a shard's folders.
#[derive(Debug, Default)]
pub struct Census {
    /// Files with the name of a segment, folder by folder, by name.
    pub files: Vec<SegmentFile>,
    /// Everything that lies in the folders.
    pub paths: Vec<PathBuf>,
}

impl Census {
    /// Looks at every file of `folders`, which hold shard `shard`.
    ///
    /// # Errors
    /// Errors that say nothing about the data: no right, no descriptor, no folder.
    pub async fn take<G: Ground>(
        ground: &G,
        shard: u32,
        folders: &[PathBuf],
    ) -> Result<Self, FileError> {
        let mut census = Self::default();
        for folder in folders {
            let paths = ground
                .list(folder)
                .await
                .map_err(FileError::when("listing", folder))?;
            for path in &paths {
                if slot_of(path).is_some() {
                    census
                        .files
                        .push(SegmentFile::look_at(ground, shard, path).await?);
                }
            }
            census.paths.extend(paths);
        }
        Ok(census)
    }

    /// The segments of the log, oldest first.
    #[must_use]
    pub fn segments(&self) -> SegmentList {
        let segments = self.files.iter().filter_map(SegmentFile::segment);
        SegmentList::new(segments.cloned().collect())
    }

    /// The first slot that no file has.
    #[must_use]
    pub fn next_slot(&self) -> u64 {
        self.files
            .iter()
            .map(|file| file.slot + 1)
            .max()
            .unwrap_or(0)
    }

    /// A name under which `path` can be set aside: one that is not taken.
    #[must_use]
    pub fn name_aside(&self, path: &Path) -> PathBuf {
        (0..)
            .map(|number: u32| path.with_extension(format!("damaged-{number}")))
            .find(|name| !self.paths.contains(name))
            .expect("a folder holds fewer files than there are numbers")
    }
}

impl SegmentFile {
    /// The segment that it is, if it is one of this shard's log.
    #[must_use]
    pub fn segment(&self) -> Option<&SegmentInfo> {
        if let Content::Segment(segment) = &self.content {
            Some(segment)
        } else {
            None
        }
    }

    /// Looks at the header of `path`, a file in a folder of shard `shard`.
    ///
    /// # Errors
    /// Errors that say nothing about the data. Nobody may draw conclusions about the file from them.
    pub async fn look_at<G: Ground>(
        ground: &G,
        shard: u32,
        path: &Path,
    ) -> Result<Self, FileError> {
        let file = ground
            .open(path)
            .await
            .map_err(FileError::when("opening", path))?;
        let bytes = file
            .size()
            .await
            .map_err(FileError::when("asking for the size", path))?;
        let length = usize::try_from(SEGMENT_HEADER_BYTES).expect("one sector");
        let mut read = file.read(0, length).await;
        for _ in 1..limits::READ_ATTEMPTS_MAX {
            if !read.as_ref().is_err_and(is_medium) {
                break;
            }
            ground.sleep(limits::READ_AGAIN_AFTER).await;
            read = file.read(0, length).await;
        }
        let (header, content) = match read {
            Ok(read) => {
                let is_short = bytes < ground.bounds().segment_bytes_min;
                judge(shard, path, bytes, is_short, &read)
            }
            Err(error) if is_medium(&error) => (None, Content::Unreadable(error)),
            Err(error) => return Err(FileError::when("reading the header", path)(error)),
        };
        Ok(Self {
            path: path.to_path_buf(),
            slot: slot_of(path).unwrap_or(0),
            bytes,
            header,
            content,
        })
    }
}

/// What a file of `bytes` is that begins with `start`.
fn judge(
    shard: u32,
    path: &Path,
    bytes: u64,
    is_short: bool,
    start: &[u8],
) -> (Option<SegmentHeader>, Content) {
    match SegmentHeader::decode(start) {
        Ok(header) if header.shard != shard => {
            let shard = header.shard;
            (Some(header), Content::Foreign { shard })
        }
        Ok(header) => {
            let segment = SegmentInfo {
                id: header.segment,
                epoch: header.epoch,
                path: path.to_path_buf(),
                bytes: bytes.min(header.segment_bytes),
                first_sequence: header.first_sequence,
                first_event: header.first_event,
                failed: false,
            };
            (Some(header), Content::Segment(segment))
        }
        Err(HeaderError::Version { version }) => (None, Content::OtherVersion { version }),
        Err(_) if is_short && start.iter().all(|byte| *byte == 0) => (None, Content::Unfinished),
        Err(HeaderError::Blank) => (None, Content::Spare),
        Err(error) => (None, Content::Damaged(error)),
    }
}
