//! The roster: which data directories make up a log, written into each of them and beside the checkpoint.
//!
//! A data directory whose disk is not mounted looks like an empty one, and an agent that starts on it
//! takes what it held for lost. One that comes back after an agent ran without it looks like a part of
//! the log, and its segments count as released although nobody has seen them. Both are refused at the
//! start, when the roster of the other directories says what is expected here.
//!
//! Always true: a directory is named in a roster only after its own has been written; so one that is
//! named and has none has lost it.
//!
//! | the newest roster  | the directory                          | the start is               |
//! |--------------------|----------------------------------------|----------------------------|
//! | names it           | has neither a roster nor shards        | refused: it is missing     |
//! | does not name it   | has an older roster, and shards        | refused: it was away       |
//! | is another log's   | has shards                             | refused: it is another's   |
//! | any                | anything else                          | not held up                |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::open::shards_on_disk;
use crate::reactor::{Clock, replace};

const FILE_NAME: &str = "log.directories";

/// Why the directories of a channel do not make up its log.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// Nothing of the log is where a part of it was.
    #[error(
        "data directory {directory}: it holds a part of the log of channel {channel}, and it is empty: is its \
         disk not mounted? Mount it and start again. If what it held is given up, take it out of dataDirs for \
         one start (or, if it is the only one, empty {checkpoint_dir})"
    )]
    Missing {
        /// The directory.
        directory: PathBuf,
        /// Its channel.
        channel: String,
        /// `checkpointDir` of the channel.
        checkpoint_dir: PathBuf,
    },
    /// The log went on without it.
    #[error(
        "data directory {directory}: the log of channel {channel} went on without it, so what it holds would \
         count as delivered. Deliver that first: `flumen wal export --data-dir {directory}`; then move its \
         shard-* folders away, and start again"
    )]
    WasAway {
        /// The directory.
        directory: PathBuf,
        /// Its channel.
        channel: String,
    },
    /// Two directories hold different logs.
    #[error(
        "data directories {one} and {other} hold different logs. Give each log to a channel of its own. \
         [channel={channel}]"
    )]
    Mixed {
        /// One.
        one: PathBuf,
        /// The other.
        other: PathBuf,
        /// Their channel.
        channel: String,
    },
}

/// What one directory knows of the log it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Roster {
    /// Random, the same for all directories of a log.
    log: u64,
    /// Grows with each change of the directories.
    generation: u64,
    /// Data directories, as absolute paths.
    directories: Vec<String>,
}

/// A configured data directory.
struct Member<'a> {
    path: &'a Path,
    name: String,
    roster: Option<Roster>,
    /// Its roster cannot be read: nothing is concluded from that.
    is_unclear: bool,
    has_shards: bool,
}

/// Refuses data directories that do not belong together, and writes down those that do. Called under the
/// directory locks, before anything of the log is read.
///
/// # Errors
/// [`RosterError`]. A roster that cannot be written is no error: it only protects.
pub fn call_the_roll(
    channel: &str,
    checkpoint_dir: &Path,
    data_dirs: &[PathBuf],
) -> Result<(), RosterError> {
    call_with(channel, checkpoint_dir, data_dirs, |directory, roster| {
        let written = replace(&directory.join(FILE_NAME), roster.text().as_bytes());
        if let Err(error) = &written {
            tracing::warn!(
                "channel {channel}: {}: {FILE_NAME} cannot be written: {error}. A start will not notice when \
                 this directory is missing",
                directory.display()
            );
        }
        written.is_ok()
    })
}

/// `write` makes a roster of a directory durable, or says that it did not.
fn call_with(
    channel: &str,
    checkpoint_dir: &Path,
    data_dirs: &[PathBuf],
    write: impl Fn(&Path, &Roster) -> bool,
) -> Result<(), RosterError> {
    let members: Vec<Member<'_>> = data_dirs.iter().map(|path| Member::of(path)).collect();
    refuse_mixed(channel, &members)?;
    let beside_checkpoint = read(checkpoint_dir).unwrap_or_default();
    let newest = newest_of(&members, beside_checkpoint.as_ref());
    if let Some(newest) = &newest {
        for member in &members {
            member.judge(channel, checkpoint_dir, newest)?;
        }
    }
    write_down(checkpoint_dir, &members, newest, write);
    Ok(())
}

impl<'a> Member<'a> {
    fn of(path: &'a Path) -> Self {
        let read = read(path);
        Self {
            path,
            name: name_of(path),
            is_unclear: read.is_err(),
            roster: read.unwrap_or_default(),
            has_shards: !shards_on_disk(&[path.to_path_buf()]).is_empty(),
        }
    }

