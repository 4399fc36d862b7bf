//! `type = logger`: prints every event at INFO, in Flume's exact words.
//!
//! Lives on the drain thread of its runner. Always true: a line is printed before its event is
//! committed, so a crash repeats lines and never swallows one.

use std::fmt::Write as _;

use tracing::info;

use super::{Sink, SinkError, Status};
use crate::channel::Consumer;
use crate::event::EventView;

/// Events of one transaction. Flume takes one; nobody can see the difference, as each is printed.
const TRANSACTION_EVENTS_MAX: usize = 100;
/// Bytes of a body that one line of the dump shows.
const DUMP_LINE_BYTES: usize = 16;

/// The sink.
#[derive(Debug)]
pub struct LoggerSink {
    body_bytes_max: usize,
    line: String,
}

impl LoggerSink {
    /// Prints at most `bytes_max` bytes of each body (`maxBytesToLog`); none prints all.
    #[must_use]
    pub fn new(bytes_max: Option<usize>) -> Self {
        Self {
            body_bytes_max: bytes_max.unwrap_or(usize::MAX),
            line: String::new(),
        }
    }

    fn print(&mut self, event: &EventView<'_>) {
        self.line.clear();
        write_event(&mut self.line, event, self.body_bytes_max);
        info!(
            target: "org.apache.flume.sink.LoggerSink.process(LoggerSink.java:95)",
            thread = "SinkRunner-PollingRunner-DefaultSinkProcessor",
            "{}",
            self.line
        );
    }
}

impl Sink for LoggerSink {
    async fn start(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn process(&mut self, consumer: &Consumer) -> Result<Status, SinkError> {
        let Some(transaction) = consumer.take(TRANSACTION_EVENTS_MAX).await? else {
            return Ok(Status::Backoff);
        };
        for event in transaction.iter() {
            let event = event.map_err(|source| SinkError::Delivery {
                what: "an event in the channel is not readable".to_owned(),
                source: Some(Box::new(source)),
            })?;
            self.print(&event);
        }
        transaction.commit();
        Ok(Status::Ready)
    }

    async fn stop(&mut self) {}
}

/// The line of one event, with up to `body_bytes_max` bytes of its body.
#[must_use]
pub fn event_line(event: &EventView<'_>, body_bytes_max: usize) -> String {
    let mut line = String::new();
    write_event(&mut line, event, body_bytes_max);
    line
}

/// `Event: { headers:{k=v, k2=v2} body: 48 65 …  He… }`.
fn write_event(out: &mut String, event: &EventView<'_>, body_bytes_max: usize) {
    out.push_str("Event: { headers:{");
    let headers = event.headers_in_flume_order();
    for (index, (key, value)) in headers.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        out.push_str(&String::from_utf8_lossy(key));
        out.push('=');
        out.push_str(&String::from_utf8_lossy(value));
    }
    out.push_str("} body:");
    let body = event.body();
    write_dump(out, &body[..body.len().min(body_bytes_max)]);
    out.push_str(" }");
}

/// Sixteen bytes a line: hex, blanks for what is missing, text. Every line but the first begins with
/// its offset.
fn write_dump(out: &mut String, bytes: &[u8]) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for (index, line) in bytes.chunks(DUMP_LINE_BYTES).enumerate() {
        if index > 0 {
            write!(out, "\n{:08X}", index * DUMP_LINE_BYTES)
                .expect("writing to a String cannot fail");
        }
        out.push(' ');
        for byte in line {
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            out.push(' ');
        }
        for _ in line.len()..DUMP_LINE_BYTES {
            out.push_str("   ");
        }
        out.extend(line.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Events, Overlay, encode_event};

    fn check(headers: &[(&str, &str)], body: &[u8], bytes_max: Option<usize>, expected: &str) {
        let headers = headers
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut encoded = Vec::new();
        encode_event(&mut encoded, &headers, body);
        let overlay = Overlay::default();
        let event = Events::new(&encoded, &overlay, 0).next().unwrap().unwrap();
        let mut line = String::new();
        let sink = LoggerSink::new(bytes_max);
        write_event(&mut line, &event, sink.body_bytes_max);
        assert_eq!(line, expected);
    }

    #[test]
    fn line_of_flume_is_reproduced_character_for_character() {
        check(
            &[],
            b"Hello World!\r",
            Some(16),
            "Event: { headers:{} body: 48 65 6C 6C 6F 20 57 6F 72 6C 64 21 0D          Hello World!. }",
        );
        check(
            &[("file", "/opt/soft/flume-monitor/m1/node.txt")],
            b"1",
            Some(16),
            "Event: { headers:{file=/opt/soft/flume-monitor/m1/node.txt} body: 31                                              1 }",
        );
        check(
            &[("file", "/opt/soft/flume-monitor/m1/node.txt")],
            b"10",
            Some(16),
            "Event: { headers:{file=/opt/soft/flume-monitor/m1/node.txt} body: 31 30                                           10 }",
        );
    }

    #[test]
    fn sixteen_bytes_of_a_longer_body_are_shown() {
        check(
            &[],
            b"abcdefghijklmnopqrst",
            Some(16),
            "Event: { headers:{} body: 61 62 63 64 65 66 67 68 69 6A 6B 6C 6D 6E 6F 70 abcdefghijklmnop }",
        );
    }

    #[test]
    fn empty_body_leaves_the_dump_out() {
        check(&[], b"", Some(16), "Event: { headers:{} body: }");
        check(&[], b"abc", Some(0), "Event: { headers:{} body: }");
    }

    #[test]
    fn headers_come_in_the_order_of_a_java_map() {
        // Expected: OpenJDK 17, println of a HashMap filled in this order.
        check(
            &[
                ("app", "a"),
                ("category", "c"),
                ("host", "h"),
                ("id", "i"),
                ("topic", "t"),
                ("zone", "z"),
            ],
            b"",
            Some(16),
            "Event: { headers:{app=a, zone=z, host=h, topic=t, id=i, category=c} body: }",
        );
    }

    #[test]
    fn more_bytes_go_to_lines_that_begin_with_their_offset() {
        check(
            &[],
            b"0123456789abcdefgh\xff",
            None,
            "Event: { headers:{} body: 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 0123456789abcdef\n\
             00000010 67 68 FF                                        gh. }",
        );
    }
}
