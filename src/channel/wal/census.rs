//! The census: which files a shard's folders hold, and what each one's header says it is.
//!
//! Looks and changes nothing, so that recovery, which acts on it, and the tools, which only show it,
//! cannot differ about what they see. Lives as long as the look takes.
//!
//! A header may be damaged, zeroed, or another segment's, and the blocks behind it whole. So the blocks
//! are asked as well ([`claim`]), and the newer of the two counts:
//!
//! | header                       | blocks                    | the file is                              |
//! |------------------------------|---------------------------|------------------------------------------|
//! | in use                       | none, its own, or older   | that segment                             |
//! | released                     | none, its own, or older   | a spare                                  |
//! | in use, or released          | of a newer segment        | the newer segment, known by its blocks   |
//! | another shard's, or none     | any                       | the newest segment, known by its blocks  |
//! | another shard's              | none                      | that shard's                             |
//! | zeros                        | none                      | a spare, or short and never finished     |
//! | anything else                | none                      | damaged                                  |
//! | what another file also says  | any                       | what the rest of it says                 |

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};

use super::claim::{Search, claim, read_patiently};
use super::header::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::reader::is_medium;
use super::segment_list::SegmentList;
use super::segments::slot_of;
use super::shared::SegmentInfo;
use crate::reactor::{Defence, DiskFile, Ground};

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
    /// Nothing that anybody needs: blank, or released.
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
    /// Why its blocks had to be asked what it is, where they had to.
    pub header_damage: Option<String>,
    /// The highest segment id that it shows: a released one's is not given again.
    newest_id: Option<u64>,
    /// What its blocks say the header should be.
    claimed: Option<SegmentHeader>,
    /// Header and blocks say the same.
    agrees: bool,
    /// A whole header says that it is an older segment than its blocks do.
    is_contradicted: bool,
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
                if Self::is_segment(path) {
                    census
                        .files
                        .push(SegmentFile::look_at(ground, shard, path).await?);
                }
            }
            census.paths.extend(paths);
        }
        census.tell_strays(ground, shard).await?;
        Ok(census)
    }

    /// What was written to the wrong file, a header or a block, makes two files claim one segment. That
    /// segment is the file whose header and blocks agree, going by its random epoch too; the other one is
    /// what is left of it without the stray, which may be a third one. If both agree, somebody copied
    /// the file, or a disk is back that was missing: that is not for us to judge.
    async fn tell_strays<G: Ground>(&mut self, ground: &G, shard: u32) -> Result<(), FileError> {
        let mut strays: Vec<Vec<u64>> = vec![Vec::new(); self.files.len()];
        // What one file turns out to be may show that another one is not.
        while let Some((at, segment)) = self.next_stray() {
            strays[at].push(segment);
            let path = self.files[at].path.clone();
            self.files[at] = SegmentFile::look_without(ground, shard, &path, &strays[at]).await?;
        }
        Ok(())
    }

    /// A file that claims a segment which another file is, and that segment.
    fn next_stray(&self) -> Option<(usize, u64)> {
        let mut files = self.files.iter().enumerate();
        files.find_map(|(at, file)| Some((at, self.strayed(file)?)))
    }

    /// The segment that `file` claims and another file is.
    fn strayed(&self, file: &SegmentFile) -> Option<u64> {
        let segment = file.segment().filter(|_| !file.agrees)?;
        let is_twin = |other: &SegmentFile| {
            let same = other
                .segment()
                .is_some_and(|other| (other.id, other.epoch) == (segment.id, segment.epoch));
            // Of two begun segments without a block one is enough.
            let counts = match other.standing().cmp(&file.standing()) {
                _ if other.agrees => true,
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => other.path < file.path,
            };
            same && other.path != file.path && counts
        };
        self.files.iter().any(is_twin).then_some(segment.id)
    }

    /// Whether `path` has the name of a segment.
    #[must_use]
    pub fn is_segment(path: &Path) -> bool {
        slot_of(path).is_some()
    }

    /// The segments of the log, oldest first.
    #[must_use]
    pub fn segments(&self) -> SegmentList {
        let segments = self.files.iter().filter_map(SegmentFile::segment);
        SegmentList::new(segments.cloned().collect())
    }

    /// The first segment id that no file has or had.
    #[must_use]
    pub fn next_segment(&self) -> u64 {
        let ids = self.files.iter().filter_map(|file| file.newest_id);
        ids.max().map_or(0, |id| id + 1)
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

    /// How well its claim to be that segment stands: by its own header, by its blocks for want of a
    /// header, or by blocks that its header contradicts, which may have strayed.
    fn standing(&self) -> u8 {
        match (&self.header_damage, self.is_contradicted) {
            (None, _) => 2,
            (Some(_), false) => 1,
            (Some(_), true) => 0,
        }
    }

    /// Looks at `path`, a file in a folder of shard `shard`.
    ///
    /// # Errors
    /// Errors that say nothing about the data. Nobody may draw conclusions about the file from them.
    pub async fn look_at<G: Ground>(
        ground: &G,
        shard: u32,
        path: &Path,
    ) -> Result<Self, FileError> {
        Self::look_without(ground, shard, path, &[]).await
    }

    /// The same, with a header and blocks of the segments `elsewhere` taken for strays.
    async fn look_without<G: Ground>(
        ground: &G,
        shard: u32,
        path: &Path,
        elsewhere: &[u64],
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
        let found = match read_patiently(ground, &file, 0, length).await {
            Ok(read) => Ok(read),
            Err(error) if is_medium(&error) => Err(error),
            Err(error) => return Err(FileError::when("reading the header", path)(error)),
        };
        let search = match found.as_ref().map(|read| SegmentHeader::decode(read)) {
            _ if !elsewhere.is_empty() => Search::Whole,
            Ok(Ok(header)) if header.shard == shard => Search::First,
            Ok(Err(HeaderError::Released { .. })) => Search::First,
            // So are spares that were never used; they need not be read to their ends.
            Ok(Err(HeaderError::Blank)) => Search::UnlessBlank,
            Ok(_) | Err(_) => Search::Whole,
        };
        let claimed = match ground.lacks(Defence::HeaderFromBlocks) {
            true => None,
            false => claim(ground, &file, bytes, shard, search, elsewhere)
                .await
                .map_err(FileError::when("reading the blocks", path))?,
        };
        let mut judged = Self {
            path: path.to_path_buf(),
            slot: slot_of(path).unwrap_or(0),
            bytes,
            header: None,
            content: Content::Spare,
            header_damage: None,
            newest_id: None,
            agrees: false,
            is_contradicted: false,
            claimed,
        };
        match found {
            Ok(read) => {
                let is_short = bytes < ground.bounds().segment_bytes_min;
                judged.judge(shard, is_short, &read, elsewhere);
            }
            Err(error) => judged.trust_blocks("the medium refuses it", Content::Unreadable(error)),
        }
        let id = judged.segment().map(|segment| segment.id);
        judged.newest_id = judged.newest_id.max(id);
        Ok(judged)
    }

    /// Decides what the file is that begins with `start`, by the table above.
    fn judge(&mut self, shard: u32, is_short: bool, start: &[u8], elsewhere: &[u64]) {
        let is_newer = |segment: u64| move |claimed: &SegmentHeader| claimed.segment > segment;
        match SegmentHeader::decode(start) {
            Ok(header) if header.shard != shard => {
                let owner = header.shard;
                self.header = Some(header);
                let reason = format!("it belongs to shard {owner}");
                self.trust_blocks(&reason, Content::Foreign { shard: owner });
            }
            Ok(header) if elsewhere.contains(&header.segment) => {
                let reason = format!("it is another file's, of segment {}", header.segment);
                self.trust_blocks(&reason, Content::Spare);
            }
            Ok(header) => {
                self.header = Some(header);
                self.content = Content::Segment(info(&self.path, self.bytes, &header));
                match &self.claimed {
                    Some(claimed) if is_newer(header.segment)(claimed) => {
                        self.is_contradicted = true;
                        let reason = format!("it is an older one, of segment {}", header.segment);
                        self.trust_blocks(&reason, Content::Spare);
                    }
                    claimed => {
                        self.agrees = claimed.is_some_and(|it| {
                            (it.segment, it.epoch) == (header.segment, header.epoch)
                        });
                    }
                }
            }
            Err(HeaderError::Released { segment }) => {
                self.newest_id = Some(segment);
                if self.claimed.as_ref().is_some_and(is_newer(segment)) {
                    let reason = format!("it is an older one, of segment {segment}");
                    self.trust_blocks(&reason, Content::Spare);
                }
            }
            Err(HeaderError::Version { version }) => {
                self.content = Content::OtherVersion { version };
            }
            Err(_) if is_short && start.iter().all(|byte| *byte == 0) => {
                self.trust_blocks("it is blank", Content::Unfinished);
            }
            Err(HeaderError::Blank) => self.trust_blocks("it is blank", Content::Spare),
            Err(error) => self.trust_blocks(&error.to_string(), Content::Damaged(error)),
        }
    }

    /// The header does not count: the blocks do, if there are any; else it is `otherwise`.
    fn trust_blocks(&mut self, reason: &str, otherwise: Content) {
        self.content = otherwise;
        if let Some(claimed) = self.claimed {
            self.content = Content::Segment(info(&self.path, self.bytes, &claimed));
            self.header = Some(claimed);
            self.header_damage = Some(reason.to_owned());
        }
    }
}

fn info(path: &Path, bytes: u64, header: &SegmentHeader) -> SegmentInfo {
    SegmentInfo {
        id: header.segment,
        epoch: header.epoch,
        path: path.to_path_buf(),
        bytes: bytes.min(header.segment_bytes),
        first_sequence: header.first_sequence,
        first_event: header.first_event,
        failed: false,
    }
}
