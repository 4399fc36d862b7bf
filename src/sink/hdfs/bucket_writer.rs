//! One bucket: an escaped path with prefix, its file counter, and at most one open file.
//!
//! Owned by the sink, one per key, until a timer, `maxOpenFiles` or an error drops it. The counter
//! starts at the wall clock and grows before each open, so no two files of a writer share a name.
//!
//! Always true: `dirty` files hold bytes that are not durable; a sink commits only when none of the
//! files its events went to is dirty.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::client::{FileSystem, OpenFile, Synced};
use super::codec;
use super::error::FileSystemError;
use super::format::Format;
use super::orphan::{Names, Orphans, Record};
use crate::config::HdfsSinkConfig;
use crate::event::EventView;
use crate::reactor::Defence;
use crate::sink::Outside;

/// Bytes gathered before they are handed to the file system.
const WRITE_BYTES: usize = 512 * 1024;
/// Names tried when files of that name exist already.
const NAME_TRIES_MAX: u32 = 100;

/// Where a bucket's files go and how they are named.
#[derive(Debug)]
pub(super) struct Bucket {
    directory: String,
    prefix: String,
    counter: u64,
    pub(super) open: Option<BucketFile>,
    /// Grows with each use, over all buckets: the least is the eldest.
    pub(super) last_used: u64,
}

/// A file being filled.
pub(super) struct BucketFile {
    pub(super) record: Record,
    pub(super) file: OpenFile,
    format: Format,
    buffer: Vec<u8>,
    event_count: u64,
    body_bytes: u64,
    pub(super) dirty: bool,
    /// The file was closed by [`BucketFile::sync`].
    pub(super) closed: bool,
    /// A write failed: what the file holds is not all that was appended.
    broken: bool,
    opened_at: Instant,
    pub(super) last_append: Instant,
}

impl std::fmt::Debug for BucketFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketFile")
            .field("names", &self.record.names)
            .field("event_count", &self.event_count)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// A bucket that has no file yet; its first one has the number behind `counter`.
    pub(super) fn new(directory: &str, prefix: &str, counter: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            prefix: prefix.to_owned(),
            counter,
            open: None,
            last_used: 0,
        }
    }

    /// The number in the name of the last file.
    pub(super) fn counter(&self) -> u64 {
        self.counter
    }

    /// Creates the next file. A name that is taken is passed over.
    pub(super) async fn open(
        &mut self,
        file_system: &FileSystem,
        config: &HdfsSinkConfig,
        orphans: &Orphans,
        outside: &Outside,
    ) -> Result<&mut BucketFile, FileSystemError> {
        assert!(self.open.is_none(), "a bucket has one file at a time");
        let mut tries = 0;
        let (record, file) = loop {
            let names = self.next_names(config);
            info!("Creating {}", names.in_use);
            let number = self.counter;
            let remembered = orphans
                .remember(names.clone(), unique(outside, number))
                .await;
            let record = remembered.map_err(|source| FileSystemError::Local {
                operation: "remember the open file",
                path: names.in_use.clone(),
                source,
            })?;
            match file_system.create(&names.in_use).await {
                Ok(file) => break (record, file),
                Err(error) if error.is_already_exists() && tries < NAME_TRIES_MAX => {
                    tries += 1;
                    record.forget().await;
                }
                // The file may have been created all the same: the record stays.
                Err(error) => return Err(error),
            }
        };
        let mut buffer = Vec::new();
        let format = Format::begin(config, outside.sync_marker(), &mut buffer)
            .map_err(|error| FileSystemError::Setting(error.to_string()))?;
        let now = Instant::now();
        Ok(self.open.insert(BucketFile {
            record,
            file,
            format,
            buffer,
            event_count: 0,
            body_bytes: 0,
            dirty: true,
            closed: false,
            broken: false,
            opened_at: now,
            last_append: now,
        }))
    }

    /// Moves the counter and names the next file: `<path>/<prefix>.<counter><suffix>`, in-use affixes
    /// around it while it is open.
    fn next_names(&mut self, config: &HdfsSinkConfig) -> Names {
        self.counter += 1;
        let suffix = match (config.file_suffix.as_str(), config.codec) {
            ("", Some(codec))
                if config.file_type == crate::config::HdfsFileType::CompressedStream =>
            {
                codec::extension(codec)
            }
            (suffix, _) => suffix,
        };
        let name = format!("{}.{}{suffix}", self.prefix, self.counter);
        let directory = self.directory.trim_end_matches('/');
        Names {
            in_use: format!(
                "{directory}/{}{name}{}",
                config.in_use_prefix, config.in_use_suffix
            ),
            done: format!("{directory}/{name}"),
        }
    }
}

/// A number no other record of this sink has: prefixes may share a counter.
fn unique(outside: &Outside, counter: u64) -> u64 {
    let marker = outside.sync_marker();
    let mut low = [0; 8];
    low.copy_from_slice(&marker[..8]);
    counter ^ u64::from_le_bytes(low)
}

impl BucketFile {
    /// Whether Flume would roll this file before its next event.
    pub(super) fn is_full(&self, config: &HdfsSinkConfig) -> bool {
        let by_count = config
            .roll_events
            .is_some_and(|max| self.event_count >= max);
        let by_size = config.roll_bytes.is_some_and(|max| self.body_bytes >= max);
        by_count || by_size || self.closed
    }

    /// When a timer closes this file, if nothing is appended before.
    pub(super) fn deadline(&self, config: &HdfsSinkConfig) -> Option<Instant> {
        let after = |start: Instant, wait: Option<Duration>| wait.map(|wait| start + wait);
        let by_age = after(self.opened_at, config.roll_interval);
        let by_rest = after(self.last_append, config.idle_timeout);
        match (by_age, by_rest) {
            (Some(age), Some(rest)) => Some(age.min(rest)),
            (deadline, None) | (None, deadline) => deadline,
        }
    }

