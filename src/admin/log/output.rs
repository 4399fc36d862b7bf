//! Where lines go: the console, a file that rolls. Belongs to the writer thread.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::settings::{FileLog, Roll};
use crate::admin::Console;

/// Size at which `LOGFILE` begins a new file, as in Flume's log4j.properties.
const FILE_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// Older files that `LOGFILE` keeps.
const BACKUP_COUNT_MAX: u32 = 10;

/// Takes lines.
#[derive(Debug)]
pub(super) enum Output {
    Console(Console),
    File(RollingFile),
}

impl Output {
    /// Writes lines logged up to `wall_ms`.
    pub(super) fn write(&mut self, lines: &str, wall_ms: u64) -> io::Result<()> {
        match self {
            Self::Console(console) => console.write(|| io::stderr().write_all(lines.as_bytes())),
            Self::File(file) => file.write(lines, wall_ms),
        }
    }
}

/// A log file that is renamed when it is large, or when the day is over.
#[derive(Debug)]
pub(super) struct RollingFile {
    path: PathBuf,
    roll: Roll,
    zone: TimeZone,
    file: File,
    bytes: u64,
    bytes_max: u64,
    day: String,
}

impl RollingFile {
    /// Opens the file for appending, and creates its directory if need be.
    pub(super) fn open(settings: &FileLog, zone: TimeZone, now_ms: u64) -> io::Result<Self> {
        if let Some(directory) = settings.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = append_to(&settings.path)?;
        let metadata = file.metadata()?;
        // What is in the file already is of the day it was last written.
        let written_ms = metadata
            .modified()
            .ok()
            .and_then(|at| Timestamp::try_from(at).ok())
            .and_then(|at| u64::try_from(at.as_millisecond()).ok())
            .filter(|_| metadata.len() > 0);
        let day = day_of(written_ms.unwrap_or(now_ms), &zone);
        Ok(Self {
            path: settings.path.clone(),
            roll: settings.roll,
            zone,
            file,
            bytes: metadata.len(),
            bytes_max: FILE_BYTES_MAX,
            day,
        })
    }

    fn write(&mut self, lines: &str, wall_ms: u64) -> io::Result<()> {
        match self.roll {
            Roll::Size if self.bytes >= self.bytes_max => self.roll_by_size()?,
            Roll::Daily => self.roll_by_day(wall_ms)?,
            Roll::Size => {}
        }
        self.file.write_all(lines.as_bytes())?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn roll_by_size(&mut self) -> io::Result<()> {
        for number in (1..BACKUP_COUNT_MAX).rev() {
            rename_if_there(
                &self.named(&number.to_string()),
                &self.named(&(number + 1).to_string()),
            )?;
        }
        self.begin_anew("1")
    }

    fn roll_by_day(&mut self, wall_ms: u64) -> io::Result<()> {
        let today = day_of(wall_ms, &self.zone);
        if today == self.day {
            return Ok(());
        }
        let yesterday = std::mem::replace(&mut self.day, today);
        self.begin_anew(&yesterday)
    }

    fn begin_anew(&mut self, suffix: &str) -> io::Result<()> {
        rename_if_there(&self.path, &self.named(suffix))?;
        self.file = append_to(&self.path)?;
        self.bytes = 0;
        Ok(())
    }

    fn named(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        PathBuf::from(name)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Somebody else may have moved the file away already.
fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn day_of(wall_ms: u64, zone: &TimeZone) -> String {
    let at = i64::try_from(wall_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX);
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::clock::wall_ms;

    const DAY_MS: u64 = 86_400_000;

    fn open(directory: &Path, roll: Roll) -> RollingFile {
        let settings = FileLog {
            path: directory.join("logs/flume.log"),
            roll,
        };
        RollingFile::open(&settings, TimeZone::UTC, wall_ms()).unwrap()
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn daily_file_keeps_yesterday_under_its_date() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(directory.path(), Roll::Daily);
        let now_ms = wall_ms();
        let today = day_of(now_ms, &TimeZone::UTC);
        file.write("one\n", now_ms).unwrap();
        file.write("two\n", now_ms + DAY_MS).unwrap();
        let logs = directory.path().join("logs");
        assert_eq!(read(&logs.join("flume.log")), "two\n");
        assert_eq!(read(&logs.join(format!("flume.log.{today}"))), "one\n");
    }

    #[test]
    fn large_file_becomes_number_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(directory.path(), Roll::Size);
        file.bytes_max = 4;
        for text in ["one\n", "two\n", "three\n"] {
            file.write(text, 0).unwrap();
        }
        let logs = directory.path().join("logs");
        assert_eq!(read(&logs.join("flume.log")), "three\n");
        assert_eq!(read(&logs.join("flume.log.1")), "two\n");
        assert_eq!(read(&logs.join("flume.log.2")), "one\n");
    }

    #[test]
    fn file_is_continued_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["one\n", "two\n"] {
            open(directory.path(), Roll::Daily)
                .write(text, wall_ms())
                .unwrap();
        }
        let path = directory.path().join("logs/flume.log");
        assert_eq!(read(&path), "one\ntwo\n");
    }
}
