//! The `file_roll` sink.
//!
//! Lives on one drain thread and writes through its ring. A timer marks the file as due; it is closed
//! and the next one opened when the sink runs or its timer ticks, events or not, so an idle sink leaves
//! one empty file per interval, as Flume does. Flume flushes to the system at each batch; here a batch is
//! committed only after `fdatasync`, because what we commit must survive a power cut.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::time::Instant;
use tracing::info;

use super::names::Names;
use crate::channel::{Consumer, Transaction};
use crate::config::FileRollConfig;
use crate::metrics::SinkCounters;
use crate::reactor::Defence;
use crate::sink::hdfs::LocalFile;
use crate::sink::serializer::Serializer;
use crate::sink::{Outside, Sink, SinkError, Status};

/// Writes events to local files.
pub struct FileRollSink {
    config: FileRollConfig,
    names: Names,
    outside: Outside,
    counters: Arc<SinkCounters>,
    open: Option<OpenFile>,
    /// When the file at hand is due to be rolled.
    next_roll: Option<Instant>,
}

impl std::fmt::Debug for FileRollSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileRollSink")
            .field("directory", &self.config.directory)
            .finish_non_exhaustive()
    }
}

struct OpenFile {
    path: String,
    file: LocalFile,
    serializer: Serializer,
    buffer: Vec<u8>,
}

impl FileRollSink {
    /// A sink for `config`.
    #[must_use]
    pub fn new(config: FileRollConfig, counters: Arc<SinkCounters>, outside: Outside) -> Self {
        let names = Names::new(&config, outside.wall_ms(), TimeZone::system());
        Self {
            config,
            names,
            outside,
            counters,
            open: None,
            next_roll: None,
        }
    }

    /// Closes the file when it is due.
    async fn roll(&mut self) -> Result<(), SinkError> {
        let now = Instant::now();
        let Some(interval) = self.config.roll_interval else {
            return Ok(());
        };
        let due = *self.next_roll.get_or_insert(now + interval);
        if now < due {
            return Ok(());
        }
        // The timer goes on by whole intervals, however late the sink runs.
        let late = (now - due).as_nanos() / interval.as_nanos().max(1);
        let steps = u32::try_from(late).unwrap_or(u32::MAX - 1) + 1;
        self.next_roll = Some(due.checked_add(interval * steps).unwrap_or(now + interval));
        self.close().await
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        match write_out(&mut open).await {
            Ok(()) => {
                self.counters.connection_closed.increment();
                Ok(())
            }
            Err(error) => {
                self.counters.connection_failed.increment();
                Err(failed("close", &open.path, error))
            }
        }
    }

    /// Rolls if it is time, and has a file open.
    async fn ready_file(&mut self) -> Result<(), SinkError> {
        self.roll().await?;
        if self.open.is_none() {
            self.open().await?;
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), SinkError> {
        let name = self.names.next(self.outside.wall_ms());
        let path = self.config.directory.join(name);
        let text = path.display().to_string();
        info!("Opening output stream for file {text}");
        let file = LocalFile::create(&path).await;
        let file = file.map_err(|error| {
            self.counters.connection_failed.increment();
            failed("create", &text, error)
        })?;
        let marker = self.outside.sync_marker();
        let serializer = Serializer::new(&self.config.serializer, marker).map_err(|error| {
            SinkError::Delivery {
                what: format!("file_roll: {error}"),
                source: None,
            }
        })?;
        let mut buffer = Vec::new();
        serializer.begin(&mut buffer);
        self.counters.connection_created.increment();
        self.open = Some(OpenFile {
            path: text,
            file,
            serializer,
            buffer,
        });
        Ok(())
    }

    async fn append(&mut self, transaction: &Transaction) -> Result<(), SinkError> {
        let open = self.open.as_mut().expect("process opens a file first");
        for event in transaction.iter() {
            let event = event.map_err(|error| SinkError::Delivery {
                what: "process failed: an event of the channel cannot be read".to_owned(),
                source: Some(Box::new(error)),
            })?;
            open.serializer.append(&event, &mut open.buffer);
        }
        if Defence::FileWrite.removed() {
            return Ok(());
        }
        write_out(open)
            .await
            .map_err(|error| failed("write", &open.path, error))
    }
}

/// Ends what the serializer holds back and makes the file durable.
async fn write_out(open: &mut OpenFile) -> std::io::Result<()> {
    open.serializer.flush(&mut open.buffer);
    if open.buffer.is_empty() {
        return Ok(());
    }
    let room = open.buffer.capacity();
    let bytes = std::mem::replace(&mut open.buffer, Vec::with_capacity(room));
    open.file.write(bytes).await?;
    open.file.sync().await
}

fn failed(operation: &str, path: &str, error: std::io::Error) -> SinkError {
    SinkError::Delivery {
        what: format!("Unable to deliver event: {operation} {path}: {error}"),
        source: Some(Box::new(error)),
    }
}

impl Sink for FileRollSink {
    async fn start(&mut self) -> Result<(), SinkError> {
        if let Some(interval) = self.config.roll_interval {
            self.next_roll = Some(Instant::now() + interval);
        }
        Ok(())
    }

    async fn process(&mut self, consumer: &Consumer) -> Result<Status, SinkError> {
        self.ready_file().await?;
        let taken = consumer.take(self.config.batch_size).await;
        let transaction = taken.inspect_err(|_| self.counters.channel_read_fail.increment())?;
        let Some(transaction) = transaction else {
            self.counters.batch_empty.increment();
            return Ok(Status::Backoff);
        };
        let event_count = transaction.event_count();
        if event_count < self.config.batch_size {
            self.counters.batch_underflow.increment();
        } else {
            self.counters.batch_complete.increment();
        }
        self.counters.event_drain_attempt.add(event_count as u64);
        if let Err(error) = self.append(&transaction).await {
            // What reached the file is unknown: its events go to a new one.
            self.counters.event_write_fail.increment();
            self.open = None;
            transaction.rollback();
            return Err(error);
        }
        transaction.commit();
        self.counters.event_drain_success.add(event_count as u64);
        Ok(Status::Ready)
    }

    async fn tick(&mut self) -> Option<Duration> {
        if self.next_roll.is_some_and(|due| due <= Instant::now())
            && let Err(error) = self.ready_file().await
        {
            // The next batch, or the next interval, tries again.
            tracing::error!("Unable to roll over: {error}");
        }
        let next = self.next_roll?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    async fn stop(&mut self) {
        if let Err(error) = self.close().await {
            tracing::error!("Unable to close output stream: {error}");
        }
    }
}