    fn judge(
        &self,
        channel: &str,
        checkpoint_dir: &Path,
        newest: &Roster,
    ) -> Result<(), RosterError> {
        let is_named = newest.directories.contains(&self.name);
        match &self.roster {
            None if is_named && !self.has_shards && !self.is_unclear => Err(RosterError::Missing {
                directory: self.path.to_path_buf(),
                channel: channel.to_owned(),
                checkpoint_dir: checkpoint_dir.to_path_buf(),
            }),
            Some(own) if !is_named && self.has_shards && own.generation < newest.generation => {
                Err(RosterError::WasAway {
                    directory: self.path.to_path_buf(),
                    channel: channel.to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    /// The log of which it holds a part.
    fn log(&self) -> Option<u64> {
        let roster = self.roster.as_ref().filter(|_| self.has_shards);
        roster.map(|roster| roster.log)
    }
}

fn refuse_mixed(channel: &str, members: &[Member<'_>]) -> Result<(), RosterError> {
    let mut with_log = members.iter().filter(|member| member.log().is_some());
    let Some(one) = with_log.next() else {
        return Ok(());
    };
    match with_log.find(|member| member.log() != one.log()) {
        None => Ok(()),
        Some(other) => Err(RosterError::Mixed {
            one: one.path.to_path_buf(),
            other: other.path.to_path_buf(),
            channel: channel.to_owned(),
        }),
    }
}

/// The newest roster of the log that the directories hold. The one beside the checkpoint may be another
/// log's: a channel may have been given another `checkpointDir`.
fn newest_of(members: &[Member<'_>], beside_checkpoint: Option<&Roster>) -> Option<Roster> {
    let log = members.iter().find_map(Member::log);
    let rosters = members.iter().filter_map(|member| member.roster.as_ref());
    let rosters = rosters.chain(beside_checkpoint);
    let of_log = rosters.filter(|roster| log.is_none_or(|log| roster.log == log));
    of_log.max_by_key(|roster| roster.generation).cloned()
}

fn write_down(
    checkpoint_dir: &Path,
    members: &[Member<'_>],
    newest: Option<Roster>,
    write: impl Fn(&Path, &Roster) -> bool,
) {
    let old = newest.unwrap_or_else(|| Roster {
        log: Clock::random(),
        generation: 0,
        directories: Vec::new(),
    });
    // A roster of its own first, then the name in those of the others.
    let has_one = |member: &&Member<'_>| {
        let is_of_log = |own: &Roster| own.log == old.log;
        member.roster.as_ref().is_some_and(is_of_log) || write(member.path, &old)
    };
    let present: Vec<&Member<'_>> = members.iter().filter(has_one).collect();
    let mut directories: Vec<String> = present.iter().map(|member| member.name.clone()).collect();
    directories.sort();
    let has_changed = directories != old.directories;
    let now = Roster {
        log: old.log,
        generation: old.generation + u64::from(has_changed),
        directories,
    };
    let paths = present.iter().map(|member| member.path);
    for directory in paths.chain([checkpoint_dir]) {
        if read(directory).ok().flatten().as_ref() != Some(&now) {
            write(directory, &now);
        }
    }
}

impl Roster {
    fn text(&self) -> String {
        let mut text = format!("log {:016x}\ngeneration {}\n", self.log, self.generation);
        for directory in &self.directories {
            text.push_str("dataDir ");
            text.push_str(directory);
            text.push('\n');
        }
        text
    }

    fn of_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let log = lines.next()?.strip_prefix("log ")?;
        let generation = lines.next()?.strip_prefix("generation ")?;
        let names = lines.map(|line| line.strip_prefix("dataDir ").map(str::to_owned));
        Some(Self {
            log: u64::from_str_radix(log, 16).ok()?,
            generation: generation.parse().ok()?,
            directories: names.collect::<Option<_>>()?,
        })
    }
}

/// The roster in `directory`, if there is one.
fn read(directory: &Path) -> io::Result<Option<Roster>> {
    let path = directory.join(FILE_NAME);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read,
    };
    let roster = text.and_then(|text| {
        Roster::of_text(&text).ok_or_else(|| io::Error::other("it is not a list of directories"))
    });
    roster
        .map(Some)
        .inspect_err(|error| tracing::warn!("{}: {error}; it is not used", path.display()))
}

/// How a directory is called in a roster: on one line.
fn name_of(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    path.display().to_string().replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Site {
        _scratch: tempfile::TempDir,
        checkpoint: PathBuf,
        data: Vec<PathBuf>,
    }

    impl Site {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let folder = |name: &str| {
                let path = scratch.path().join(name);
                fs::create_dir(&path).unwrap();
                path
            };
            Self {
                checkpoint: folder("checkpoint"),
                data: ["one", "two", "three"].map(folder).to_vec(),
                _scratch: scratch,
            }
        }

        /// A start on some of the data directories.
        fn start(&self, data: &[usize]) -> Result<(), String> {
            let data: Vec<_> = data.iter().map(|at| self.data[*at].clone()).collect();
            call_the_roll("c1", &self.checkpoint, &data).map_err(|error| error.to_string())?;
            for directory in data {
                fs::create_dir_all(directory.join("shard-000")).unwrap();
            }
            Ok(())
        }

        /// Another file system is, or is not, mounted there.
        fn swap(&self, directory: &Path) {
            let away = directory.with_extension("away");
            let between = directory.with_extension("between");
            fs::create_dir_all(&away).unwrap();
            fs::rename(directory, &between).unwrap();
            fs::rename(&away, directory).unwrap();
            fs::rename(&between, &away).unwrap();
        }

        fn generation(&self, at: usize) -> u64 {
            read(&self.data[at]).unwrap().unwrap().generation
        }
    }

    #[test]
    fn a_directory_that_is_not_mounted_is_missed() {
        let site = Site::new();
        site.start(&[0, 1]).unwrap();
        site.start(&[0, 1]).unwrap();
        assert_eq!(site.generation(0), 1, "nothing has changed");
        site.swap(&site.data[1]);
        let error = site.start(&[0, 1]).unwrap_err();
        let two = site.data[1].display().to_string();
        assert!(
            error.contains(&two) && error.contains("not mounted"),
            "{error}"
        );
        assert!(!site.data[1].join(FILE_NAME).exists(), "it was left alone");
        site.swap(&site.data[1]);
        site.start(&[0, 1]).unwrap();
    }

    #[test]
    fn the_only_directory_is_missed_too() {
        let site = Site::new();
        site.start(&[0]).unwrap();
        site.swap(&site.data[0]);
        site.start(&[0]).unwrap_err();
        fs::remove_file(site.checkpoint.join(FILE_NAME)).unwrap();
        site.start(&[0]).unwrap();
    }

    #[test]
    fn a_directory_may_leave_and_come_back_empty_only() {
        let site = Site::new();
        site.start(&[0, 1]).unwrap();
        site.start(&[0]).unwrap();
        let error = site.start(&[0, 1]).unwrap_err();
        assert!(error.contains("went on without it"), "{error}");
        fs::remove_dir(site.data[1].join("shard-000")).unwrap();
        site.start(&[0, 1]).unwrap();
        assert_eq!((site.generation(0), site.generation(1)), (3, 3));
    }

    #[test]
    fn a_new_directory_is_welcome_and_another_mount_point_too() {
        let site = Site::new();
        site.start(&[0]).unwrap();
        site.start(&[0, 1]).unwrap();
        fs::remove_dir(&site.data[2]).unwrap();
        fs::rename(&site.data[1], &site.data[2]).unwrap();
        site.start(&[0, 2]).unwrap();
    }

    #[test]
    fn logs_are_not_mixed() {
        let (site, other) = (Site::new(), Site::new());
        site.start(&[0]).unwrap();
        other.start(&[0]).unwrap();
        let data = [site.data[0].clone(), other.data[0].clone()];
        let error = call_the_roll("c1", &site.checkpoint, &data).unwrap_err();
        assert!(matches!(error, RosterError::Mixed { .. }), "{error}");
        // Another channel's checkpoint says nothing about this log.
        call_the_roll("c1", &other.checkpoint, &data[..1]).unwrap();
    }

    /// Power may go at any moment of it.
    #[test]
    fn a_start_that_is_cut_short_misses_nobody() {
        for (first, then) in [(vec![], vec![0, 1, 2]), (vec![0], vec![0, 1, 2])] {
            for durable in 0..8 {
                let site = Site::new();
                if !first.is_empty() {
                    site.start(&first).unwrap();
                }
                let writes = std::cell::Cell::new(0);
                let cut_short = |directory: &Path, roster: &Roster| {
                    writes.set(writes.get() + 1);
                    if writes.get() <= durable {
                        fs::write(directory.join(FILE_NAME), roster.text()).unwrap();
                    }
                    true
                };
                call_with("c1", &site.checkpoint, &of(&site, &then), cut_short).unwrap();
                assert!(writes.get() < 8, "there is nothing more to cut");
                site.start(&then).unwrap();
            }
        }
    }

    fn of(site: &Site, data: &[usize]) -> Vec<PathBuf> {
        data.iter().map(|at| site.data[*at].clone()).collect()
    }

    #[test]
    fn what_cannot_be_read_or_written_holds_up_no_start() {
        let site = Site::new();
        site.start(&[0, 1]).unwrap();
        fs::write(site.data[1].join(FILE_NAME), "no list").unwrap();
        site.start(&[0, 1]).unwrap();
        assert_eq!(site.generation(1), 1, "written again");
        let roster = site.checkpoint.join(FILE_NAME);
        fs::remove_file(&roster).unwrap();
        fs::create_dir(&roster).unwrap();
        site.start(&[0, 1]).unwrap();
    }
}
