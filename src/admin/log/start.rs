//! Starts the log, and ends it with every line written.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::thread::JoinHandle;

use jiff::tz::TimeZone;
use tracing::{Level, Subscriber, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::layer::QueueLayer;
use super::output::{Output, RollingFile};
use super::pattern::{Form, Pattern};
use super::queue::{Inbox, Message, Sender, queue};
use super::record::Record;
use super::settings::LogSettings;
use crate::admin::Console;
use crate::admin::clock::wall_ms;

/// Lines gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// Why the log could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file.
    #[error("log file {} cannot be opened", path.display())]
    File {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The filter.
    #[error("-Dflumen.log.filter={filter} is not a filter, such as info,flumen::sink=debug")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The writer thread.
    #[error("the log's thread cannot be started")]
    Thread(#[source] io::Error),
    /// Something logs already.
    #[error("the log was started before")]
    Started,
}

/// The running log. Dropping it writes out what was logged, then ends the writer thread.
#[derive(Debug)]
pub struct LogGuard {
    sender: Sender,
    thread: Option<JoinHandle<()>>,
}

impl LogGuard {
    /// Waits until everything logged so far is written. For paths that leave without unwinding.
    pub fn flush(&self) {
        self.sender.flush();
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.sender.stop();
        if let Some(thread) = self.thread.take() {
            // If the writer panicked, there is no log left to say so.
            thread.join().ok();
        }
    }
}

/// Starts the log of the process; `console` is shared with the progress bars.
///
/// # Errors
/// [`LogError`]: nothing is logged then, so say it on standard error.
pub fn start(settings: &LogSettings, console: &Console) -> Result<LogGuard, LogError> {
    let (subscriber, guard) = prepare(settings, console)?;
    subscriber.try_init().map_err(|_| LogError::Started)?;
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    Ok(guard)
}

fn prepare(
    settings: &LogSettings,
    console: &Console,
) -> Result<(impl Subscriber + Send + Sync, LogGuard), LogError> {
    let builder = EnvFilter::builder().with_default_directive(settings.level.into());
    let filter = match &settings.filter {
        None => builder.parse_lossy(""),
        Some(filter) => builder.parse(filter).map_err(|source| LogError::Filter {
            filter: filter.clone(),
            source,
        })?,
    };
    let zone = TimeZone::system();
    let mut outputs = Vec::new();
    if settings.console {
        let pattern = Pattern::new(Form::Console, zone.clone());
        outputs.push((pattern, Output::Console(console.clone())));
    }
    if let Some(file) = &settings.file {
        let opened = RollingFile::open(file, zone.clone(), wall_ms());
        let opened = opened.map_err(|source| LogError::File {
            path: file.path.clone(),
            source,
        })?;
        outputs.push((Pattern::new(Form::File, zone), Output::File(opened)));
    }
    let (sender, inbox) = queue();
    let writer = Writer {
        inbox,
        outputs: outputs
            .into_iter()
            .map(|(pattern, output)| Channel {
                pattern,
                output,
                lines: String::new(),
                failed: false,
            })
            .collect(),
        last_ms: wall_ms(),
    };
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run())
        .map_err(LogError::Thread)?;
    let layer = QueueLayer(sender.clone());
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    let guard = LogGuard {
        sender,
        thread: Some(thread),
    };
    Ok((subscriber, guard))
}

/// The writer thread's state.
#[derive(Debug)]
struct Writer {
    inbox: Inbox,
    outputs: Vec<Channel>,
    last_ms: u64,
}

/// One output with its pattern and the lines gathered for it.
#[derive(Debug)]
struct Channel {
    pattern: Pattern,
    output: Output,
    lines: String,
    failed: bool,
}

impl Writer {
    /// Gathers what is at hand, writes it, waits for more.
    fn run(mut self) {
        while let Some(first) = self.inbox.next() {
            let mut message = Some(first);
            let mut stop = false;
            while let Some(now) = message {
                match now {
                    Message::Record(record) => self.gather(&record),
                    Message::Flush(answer) => {
                        self.write();
                        answer.send(()).ok();
                    }
                    Message::Stop => stop = true,
                }
                message = match stop {
                    true => None,
                    false => self.inbox.next_at_hand(),
                };
            }
            self.report_dropped();
            self.write();
            if stop {
                return;
            }
        }
    }

    fn gather(&mut self, record: &Record) {
        self.last_ms = record.wall_ms;
        for channel in &mut self.outputs {
            channel.pattern.append(record, &mut channel.lines);
        }
        if self.outputs.iter().any(|it| it.lines.len() >= WRITE_BYTES) {
            self.write();
        }
    }

    fn report_dropped(&mut self) {
        let dropped = self.inbox.take_dropped();
        if dropped == 0 {
            return;
        }
        self.gather(&Record {
            wall_ms: wall_ms(),
            level: Level::WARN,
            thread: "log".to_owned(),
            target: Cow::Borrowed(module_path!()),
            file: Some(Cow::Borrowed(file!())),
            line: Some(line!()),
            text: format!(
                "{dropped} log lines were dropped: they came faster than the console or the log \
                 file took them"
            ),
        });
    }

    fn write(&mut self) {
        for channel in &mut self.outputs {
            if channel.lines.is_empty() {
                continue;
            }
            let written = channel.output.write(&channel.lines, self.last_ms);
            channel.lines.clear();
            match written {
                Ok(()) => channel.failed = false,
                // Said once a failure; the lines that follow are tried all the same.
                Err(reason) if !channel.failed => {
                    channel.failed = true;
                    writeln!(io::stderr(), "flumen: the log cannot be written: {reason}").ok();
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
