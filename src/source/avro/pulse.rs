//! What a connection waits for, and since when, so that one sweep per shard watches all of them
//! instead of a timer per read.
//!
//! Shared by a connection's halves and its shard's sweep, all on one thread. Always true: only time
//! spent waiting for the peer counts against it, never time that we kept it waiting.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;

use crate::limits::FRAME_RATE_BYTES_MIN;

/// A connection that has sent nothing for so long gives its receive memory back.
const IDLE: Duration = Duration::from_secs(2);

/// Why a connection should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The source stops: answer what was put.
    Stop,
    /// No handshake in time.
    Handshake,
    /// A frame stopped in its middle, or comes too slowly.
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

/// What wakes the reading half while it waits for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// The connection ends.
    End,
    /// It is idle: give memory back and wait on.
    Trim,
}

/// The reading half as it begins to wait for the peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) reading: Reading,
    /// Number of the frame that is waited for.
    pub(crate) frame: u64,
    /// Bytes received of it.
    pub(crate) frame_bytes: usize,
    /// More memory is held than an idle connection needs.
    pub(crate) holds_memory: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pulse {
    accepted: Duration,
    wait: Cell<Wait>,
    read_since: Cell<Duration>,
    /// Time waited for the frame in earlier reads.
    frame_waited: Cell<Duration>,
    trim: Cell<bool>,
    write_since: Cell<Option<Duration>>,
    ending: Cell<Option<Ending>>,
    wake_reader: Notify,
    wake_writer: Notify,
}

