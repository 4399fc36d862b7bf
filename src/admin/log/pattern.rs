//! Flume's line patterns.
//!
//! | where   | pattern of Flume's log4j.properties                        |
//! |---------|------------------------------------------------------------|
//! | console | `%d (%t) [%p - %l] %m%n`, the date as `yyyy-MM-dd HH:mm:ss,SSS` |
//! | file    | `%d{dd MMM yyyy HH:mm:ss,SSS} %-5p [%t] (%C.%M:%L) %x - %m%n` |
//!
//! A line's location is `target(file:line)`. A target that has a parenthesis is a location already:
//! that is how lines carry the Java class that operators search for.
//! Belongs to the writer thread, which is why the second that it last wrote can be kept here.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::record::Record;

/// Which of Flume's patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Console,
    File,
}

/// Writes records as lines, in local time.
#[derive(Debug)]
pub(super) struct Pattern {
    form: Form,
    zone: TimeZone,
    second: Option<u64>,
    date_text: String,
}

impl Pattern {
    pub(super) fn new(form: Form, zone: TimeZone) -> Self {
        Self {
            form,
            zone,
            second: None,
            date_text: String::new(),
        }
    }

    /// Appends the line of `record`, with its end.
    pub(super) fn append(&mut self, record: &Record, line: &mut String) {
        self.set_second(record.wall_ms / 1_000);
        let date = &self.date_text;
        let milliseconds = record.wall_ms % 1_000;
        let Record {
            level,
            thread,
            text,
            ..
        } = record;
        let level = level.as_str();
        match self.form {
            Form::Console => {
                let location = console_location(record);
                writeln!(
                    line,
                    "{date},{milliseconds:03} ({thread}) [{level} - {location}] {text}"
                )
            }
            Form::File => {
                let location = file_location(record);
                // `%x` is always empty, so two blanks meet.
                writeln!(
                    line,
                    "{date},{milliseconds:03} {level:<5} [{thread}] ({location})  - {text}"
                )
            }
        }
        .expect("writing to a string does not fail");
    }

    fn set_second(&mut self, second: u64) {
        if self.second == Some(second) {
            return;
        }
        let format = match self.form {
            Form::Console => "%Y-%m-%d %H:%M:%S",
            Form::File => "%d %b %Y %H:%M:%S",
        };
        let local = i64::try_from(second)
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok())
            .unwrap_or(Timestamp::MAX)
            .to_zoned(self.zone.clone());
        self.date_text = local.strftime(format).to_string();
        self.second = Some(second);
    }
}

fn file_name(record: &Record) -> &str {
    let path = record.file.as_deref().unwrap_or("?");
    path.rsplit('/').next().unwrap_or(path)
}

fn console_location(record: &Record) -> String {
    match record.target.contains('(') {
        true => record.target.to_string(),
        false => format!(
            "{}({}:{})",
            record.target,
            file_name(record),
            record.line.unwrap_or(0)
        ),
    }
}

/// `class.method:line`, from a Java location or from ours.
fn file_location(record: &Record) -> String {
    match record.target.split_once('(') {
        Some((class_and_method, place)) => {
            let place = place.trim_end_matches(')');
            let line = place.rsplit_once(':').map_or("?", |(_, line)| line);
            format!("{class_and_method}:{line}")
        }
        None => format!("{}:{}", record.target, record.line.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use tracing::Level;

    use super::*;

    fn record(target: &'static str, level: Level, text: &str) -> Record {
        Record {
            // 13 June 2018, 14:00:38.898 UTC.
            wall_ms: 1_528_898_438_898,
            level,
            thread: "main".to_owned(),
            target: Cow::Borrowed(target),
            file: Some(Cow::Borrowed("src/agent/life.rs")),
            line: Some(94),
            text: text.to_owned(),
        }
    }

    fn check(form: Form, target: &'static str, level: Level, expected: &str) {
        let zone =
            TimeZone::get("Asia/Shanghai").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(8)));
        let mut line = String::new();
        Pattern::new(form, zone).append(&record(target, level, "Hello"), &mut line);
        assert_eq!(line, expected);
    }

    #[test]
    fn console_line_is_flumes() {
        check(
            Form::Console,
            "org.apache.flume.sink.LoggerSink.process(LoggerSink.java:94)",
            Level::INFO,
            "2018-06-13 22:00:38,898 (main) [INFO - org.apache.flume.sink.LoggerSink.process(LoggerSink.java:94)] Hello\n",
        );
        check(
            Form::Console,
            "flumen::agent::life",
            Level::WARN,
            "2018-06-13 22:00:38,898 (main) [WARN - flumen::agent::life(life.rs:94)] Hello\n",
        );
    }

    #[test]
    fn file_line_is_flumes() {
        check(
            Form::File,
            "org.apache.flume.sink.LoggerSink.process(LoggerSink.java:94)",
            Level::INFO,
            "13 Jun 2018 22:00:38,898 INFO  [main] (org.apache.flume.sink.LoggerSink.process:94)  - Hello\n",
        );
        check(
            Form::File,
            "flumen::agent::life",
            Level::ERROR,
            "13 Jun 2018 22:00:38,898 ERROR [main] (flumen::agent::life:94)  - Hello\n",
        );
    }

    #[test]
    fn date_moves_on_with_the_second() {
        let mut pattern = Pattern::new(Form::Console, TimeZone::UTC);
        let mut text = String::new();
        let mut at = record("t(x)", Level::INFO, "m");
        for wall_ms in [999, 1_000, 1_001, 86_400_000] {
            at.wall_ms = wall_ms;
            pattern.append(&at, &mut text);
        }
        let dates: Vec<&str> = text.lines().map(|line| &line[..23]).collect();
        assert_eq!(
            dates,
            [
                "1970-01-01 00:00:00,999",
                "1970-01-01 00:00:01,000",
                "1970-01-01 00:00:01,001",
                "1970-01-02 00:00:00,000"
            ]
        );
    }
}
