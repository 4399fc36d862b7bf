//! The `hdfs` sink: takes batches, appends each event to the bucket its path names, makes all touched
//! files durable, commits.
//!
//! Lives on one drain thread. While events are at hand several batches share one flush
//! (`ROUND_BYTES_MAX`, `ROUND_BATCHES_MAX`), which is where the throughput comes from; each batch
//! still ends a compressed member, an Avro block or a sequence file block, as Flume's flush does.
//! Closes and renames run in the background.
//!
//! Always true: a transaction is committed only after every file that holds one of its events was
//! flushed to the DataNodes' disks. After an error everything taken is rolled back, the file that
//! failed is abandoned to lease recovery, and its events go to a new file: duplicates, never loss.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::bucket_writer::{Bucket, BucketFile, Finished, Retries, finish, settle};
use super::client::FileSystem;
use super::error::FileSystemError;
use super::orphan::Orphans;
use crate::channel::{Consumer, TakeError, Transaction};
use crate::config::HdfsSinkConfig;
use crate::event::{AvroError, EventView};
use crate::metrics::SinkCounters;
use crate::sink::escape::{EscapeCounters, Place, Template, TimeSettings, java_time_zone};
use crate::sink::{Outside, Sink, SinkError, Status};

/// Encoded bytes of events after which a round is flushed.
const ROUND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Batches after which a round is flushed.
const ROUND_BATCHES_MAX: usize = 64;
/// Full files a round keeps open; more are flushed and closed at once. With Flume's default of ten
/// events a file, a round of a backlog would else hold hundreds of blocks open.
const ROLLED_MAX: usize = 16;
/// Files that may be closing at once; more make the sink wait for one.
const CLOSING_MAX: usize = 128;
/// How long an orderly stop waits for closes and renames.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// Writes events to HDFS or local files.
pub struct HdfsSink {
    config: HdfsSinkConfig,
    path: Template,
    prefix: Template,
    outside: Outside,
    counters: Arc<SinkCounters>,
    orphans: Orphans,
    orphans_recovered: bool,
    file_system: Option<FileSystem>,
    buckets: BTreeMap<String, Bucket>,
    uses: u64,
    /// The highest file number of any bucket that is no more.
    counter_dropped: u64,
    /// No timer is due before this.
    next_deadline: Option<Instant>,
    closing: JoinSet<Finished>,
    /// Rendered path and key of the event at hand; kept for their memory.
    rendered: Rendered,
}

impl std::fmt::Debug for HdfsSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HdfsSink")
            .field("path", &self.config.path)
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Rendered {
    path: String,
    prefix: String,
    key: String,
}