impl Pulse {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            accepted: now,
            wait: Cell::new(Wait {
                reading: Reading::Busy,
                frame: 0,
                frame_bytes: 0,
                holds_memory: false,
            }),
            read_since: Cell::new(now),
            frame_waited: Cell::new(Duration::ZERO),
            trim: Cell::new(false),
            write_since: Cell::new(None),
            ending: Cell::new(None),
            wake_reader: Notify::new(),
            wake_writer: Notify::new(),
        }
    }

    /// The reading half begins to wait for the peer.
    pub(crate) fn read_begins(&self, wait: Wait, now: Duration) {
        if self.wait.replace(wait).frame != wait.frame {
            self.frame_waited.set(Duration::ZERO);
        }
        self.read_since.set(now);
    }

    /// The reading half has something to do.
    pub(crate) fn read_ends(&self, now: Duration) {
        let waited = now.saturating_sub(self.read_since.get());
        self.frame_waited.set(self.frame_waited.get() + waited);
        let reading = Reading::Busy;
        self.wait.set(Wait {
            reading,
            ..self.wait.get()
        });
    }

    /// The writing half begins to wait for the peer, or has ended to.
    pub(crate) fn writes_since(&self, since: Option<Duration>) {
        self.write_since.set(since);
    }

    /// Why the connection is to end, if it is.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    /// Returns when the reading half is called away from its wait.
    pub(crate) async fn reader_called(&self) -> Call {
        loop {
            if self.ending.get().is_some() {
                return Call::End;
            }
            if self.trim.replace(false) {
                return Call::Trim;
            }
            self.wake_reader.notified().await;
        }
    }

    /// Returns when the peer was given up as a reader.
    pub(crate) async fn writer_called(&self) {
        while self.ending.get() != Some(Ending::Unread) {
            self.wake_writer.notified().await;
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

    /// Holds the deadlines, and finds connections that hold memory for nothing.
    ///
    /// | waits for     | ends when                                                                 |
    /// |---------------|---------------------------------------------------------------------------|
    /// | handshake     | older than `handshake` plus what its bytes may take, or still for `progress` |
    /// | rest of frame | still for `progress`, or waited longer than that plus what its bytes may take |
    /// | next frame    | never                                                                     |
    /// | room to write | for `progress`                                                            |
    pub(crate) fn check(&self, now: Duration, handshake: Duration, progress: Duration) {
        let still = now.saturating_sub(self.read_since.get());
        let wait = self.wait.get();
        let allowance = time_allowed(wait.frame_bytes);
        match wait.reading {
            Reading::Handshake => {
                let age = now.saturating_sub(self.accepted);
                if age > handshake + allowance || still > handshake.max(progress) {
                    self.end(Ending::Handshake);
                }
            }
            Reading::InFrame => {
                let waited = self.frame_waited.get() + still;
                if still > progress || waited > progress + allowance {
                    self.end(Ending::Progress);
                }
            }
            Reading::Idle if wait.holds_memory && still > IDLE => {
                self.trim.set(true);
                self.wake_reader.notify_one();
            }
            Reading::Busy | Reading::Idle => {}
        }
        if let Some(since) = self.write_since.get()
            && now.saturating_sub(since) > progress
        {
            self.end(Ending::Unread);
        }
    }
}

/// How long so many bytes may take at the least rate.
fn time_allowed(bytes: usize) -> Duration {
    Duration::from_millis((bytes as u64).saturating_mul(1000) / FRAME_RATE_BYTES_MIN as u64)
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    const HANDSHAKE: Duration = Duration::from_secs(10);
    const PROGRESS: Duration = Duration::from_secs(30);

    fn wait(reading: Reading, frame: u64, frame_bytes: usize) -> Wait {
        Wait {
            reading,
            frame,
            frame_bytes,
            holds_memory: false,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Reads `bytes_a_read` every `seconds` inside one frame until the pulse ends it, or `reads` are
    /// done.
    fn drip(
        reading: Reading,
        bytes_a_read: usize,
        seconds: u64,
        reads: usize,
    ) -> Option<(u64, Ending)> {
        let pulse = Pulse::new(at(0));
        for (read, begins) in (0..reads).zip((0..).step_by(usize::try_from(seconds).unwrap())) {
            pulse.read_begins(wait(reading, 1, 100 + bytes_a_read * read), at(begins));
            for second in begins..begins + seconds {
                pulse.check(at(second), HANDSHAKE, PROGRESS);
                if let Some(ending) = pulse.ending() {
                    return Some((second, ending));
                }
            }
            pulse.read_ends(at(begins + seconds));
        }
        None
    }

    #[test]
    fn frame_that_gains_one_byte_just_inside_each_deadline_is_ended() {
        assert_eq!(
            drip(Reading::InFrame, 1, 29, 1_000),
            Some((31, Ending::Progress))
        );
        assert_eq!(
            drip(Reading::Handshake, 1, 9, 1_000),
            Some((11, Ending::Handshake))
        );
    }

    #[test]
    fn slow_but_steady_frame_is_received() {
        assert_eq!(
            drip(Reading::InFrame, 2 * FRAME_RATE_BYTES_MIN, 1, 3_600),
            None
        );
        assert_eq!(
            drip(Reading::Handshake, 2 * FRAME_RATE_BYTES_MIN, 1, 3_600),
            None
        );
    }

    #[test]
    fn frame_that_stops_is_ended_however_large_it_is() {
        let check = |reading, expected| {
            let pulse = Pulse::new(at(0));
            pulse.read_begins(wait(reading, 1, 1 << 30), at(5));
            pulse.check(at(35), HANDSHAKE, PROGRESS);
            assert_eq!(pulse.ending(), None);
            pulse.check(at(36), HANDSHAKE, PROGRESS);
            assert_eq!(pulse.ending(), Some(expected));
        };
        check(Reading::InFrame, Ending::Progress);
        check(Reading::Handshake, Ending::Handshake);
    }

    #[test]
    fn time_that_we_kept_the_peer_waiting_does_not_count() {
        let pulse = Pulse::new(at(0));
        pulse.read_begins(wait(Reading::InFrame, 7, 10), at(0));
        pulse.read_ends(at(20));
        pulse.check(at(500), HANDSHAKE, PROGRESS);
        pulse.read_begins(wait(Reading::InFrame, 7, 11), at(600));
        pulse.check(at(609), HANDSHAKE, PROGRESS);
        assert_eq!(pulse.ending(), None);
        pulse.check(at(611), HANDSHAKE, PROGRESS);
        assert_eq!(pulse.ending(), Some(Ending::Progress));
    }

    #[test]
    fn every_frame_has_its_own_time() {
        let pulse = Pulse::new(at(0));
        for frame in 0..100 {
            pulse.read_begins(wait(Reading::InFrame, frame, 10), at(frame * 20));
            pulse.check(at(frame * 20 + 19), HANDSHAKE, PROGRESS);
            pulse.read_ends(at(frame * 20 + 20));
        }
        assert_eq!(pulse.ending(), None);
    }

    #[test]
    fn idle_connection_is_never_ended_and_gives_memory_back_once() {
        let pulse = Pulse::new(at(0));
        let idle = wait(Reading::Idle, 1, 0);
        pulse.read_begins(
            Wait {
                holds_memory: true,
                ..idle
            },
            at(0),
        );
        pulse.check(at(2), HANDSHAKE, PROGRESS);
        assert!(!pulse.trim.get(), "not idle for long enough");
        pulse.check(at(3), HANDSHAKE, PROGRESS);
        let called = poll_once(pulse.reader_called());
        assert_eq!(block_on(called), Some(Call::Trim));
        pulse.read_ends(at(3));
        pulse.read_begins(idle, at(3));
        pulse.check(at(100_000), HANDSHAKE, PROGRESS);
        assert!(!pulse.trim.get());
        assert_eq!(pulse.ending(), None);
    }

    #[test]
    fn peer_that_does_not_read_is_given_up_whatever_was_asked_before() {
        let pulse = Pulse::new(at(0));
        pulse.end(Ending::Stop);
        pulse.writes_since(Some(at(10)));
        pulse.check(at(40), HANDSHAKE, PROGRESS);
        assert_eq!(pulse.ending(), Some(Ending::Stop));
        pulse.check(at(41), HANDSHAKE, PROGRESS);
        assert_eq!(pulse.ending(), Some(Ending::Unread));
    }
}
