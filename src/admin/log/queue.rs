//! From the threads that log to the writer thread: bounded by records and by bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::record::Record;

/// Records that may wait.
const RECORDS_MAX: usize = 4_096;
/// Bytes of records that may wait.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a thread that must get its record through looks for room.
const ROOM_INTERVAL: Duration = Duration::from_millis(1);

/// What the writer thread receives.
#[derive(Debug)]
pub(super) enum Message {
    Record(Record),
    /// Write out everything before this, then answer.
    Flush(SyncSender<()>),
    /// Write out everything before this, then end.
    Stop,
}

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// The end for threads that log.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    messages: SyncSender<Message>,
    counts: Arc<Counts>,
}

/// The writer thread's end.
#[derive(Debug)]
pub(super) struct Inbox {
    messages: Receiver<Message>,
    counts: Arc<Counts>,
}

pub(super) fn queue() -> (Sender, Inbox) {
    let (sender, receiver) = sync_channel(RECORDS_MAX);
    let counts = Arc::<Counts>::default();
    let inbox = Inbox {
        messages: receiver,
        counts: Arc::clone(&counts),
    };
    let sender = Sender {
        messages: sender,
        counts,
    };
    (sender, inbox)
}

impl Sender {
    /// Hands a record over: waits for room if it must be written, else drops and counts it when
    /// there is none.
    pub(super) fn send(&self, record: Record) {
        let bytes = record.bytes();
        let must_be_written = record.must_be_written();
        while self.counts.waiting_bytes.load(Relaxed) >= BYTES_MAX {
            if !must_be_written {
                self.counts.dropped.fetch_add(1, Relaxed);
                return;
            }
            std::thread::park_timeout(ROOM_INTERVAL);
        }
        self.counts.waiting_bytes.fetch_add(bytes, Relaxed);
        let message = Message::Record(record);
        let sent = match must_be_written {
            true => self.messages.send(message).is_ok(),
            false => self.messages.try_send(message).is_ok(),
        };
        if !sent {
            // Full, or the writer ended because the process does.
            self.counts.waiting_bytes.fetch_sub(bytes, Relaxed);
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until everything logged before is written. At once when the writer has ended.
    pub(super) fn flush(&self) {
        let (answer, answered) = sync_channel(1);
        if self.messages.send(Message::Flush(answer)).is_ok() {
            answered.recv().ok();
        }
    }

    /// Tells the writer to end.
    pub(super) fn stop(&self) {
        self.messages.send(Message::Stop).ok();
    }
}

impl Inbox {
    /// The next message, waiting for it.
    pub(super) fn next(&self) -> Option<Message> {
        self.noted(self.messages.recv().ok())
    }

    /// The next message, if one is there.
    pub(super) fn next_at_hand(&self) -> Option<Message> {
        self.noted(self.messages.try_recv().ok())
    }

    fn noted(&self, message: Option<Message>) -> Option<Message> {
        if let Some(Message::Record(record)) = &message {
            self.counts.waiting_bytes.fetch_sub(record.bytes(), Relaxed);
        }
        message
    }

    /// Records dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        self.counts.dropped.swap(0, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use tracing::Level;

    use super::*;

    fn record(level: Level, target: &'static str, text_bytes: usize) -> Record {
        Record {
            wall_ms: 0,
            level,
            thread: String::new(),
            target: Cow::Borrowed(target),
            file: None,
            line: None,
            text: "x".repeat(text_bytes),
        }
    }

    #[test]
    fn full_queue_drops_and_counts_what_may_be_dropped() {
        let (sender, inbox) = queue();
        for _ in 0..RECORDS_MAX + 5 {
            sender.send(record(Level::INFO, "t", 1));
        }
        assert_eq!(inbox.take_dropped(), 5);
        assert_eq!(inbox.take_dropped(), 0, "told once");
        let received = std::iter::from_fn(|| inbox.next_at_hand()).count();
        assert_eq!(received, RECORDS_MAX);
        sender.send(record(Level::INFO, "t", 1));
        assert!(inbox.next_at_hand().is_some(), "room again");
    }

    #[test]
    fn waiting_bytes_are_bounded_too() {
        let (sender, inbox) = queue();
        for _ in 0..20 {
            sender.send(record(Level::INFO, "t", 1024 * 1024));
        }
        let received = std::iter::from_fn(|| inbox.next_at_hand()).count();
        assert!(received <= 9, "{received}");
        assert_eq!(inbox.take_dropped(), 20 - received as u64);
    }

    #[test]
    fn errors_and_logger_sink_events_wait_for_room() {
        for (level, target) in [
            (Level::ERROR, "t"),
            (
                Level::INFO,
                "org.apache.flume.sink.LoggerSink.process(LoggerSink.java:95)",
            ),
        ] {
            let (sender, inbox) = queue();
            for _ in 0..RECORDS_MAX {
                sender.send(record(Level::INFO, "t", 1));
            }
            let waits = std::thread::spawn(move || sender.send(record(level, target, 1)));
            let received = std::iter::from_fn(|| inbox.next());
            assert_eq!(received.count(), RECORDS_MAX + 1);
            waits.join().unwrap();
            assert_eq!(inbox.take_dropped(), 0);
        }
    }
}
