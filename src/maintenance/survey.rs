//! What lies in the directories of a log at one moment: the census of each shard, and the checkpoints.
//!
//! An agent may be at work meanwhile. A file that is gone between listing and opening was removed by
//! it, and a header that does not hold may be one that is being written: both are looked at again
//! before anything is said about them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::site::Site;
use crate::channel::wal::{Census, Checkpoint, Content, FileError, SegmentFile, ShardCheckpoint};
use crate::reactor::{Ground, ReadOnlyWorld};

/// Looks at a folder or a header before it is judged.
const LOOKS_MAX: u32 = 5;
/// Between two looks: an agent writes a header within this time.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The files of one shard.
#[derive(Debug)]
pub struct ShardSurvey {
    /// Shard number.
    pub shard: u32,
    /// What could be looked at.
    pub census: Census,
    /// What could not, for reasons that say nothing about the data.
    pub unreadable: Vec<FileError>,
}

impl ShardSurvey {
    /// Looks at every file of `shard`.
    pub async fn take(ground: &ReadOnlyWorld, site: &Site, shard: u32) -> Self {
        let mut survey = Self {
            shard,
            census: Census::default(),
            unreadable: Vec::new(),
        };
        for folder in site.folders(shard) {
            match ground.list(&folder).await {
                Ok(paths) => survey.look_at_all(ground, paths).await,
                Err(source) => survey.unreadable.push(FileError {
                    path: folder,
                    operation: "listing",
                    source,
                }),
            }
        }
        survey
    }

    async fn look_at_all(&mut self, ground: &ReadOnlyWorld, paths: Vec<PathBuf>) {
        for path in paths {
            if Census::is_segment(&path) {
                match look_at(ground, self.shard, &path).await {
                    Ok(file) => self.census.files.push(file),
                    Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => self.unreadable.push(error),
                }
            }
            self.census.paths.push(path);
        }
    }

    /// Files that recovery or repair set aside.
    pub fn set_aside(&self) -> impl Iterator<Item = &PathBuf> {
        self.census
            .paths
            .iter()
            .filter(|path| aside_name(path).is_some())
    }
}

/// The ending of a file that was set aside: `damaged-0`.
#[must_use]
pub fn aside_name(path: &std::path::Path) -> Option<&str> {
    let name = path.extension()?.to_str()?;
    name.starts_with("damaged-").then_some(name)
}

/// Looks until the header holds, or does not for good.
pub async fn look_at(
    ground: &ReadOnlyWorld,
    shard: u32,
    path: &std::path::Path,
) -> Result<SegmentFile, FileError> {
    let mut looks = 1;
    loop {
        let file = SegmentFile::look_at(ground, shard, path).await?;
        if !matches!(file.content, Content::Damaged(_)) || looks == LOOKS_MAX {
            return Ok(file);
        }
        looks += 1;
        ground.sleep(LOOK_EVERY).await;
    }
}

/// One of the two checkpoint files.
#[derive(Debug)]
pub struct CheckpointFile {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub content: CheckpointContent,
}

/// What a checkpoint file holds.
#[derive(Debug)]
pub enum CheckpointContent {
    /// It is not there.
    Missing,
    /// A checkpoint.
    Valid(Checkpoint),
    /// No checkpoint, or one that was altered or cut.
    Damaged {
        /// Its length.
        bytes: usize,
    },
    /// It cannot be read.
    Unreadable(io::Error),
}

/// Both checkpoint files.
#[derive(Debug, Default)]
pub struct CheckpointSurvey {
    /// The files, by name.
    pub files: Vec<CheckpointFile>,
}

impl CheckpointSurvey {
    /// Looks at both files.
    pub async fn take(ground: &ReadOnlyWorld, site: &Site) -> Self {
        let Some(directory) = &site.checkpoint_dir else {
            return Self::default();
        };
        let mut files = Vec::new();
        for path in Checkpoint::paths(directory) {
            let content = match ground.read_small(&path).await {
                Ok(bytes) => match Checkpoint::decode(&bytes) {
                    Some(checkpoint) => CheckpointContent::Valid(checkpoint),
                    None => CheckpointContent::Damaged { bytes: bytes.len() },
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => CheckpointContent::Missing,
                Err(error) => CheckpointContent::Unreadable(error),
            };
            files.push(CheckpointFile { path, content });
        }
        Self { files }
    }

    /// The one that counts: the newer valid one.
    #[must_use]
    pub fn current(&self) -> Option<&Checkpoint> {
        let valid = self.files.iter().filter_map(|file| match &file.content {
            CheckpointContent::Valid(checkpoint) => Some(checkpoint),
            CheckpointContent::Missing
            | CheckpointContent::Damaged { .. }
            | CheckpointContent::Unreadable(_) => None,
        });
        valid.max_by_key(|checkpoint| checkpoint.generation)
    }

    /// What the current one says of `shard`.
    #[must_use]
    pub fn shard(&self, shard: u32) -> Option<&ShardCheckpoint> {
        self.current()?.shard(shard)
    }
}
