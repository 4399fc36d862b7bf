//! Where exported events go: a file or standard output in one of three forms, or another collector.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::collector::Collector;
use super::error::MaintenanceError;
use super::json_lines;
use crate::config::SerializerConfig;
use crate::config::wal_command_line::{ExportArguments, ExportFormat};
use crate::event::{EventView, write_bytes, write_long};
use crate::reactor::{Ground, ReadOnlyWorld};
use crate::sink::serializer::Serializer;

/// Flume's `serializer.syncIntervalBytes`.
const SYNC_INTERVAL_BYTES: usize = 2_048_000;
/// Bytes gathered before a write.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes of events in one batch to a collector, unless one event is larger.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Takes events.
#[derive(Debug)]
pub enum Outlet {
    /// A file or standard output.
    File(Box<FileOutlet>),
    /// Another collector.
    Collector(Box<CollectorOutlet>),
}

/// A file or standard output.
#[derive(Debug)]
pub struct FileOutlet {
    path: PathBuf,
    /// None: standard output.
    file: Option<File>,
    form: Form,
    gathered: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Serialized(Serializer),
    JsonLines,
}

/// Another collector.
#[derive(Debug)]
pub struct CollectorOutlet {
    collector: Collector,
    batch_events_max: usize,
    gathered: Vec<u8>,
    count: usize,
}

impl Outlet {
    /// What the options ask for.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn of(arguments: &ExportArguments) -> Result<Self, MaintenanceError> {
        if let Some(address) = &arguments.to {
            let collector = Collector::new(address, arguments.deflate, arguments.attempts);
            return Ok(Self::Collector(Box::new(CollectorOutlet {
                collector,
                batch_events_max: arguments.batch.max(1),
                gathered: Vec::new(),
                count: 0,
            })));
        }
        let path = arguments.output.clone();
        let file = match path == Path::new("-") {
            true => None,
            false => {
                let made = OpenOptions::new().write(true).create_new(true).open(&path);
                Some(made.map_err(|source| MaintenanceError::Output {
                    path: path.clone(),
                    source,
                })?)
            }
        };
        let form = form(arguments.format);
        let mut gathered = Vec::new();
        if let Form::Serialized(serializer) = &form {
            serializer.begin(&mut gathered);
        }
        Ok(Self::File(Box::new(FileOutlet {
            path,
            file,
            form,
            gathered,
        })))
    }

    /// Takes one event. True: it and all before it have arrived.
    ///
    /// # Errors
    /// The file or the collector does not take it.
    pub async fn take(
        &mut self,
        shard: u32,
        number: u64,
        event: &EventView<'_>,
    ) -> Result<bool, MaintenanceError> {
        match self {
            Self::File(outlet) => outlet.take(shard, number, event),
            Self::Collector(outlet) => outlet.take(event).await,
        }
    }

    /// Everything taken so far has arrived when this returns.
    ///
    /// # Errors
    /// The file or the collector does not take it.
    pub async fn flush(&mut self) -> Result<(), MaintenanceError> {
        match self {
            Self::File(outlet) => outlet.flush(),
            Self::Collector(outlet) => outlet.flush().await,
        }
    }
}

fn form(format: ExportFormat) -> Form {
    let config = match format {
        ExportFormat::Json => return Form::JsonLines,
        ExportFormat::Raw => SerializerConfig::Text {
            append_newline: true,
        },
        ExportFormat::Avro => SerializerConfig::AvroEvent {
            sync_interval_bytes: SYNC_INTERVAL_BYTES,
            codec: "null".to_owned(),
        },
    };
    let ground = ReadOnlyWorld::default();
    let mut marker = [0; 16];
    for half in marker.chunks_mut(8) {
        half.copy_from_slice(&ground.random().to_le_bytes());
    }
    let serializer = Serializer::new(&config, marker).expect("the codec null is there");
    Form::Serialized(serializer)
}

impl FileOutlet {
    fn take(
        &mut self,
        shard: u32,
        number: u64,
        event: &EventView<'_>,
    ) -> Result<bool, MaintenanceError> {
        match &mut self.form {
            Form::Serialized(serializer) => serializer.append(event, &mut self.gathered),
            Form::JsonLines => json_lines::append(&mut self.gathered, shard, number, event),
        }
        if self.gathered.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(false)
    }

    fn write(&mut self) -> Result<(), MaintenanceError> {
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.gathered),
            None => io::stdout().write_all(&self.gathered),
        };
        self.gathered.clear();
        written.map_err(|source| self.failed(source))
    }

    fn flush(&mut self) -> Result<(), MaintenanceError> {
        if let Form::Serialized(serializer) = &mut self.form {
            serializer.flush(&mut self.gathered);
        }
        self.write()?;
        let flushed = match &mut self.file {
            Some(file) => file.sync_all(),
            None => io::stdout().flush(),
        };
        flushed.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> MaintenanceError {
        MaintenanceError::Output {
            path: self.path.clone(),
            source,
        }
    }
}

impl CollectorOutlet {
    async fn take(&mut self, event: &EventView<'_>) -> Result<bool, MaintenanceError> {
        if self.gathered.len() + event.encoded().len() > BATCH_BYTES_MAX && self.count > 0 {
            self.flush().await?;
        }
        if event.overlay().is_empty() {
            self.gathered.extend_from_slice(event.encoded());
        } else {
            encode(&mut self.gathered, event);
        }
        self.count += 1;
        if self.count < self.batch_events_max {
            return Ok(false);
        }
        self.flush().await?;
        Ok(true)
    }

    async fn flush(&mut self) -> Result<(), MaintenanceError> {
        if self.count > 0 {
            self.collector
                .append_batch(self.count, &self.gathered)
                .await?;
        }
        self.gathered.clear();
        self.count = 0;
        Ok(())
    }
}

/// The event as the collector's sinks would see it: with what interceptors added.
fn encode(out: &mut Vec<u8>, event: &EventView<'_>) {
    let headers = event.headers();
    if !headers.is_empty() {
        write_long(out, i64::try_from(headers.len()).expect("headers are few"));
        for (key, value) in headers {
            write_bytes(out, key);
            write_bytes(out, value);
        }
    }
    write_long(out, 0);
    write_bytes(out, event.body());
}
