//! What a connection waits for, and since when, so that one sweep per shard watches all of them
//! instead of a timer per read.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;

/// Why a connection should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The source stops: answer what was put.
    Stop,
    /// No handshake in time.
    Handshake,
    /// A frame stopped in its middle.
    Progress,
    /// The peer does not read its replies.
    Unread,
}

/// What the reading half does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Not waiting for the peer.
    Busy,
    /// Waiting, between frames.
    Idle,
    /// Waiting for the first handshake.
    Handshake,
    /// Waiting inside a frame.
    InFrame,
}

/// Shared by a connection's halves and its shard's sweep.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(crate) accepted: Duration,
    pub(crate) reading: Cell<Reading>,
    pub(crate) read_since: Cell<Duration>,
    pub(crate) write_since: Cell<Option<Duration>>,
    pub(crate) ending: Cell<Option<Ending>>,
    pub(crate) wake_reader: Notify,
    pub(crate) wake_writer: Notify,
}

impl Pulse {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            accepted: now,
            reading: Cell::new(Reading::Busy),
            read_since: Cell::new(now),
            write_since: Cell::new(None),
            ending: Cell::new(None),
            wake_reader: Notify::new(),
            wake_writer: Notify::new(),
        }
    }

    /// Asks the connection to end. The first reason stands, but for a peer that stopped reading.
    pub(crate) fn end(&self, ending: Ending) {
        if self.ending.get().is_none() || ending == Ending::Unread {
            self.ending.set(Some(ending));
        }
        self.wake_reader.notify_one();
        if ending == Ending::Unread {
            self.wake_writer.notify_one();
        }
    }

    /// Holds the deadlines.
    pub(crate) fn check(&self, now: Duration, handshake: Duration, progress: Duration) {
        let waited = now.saturating_sub(self.read_since.get());
        match self.reading.get() {
            Reading::Handshake if now.saturating_sub(self.accepted) > handshake => {
                self.end(Ending::Handshake);
            }
            Reading::InFrame if waited > progress => self.end(Ending::Progress),
            Reading::Busy | Reading::Idle | Reading::Handshake | Reading::InFrame => {}
        }
        if let Some(since) = self.write_since.get()
            && now.saturating_sub(since) > progress
        {
            self.end(Ending::Unread);
        }
    }
}