/// What one flush will cover.
#[derive(Default)]
struct Round {
    taken: Vec<Transaction>,
    event_count: u64,
    /// Buckets with events of this round.
    touched: Vec<String>,
    /// Files that were full, to be flushed with the round and closed after it.
    rolled: Vec<BucketFile>,
    /// Some of them were flushed and closed before the round's end: time to end it.
    rolled_early: bool,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Take(#[from] TakeError),
    #[error(transparent)]
    FileSystem(#[from] FileSystemError),
    #[error("an event cannot be read")]
    Event(#[from] AvroError),
}

impl HdfsSink {
    /// A sink for `config`. `state_directory` is where it remembers its open files across a crash;
    /// without one, a crash leaves `.tmp` files as Flume does.
    ///
    /// # Errors
    /// A path, prefix or time zone that cannot be used; text for the operator.
    pub fn new(
        config: HdfsSinkConfig,
        state_directory: Option<PathBuf>,
        counters: Arc<SinkCounters>,
        outside: Outside,
    ) -> Result<Self, FileSystemError> {
        let setting = |name: &str, error: &dyn std::fmt::Display| {
            FileSystemError::Setting(format!("{name}: {error}"))
        };
        let zone = java_time_zone(config.time_zone.as_deref())
            .map_err(|error| setting("hdfs.timeZone", &error))?;
        let settings = TimeSettings {
            zone,
            rounding: config.round,
            use_local_timestamp: config.use_local_timestamp,
        };
        let path = Template::parse(&config.path, Place::Path, settings.clone())
            .map_err(|error| setting("hdfs.path", &error))?;
        let prefix = Template::parse(&config.file_prefix, Place::Path, settings)
            .map_err(|error| setting("hdfs.filePrefix", &error))?;
        Ok(Self {
            config,
            path,
            prefix,
            outside,
            counters,
            orphans: Orphans::new(state_directory),
            orphans_recovered: false,
            file_system: None,
            buckets: BTreeMap::new(),
            uses: 0,
            counter_dropped: 0,
            next_deadline: None,
            closing: JoinSet::new(),
            rendered: Rendered::default(),
        })
    }

    /// Events whose timestamp or header values had to be put right, for path and prefix together.
    #[must_use]
    pub fn escape_counters(&self) -> EscapeCounters {
        let (path, prefix) = (self.path.counters(), self.prefix.counters());
        EscapeCounters {
            timestamp_missing: path.timestamp_missing.max(prefix.timestamp_missing),
            values_changed: path.values_changed + prefix.values_changed,
        }
    }

    /// Connects, once; then recovers what an earlier run left open.
    async fn file_system(&mut self) -> Result<FileSystem, FileSystemError> {
        let file_system = match &self.file_system {
            Some(file_system) => file_system.clone(),
            None => {
                let opened = FileSystem::open(&self.config, self.path.literal_prefix())?;
                self.file_system.insert(opened).clone()
            }
        };
        if !self.orphans_recovered {
            self.recover_orphans(&file_system).await;
        }
        Ok(file_system)
    }

    async fn recover_orphans(&mut self, file_system: &FileSystem) {
        self.orphans_recovered = true;
        match self.orphans.left_behind().await {
            Ok(records) => {
                for record in records {
                    let in_use = &record.names.in_use;
                    info!("Recovering {in_use}, which an earlier run left open");
                    let task = settle(file_system.clone(), record, true, self.retries());
                    self.closing.spawn_local(async move {
                        let renamed = task.await;
                        Finished {
                            closed: renamed,
                            renamed,
                        }
                    });
                }
            }
            Err(error) => warn!("files left open by an earlier run are not known: {error}"),
        }
    }

    fn retries(&self) -> Retries {
        Retries {
            tries_max: self.config.close_tries,
            interval: self.config.retry_interval,
        }
    }

    /// Takes, appends and flushes one round. Nothing is committed here.
    async fn fill(&mut self, consumer: &Consumer, round: &mut Round) -> Result<(), RoundError> {
        let file_system = self.file_system().await?;
        let now_ms = self.outside.wall_ms();
        let mut round_bytes = 0;
        while round_bytes < ROUND_BYTES_MAX
            && round.taken.len() < ROUND_BATCHES_MAX
            && !round.rolled_early
        {
            let Some(transaction) = consumer.take(self.config.batch_size).await? else {
                break;
            };
            self.count_take(transaction.event_count());
            round.event_count += transaction.event_count() as u64;
            for slice in transaction.slices() {
                round_bytes += slice.encoded().len();
            }
            // In the round before it is appended: an error rolls it back with the others.
            round.taken.push(transaction);
            let at = round.taken.len() - 1;
            self.append_all(&file_system, round, at, now_ms).await?;
        }
        self.flush(round).await?;
        Ok(())
    }

    async fn append_all(
        &mut self,
        file_system: &FileSystem,
        round: &mut Round,
        at: usize,
        now_ms: u64,
    ) -> Result<(), RoundError> {
        let slices = round.taken[at].slices().to_vec();
        let mut current: Option<String> = None;
        for event in slices.iter().flat_map(|slice| slice.iter()) {
            let event = event?;
            self.render(&event, now_ms);
            if current.as_ref() != Some(&self.rendered.key) {
                let key = self.rendered.key.clone();
                self.use_bucket(&key, round);
                current = Some(key);
            }
            if round.rolled.len() >= ROLLED_MAX {
                self.flush_rolled(round).await?;
            }
            self.append(file_system, round, &event, now_ms).await?;
        }
        let now = Instant::now();
        for key in &round.touched {
            if let Some(file) = self.open_file(key) {
                file.end_batch(now);
            }
        }
        Ok(())
    }

    /// Renders the event's path and prefix, and the key of both.
    fn render(&mut self, event: &EventView<'_>, now_ms: u64) {
        let Rendered { path, prefix, key } = &mut self.rendered;
        path.clear();
        prefix.clear();
        key.clear();
        self.path.render(event, now_ms, path);
        self.prefix.render(event, now_ms, prefix);
        key.push_str(path);
        key.push('/');
        key.push_str(prefix);
    }

    /// Makes the bucket of `key` exist, be the youngest, and be part of the round.
    fn use_bucket(&mut self, key: &str, round: &mut Round) {
        self.uses += 1;
        if !self.buckets.contains_key(key) {
            if self.buckets.len() >= self.config.open_files_max.max(1) {
                self.evict_eldest(round);
            }
            let start = self.outside.wall_ms().max(self.counter_dropped);
            let bucket = Bucket::new(&self.rendered.path, &self.rendered.prefix, start);
            self.buckets.insert(key.to_owned(), bucket);
        }
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.last_used = self.uses;
        }
        if !round.touched.iter().any(|touched| touched == key) {
            round.touched.push(key.to_owned());
        }
    }

    /// Forgets a bucket, but not how far its file names went: one that is made again within the same
    /// millisecond must not use them again.
    fn drop_bucket(&mut self, key: &str) -> Option<Bucket> {
        let bucket = self.buckets.remove(key)?;
        self.counter_dropped = self.counter_dropped.max(bucket.counter());
        Some(bucket)
    }

    /// `maxOpenFiles`: the bucket that was used longest ago is closed. If it holds events of this
    /// round, it is flushed with the round first.
    fn evict_eldest(&mut self, round: &mut Round) {
        let eldest = self
            .buckets
            .iter()
            .min_by_key(|(_, bucket)| bucket.last_used);
        let Some(key) = eldest.map(|(key, _)| key.clone()) else {
            return;
        };
        round.touched.retain(|touched| *touched != key);
        if let Some(file) = self.drop_bucket(&key).and_then(|bucket| bucket.open) {
            round.rolled.push(file);
        }
    }

    async fn append(
        &mut self,
        file_system: &FileSystem,
        round: &mut Round,
        event: &EventView<'_>,
        now_ms: u64,
    ) -> Result<(), FileSystemError> {
        let bucket = self
            .buckets
            .get_mut(&self.rendered.key)
            .expect("the bucket of the rendered key was made before");
        if let Some(full) = bucket.open.take_if(|file| file.is_full(&self.config)) {
            round.rolled.push(full);
        }
        let file = match &mut bucket.open {
            Some(file) => file,
            None => {
                let opened = bucket.open(file_system, &self.config, &self.orphans, &self.outside);
                match opened.await {
                    Ok(file) => {
                        self.counters.connection_created.increment();
                        let deadline = file.deadline(&self.config);
                        self.next_deadline = earlier(self.next_deadline, deadline);
                        file
                    }
                    Err(error) => {
                        self.counters.connection_failed.increment();
                        drop(self.drop_bucket(&self.rendered.key.clone()));
                        return Err(error);
                    }
                }
            }
        };
        let appended = file.append(event, now_ms).await;
        if appended.is_err()
            && let Some(failed) = self
                .drop_bucket(&self.rendered.key.clone())
                .and_then(|bucket| bucket.open)
        {
            round.rolled.push(failed);
        }
        appended
    }

    /// Makes the files that are full durable and closes them: each holds a pipeline, and a whole block
    /// of a DataNode's space, until then.
    async fn flush_rolled(&mut self, round: &mut Round) -> Result<(), FileSystemError> {
        let mut flushes = JoinSet::new();
        for mut file in round.rolled.drain(..) {
            flushes.spawn_local(async move {
                let flushed = file.sync().await;
                (file, flushed)
            });
        }
        let mut outcome = Ok(());
        while let Some(flush) = flushes.join_next().await {
            let (file, flushed) = flush.expect("a flush neither panics nor is aborted");
            if outcome.is_ok() {
                outcome = flushed;
            }
            self.close_in_background(file).await;
        }
        round.rolled_early = true;
        outcome
    }

    /// Makes every file of the round durable; several at once. Files that fail leave their bucket.
    async fn flush(&mut self, round: &mut Round) -> Result<(), FileSystemError> {
        let mut first_error = None;
        let mut flushes: JoinSet<(Option<String>, BucketFile, Result<(), FileSystemError>)> =
            JoinSet::new();
        let mut dirty: Vec<(Option<String>, BucketFile)> = Vec::new();
        for file in round.rolled.drain(..) {
            dirty.push((None, file));
        }
        for key in &round.touched {
            if let Some(bucket) = self.buckets.get_mut(key)
                && let Some(file) = bucket.open.take()
            {
                dirty.push((Some(key.clone()), file));
            }
        }
        for (key, mut file) in dirty {
            flushes.spawn_local(async move {
                let flushed = file.sync().await;
                (key, file, flushed)
            });
        }
        while let Some(flush) = flushes.join_next().await {
            let (key, file, flushed) = flush.expect("a flush neither panics nor is aborted");
            let failed = flushed.is_err();
            if let Err(error) = flushed {
                first_error.get_or_insert(error);
            }
            match key {
                Some(key) if !failed => {
                    let bucket = self.buckets.get_mut(&key);
                    let bucket = bucket.expect("buckets stay while their files are flushed");
                    self.next_deadline = earlier(self.next_deadline, file.deadline(&self.config));
                    bucket.open = Some(file);
                }
                Some(key) => {
                    drop(self.drop_bucket(&key));
                    round.rolled.push(file);
                }
                None => round.rolled.push(file),
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Closes and renames `file` in the background.
    async fn close_in_background(&mut self, file: BucketFile) {
        let Some(file_system) = self.file_system.clone() else {
            return;
        };
        self.reap();
        if self.closing.len() >= CLOSING_MAX {
            let limit = self.config.call_timeout.unwrap_or(STOP_WAIT);
            if let Ok(Some(finished)) = tokio::time::timeout(limit, self.closing.join_next()).await
            {
                count_finished(&self.counters, finished);
            }
        }
        self.closing
            .spawn_local(finish(file_system, file, self.retries()));
    }

    fn reap(&mut self) {
        while let Some(finished) = self.closing.try_join_next() {
            count_finished(&self.counters, finished);
        }
    }

    /// Closes what is too old or too long at rest.
    async fn run_timers(&mut self) {
        let now = Instant::now();
        if self.next_deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.next_deadline = None;
        let mut due = Vec::new();
        for (key, bucket) in &self.buckets {
            let deadline = bucket
                .open
                .as_ref()
                .and_then(|file| file.deadline(&self.config));
            if deadline.is_some_and(|deadline| deadline <= now) {
                due.push(key.clone());
            } else {
                self.next_deadline = earlier(self.next_deadline, deadline);
            }
        }
        for key in due {
            if let Some(file) = self.drop_bucket(&key).and_then(|bucket| bucket.open) {
                info!("Writer callback called.");
                self.close_in_background(file).await;
            }
        }
    }

    fn open_file(&mut self, key: &str) -> Option<&mut BucketFile> {
        self.buckets.get_mut(key)?.open.as_mut()
    }

    fn count_take(&self, event_count: usize) {
        if event_count < self.config.batch_size {
            self.counters.batch_underflow.increment();
        } else {
            self.counters.batch_complete.increment();
        }
        self.counters.event_drain_attempt.add(event_count as u64);
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (deadline, None) | (None, deadline) => deadline,
    }
}

fn count_finished(counters: &SinkCounters, finished: Result<Finished, tokio::task::JoinError>) {
    match finished {
        Ok(Finished { closed: true, .. }) => counters.connection_closed.increment(),
        Ok(Finished { closed: false, .. }) | Err(_) => counters.connection_failed.increment(),
    }
}

impl Sink for HdfsSink {
    async fn start(&mut self) -> Result<(), SinkError> {
        self.file_system().await.map_err(delivery)?;
        Ok(())
    }

    async fn process(&mut self, consumer: &Consumer) -> Result<Status, SinkError> {
        self.run_timers().await;
        self.reap();
        let mut round = Round::default();
        let filled = self.fill(consumer, &mut round).await;
        let Round { taken, rolled, .. } = round;
        for file in rolled {
            self.close_in_background(file).await;
        }
        match filled {
            Ok(()) if taken.is_empty() => {
                self.counters.batch_empty.increment();
                Ok(Status::Backoff)
            }
            Ok(()) => {
                for transaction in taken {
                    transaction.commit();
                }
                self.counters.event_drain_success.add(round.event_count);
                Ok(Status::Ready)
            }
            Err(error) => {
                // The last taken goes back first, so that each finds its place at the head.
                for transaction in taken.into_iter().rev() {
                    transaction.rollback();
                }
                match error {
                    RoundError::Take(error) => {
                        self.counters.channel_read_fail.increment();
                        Err(SinkError::Take(error))
                    }
                    RoundError::FileSystem(error) => {
                        self.counters.event_write_fail.increment();
                        warn!("HDFS IO error: {error}");
                        Ok(Status::Failed)
                    }
                    RoundError::Event(error) => {
                        self.counters.event_write_fail.increment();
                        Err(SinkError::Delivery {
                            what: "process failed: an event of the channel cannot be read"
                                .to_owned(),
                            source: Some(Box::new(error)),
                        })
                    }
                }
            }
        }
    }

    async fn tick(&mut self) -> Option<Duration> {
        self.run_timers().await;
        self.reap();
        let now = Instant::now();
        self.next_deadline
            .map(|deadline| deadline.saturating_duration_since(now))
    }

    async fn stop(&mut self) {
        for (_, bucket) in std::mem::take(&mut self.buckets) {
            if let Some(file) = bucket.open {
                self.close_in_background(file).await;
            }
        }
        let limit = self.config.call_timeout.unwrap_or(STOP_WAIT).min(STOP_WAIT);
        let counters = Arc::clone(&self.counters);
        let closing = &mut self.closing;
        let all = async move {
            while let Some(finished) = closing.join_next().await {
                count_finished(&counters, finished);
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            warn!(
                "{} files of {} are not closed and renamed yet; the next start goes on with them",
                self.closing.len(),
                self.config.path
            );
            self.closing.abort_all();
        }
    }
}

fn delivery(error: FileSystemError) -> SinkError {
    SinkError::Delivery {
        what: format!("HDFS IO error: {error}"),
        source: Some(Box::new(error)),
    }
}