    /// Appends one event to the buffer; writes the buffer out when it is large.
    #[inline]
    pub(super) async fn append(
        &mut self,
        event: &EventView<'_>,
        now_ms: u64,
    ) -> Result<(), FileSystemError> {
        assert!(
            !self.closed,
            "a closed file is rolled before the next event"
        );
        self.format.append(event, now_ms, &mut self.buffer);
        self.event_count += 1;
        self.body_bytes += event.body().len() as u64;
        self.dirty = true;
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out().await?;
        }
        Ok(())
    }

    /// Ends what the format holds back: a transaction's events are all in it.
    pub(super) fn end_batch(&mut self, now: Instant) {
        self.format.flush(&mut self.buffer);
        self.last_append = now;
    }

    /// Makes every event appended so far durable.
    pub(super) async fn sync(&mut self) -> Result<(), FileSystemError> {
        if !self.dirty || Defence::HdfsFlush.removed() {
            return Ok(());
        }
        self.format.flush(&mut self.buffer);
        self.write_out().await?;
        self.closed = self.file.sync().await? == Synced::Closed;
        self.dirty = false;
        Ok(())
    }

    /// Closes the file, whatever it still holds going first.
    pub(super) async fn close(&mut self) -> Result<(), FileSystemError> {
        if self.closed {
            return Ok(());
        }
        self.sync().await?;
        if !self.closed {
            self.file.close().await?;
        }
        self.closed = true;
        Ok(())
    }

    async fn write_out(&mut self) -> Result<(), FileSystemError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let room = self.buffer.capacity();
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(room));
        let written = self.file.write(bytes).await;
        self.broken |= written.is_err();
        written
    }
}

/// Closes and renames a file that is done, and goes on trying: `closeTries`, `retryInterval`.
///
/// | step that failed | then                                                        |
/// |------------------|-------------------------------------------------------------|
/// | write, close     | recover the lease until HDFS says the length stands         |
/// | recover, rename  | again after `retryInterval` (the first times sooner)        |
/// | `closeTries`     | give up with a WARN; the record stays for the next start    |
pub(super) async fn finish(
    file_system: FileSystem,
    mut file: BucketFile,
    retries: Retries,
) -> Finished {
    info!("Closing {}", file.record.names.in_use);
    let needs_recovery = if file.broken {
        // Closing would make a whole file of what is left of it, often nothing.
        warn!(
            "recovering {}, a write to it failed",
            file.record.names.in_use
        );
        true
    } else if let Err(error) = file.close().await {
        warn!(
            "failed to close {}: {error}; recovering it",
            file.record.names.in_use
        );
        true
    } else {
        false
    };
    let BucketFile { record, file, .. } = file;
    // Dropping the writer ends the renewal of its lease.
    drop(file);
    let renamed = settle(file_system, record, needs_recovery, retries).await;
    Finished {
        closed: !needs_recovery,
        renamed,
    }
}

/// How [`finish`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) closed: bool,
    pub(super) renamed: bool,
}

/// `hdfs.closeTries` and `hdfs.retryInterval`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retries {
    pub(super) tries_max: Option<u32>,
    pub(super) interval: Duration,
}

/// The least number of lease recoveries, about a minute: they need several rounds by design.
const RECOVERIES_MIN: u32 = 60;

/// Gives a file that nobody writes any more its final name, or removes it when it is empty.
pub(super) async fn settle(
    file_system: FileSystem,
    record: Record,
    needs_recovery: bool,
    retries: Retries,
) -> bool {
    let mut needs_recovery = needs_recovery;
    let mut tries = 0;
    loop {
        tries += 1;
        let tries_max = match retries.tries_max {
            Some(tries_max) if needs_recovery => Some(tries_max.max(RECOVERIES_MIN)),
            tries_max => tries_max,
        };
        match try_settle(&file_system, &record.names, needs_recovery).await {
            Ok(true) => {
                record.forget().await;
                return true;
            }
            Ok(false) => {}
            Err(error) if tries_max.is_some_and(|max| tries >= max) => {
                warn!(
                    "gave up renaming {} to {} after {tries} tries: {error}. It stays as it is.",
                    record.names.in_use, record.names.done
                );
                return false;
            }
            Err(error) => {
                warn!("{} is not renamed yet: {error}", record.names.in_use);
                needs_recovery = true;
            }
        }
        if tries_max.is_some_and(|max| tries >= max) {
            warn!(
                "gave up recovering {} after {tries} tries",
                record.names.in_use
            );
            return false;
        }
        let soon = Duration::from_secs(1 << (tries / 8).min(8));
        tokio::time::sleep(soon.min(retries.interval.max(Duration::from_millis(100)))).await;
    }
}

/// One attempt; false when lease recovery is under way.
async fn try_settle(
    file_system: &FileSystem,
    names: &Names,
    needs_recovery: bool,
) -> Result<bool, FileSystemError> {
    if needs_recovery {
        let Some(_) = file_system.length(&names.in_use).await? else {
            return Ok(true);
        };
        if !file_system.recover_lease(&names.in_use).await? {
            return Ok(false);
        }
        if file_system.length(&names.in_use).await? == Some(0) {
            info!("Removing {}, which is empty", names.in_use);
            file_system.delete(&names.in_use).await?;
            return Ok(true);
        }
    }
    if names.in_use != names.done {
        info!("Renaming {} to {}", names.in_use, names.done);
        file_system.rename(&names.in_use, &names.done).await?;
    }
    Ok(true)
}
