//! One thing logged, before it is a line. Made by the thread that logs, read by the writer thread.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::Level;
use tracing::field::{Field, Visit};

/// The logger sink's events: the whole point of that sink, so they are never dropped.
const LOGGER_SINK: &str = "org.apache.flume.sink.LoggerSink";

/// One thing logged.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) wall_ms: u64,
    pub(super) level: Level,
    pub(super) thread: String,
    pub(super) target: Cow<'static, str>,
    pub(super) file: Option<Cow<'static, str>>,
    pub(super) line: Option<u32>,
    /// The message with its fields and causes, already safe to print.
    pub(super) text: String,
}

impl Record {
    /// What `event` says, logged at `wall_ms`.
    pub(super) fn of(event: &tracing::Event<'_>, wall_ms: u64) -> Self {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut text = escaped(&fields.message);
        text.push_str(&escaped(&fields.others));
        for cause in &fields.causes {
            text.push_str("\nCaused by: ");
            text.push_str(&escaped(cause));
        }
        let file = metadata.file().map(Cow::Borrowed);
        Self {
            wall_ms,
            level: *metadata.level(),
            thread: fields.thread.unwrap_or_else(current_thread),
            target: fields
                .log_target
                .map_or(Cow::Borrowed(metadata.target()), Cow::Owned),
            file: fields.log_file.map(Cow::Owned).or(file),
            line: fields.log_line.or(metadata.line()),
            text,
        }
    }

    /// Whether the thread that logs waits for room in the queue rather than lose the record.
    pub(super) fn must_be_written(&self) -> bool {
        self.level == Level::ERROR || self.target.starts_with(LOGGER_SINK)
    }

    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.thread.len()
    }
}

fn current_thread() -> String {
    let thread = std::thread::current();
    match thread.name() {
        Some(name) => name.to_owned(),
        None => format!("{:?}", thread.id()),
    }
}

/// Log text with nothing in it that could forge a line or steer a terminal: what follows a line
/// break is indented, other control characters are written out.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\n\t"),
            '\t' => safe.push('\t'),
            control if control.is_control() => {
                write!(safe, "\\u{:04x}", u32::from(control))
                    .expect("writing to a string does not fail");
            }
            plain => safe.push(plain),
        }
    }
    safe
}

/// Takes an event's fields apart.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    thread: Option<String>,
    others: String,
    causes: Vec<String>,
    log_target: Option<String>,
    log_file: Option<String>,
    log_line: Option<u32>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        match field.name() {
            "message" => self.message = value.to_string(),
            "thread" => self.thread = Some(escaped(&value.to_string())),
            // What the `log` crate's records bring along.
            "log.target" => self.log_target = Some(value.to_string()),
            "log.file" => self.log_file = Some(value.to_string()),
            "log.module_path" | "log.line" => {}
            name => {
                write!(self.others, " {name}={value}").expect("writing to a string does not fail")
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "log.line" => self.log_line = u32::try_from(value).ok(),
            _ => self.put(field, format_args!("{value}")),
        }
    }

    fn record_error(&mut self, _field: &Field, value: &(dyn Error + 'static)) {
        let mut next = Some(value);
        while let Some(error) = next {
            let text = error.to_string();
            // Some errors repeat their source's text as their own.
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_forge_a_line_or_steer_a_terminal() {
        assert_eq!(
            escaped("a\nb\r\x1b[31mc\td"),
            "a\n\tb\\u000d\\u001b[31mc\td"
        );
        assert_eq!(escaped("日志 → ok"), "日志 → ok");
    }
}
