//! One connection to the source: socket, replies read so far, frames to send. Owned by its thread.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Send;
use crate::batch::{Batch, Shape};
use crate::reply::{Outcome, Replies, after_handshake, outcome};

/// A connection that hears nothing for this long has failed. Flume's own request timeout is 20 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Different frames per connection, so that the same bytes do not come again and again.
const VARIANTS: u64 = 4;

/// Frames of one connection, in turn.
pub(crate) struct Frames {
    connection: u16,
    events_per_batch: u64,
    next_serial: i32,
    next_event: u64,
    batches: Vec<Batch>,
}

impl Frames {
    fn new(options: &Send, connection: u16) -> Self {
        let shape = Shape {
            events: options.batch as usize,
            body_bytes: options.body_bytes as usize,
        };
        let seed = |variant: u64| {
            (u64::from(connection) << 8 | variant).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        Self {
            connection,
            events_per_batch: u64::from(options.batch),
            next_serial: 1,
            next_event: 0,
            batches: (1..=VARIANTS)
                .map(|variant| Batch::new(shape, connection, false, seed(variant)))
                .collect(),
        }
    }

    /// The next frame and its serial.
    pub(crate) fn next(&mut self) -> (i32, &[u8]) {
        let serial = self.next_serial;
        self.next_serial += 1;
        let first_event = self.next_event;
        self.next_event += self.events_per_batch;
        let variant = serial.unsigned_abs() as usize % self.batches.len();
        (
            serial,
            self.batches[variant].stamp(serial, self.connection, first_event),
        )
    }
}

/// A connection that has shaken hands.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) replies: Replies,
    pub(crate) frames: Frames,
    /// Bytes of one frame on the wire.
    pub(crate) frame_bytes: usize,
}

impl Connection {
    /// Connects and sends one event with the handshake, alone, as a Java client has to.
    pub(crate) fn open(options: &Send, number: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(options.to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let frames = Frames::new(options, number);
        let frame_bytes = frames.batches[0].frame_bytes();
        let mut connection = Self {
            stream,
            replies: Replies::new(),
            frames,
            frame_bytes,
        };
        let first = connection.shake_hands(options)?;
        if first != Outcome::Acknowledged {
            return Err(io::Error::other(format!(
                "the first event was answered {first:?}"
            )));
        }
        Ok(connection)
    }

    fn shake_hands(&mut self, options: &Send) -> io::Result<Outcome> {
        let shape = Shape {
            events: 1,
            body_bytes: options.body_bytes as usize,
        };
        let frames = &mut self.frames;
        let mut first = Batch::new(shape, frames.connection, true, 7);
        self.stream
            .write_all(first.stamp(frames.next_serial, frames.connection, 0))?;
        frames.next_serial += 1;
        frames.next_event += 1;
        let (_, message) = self.replies.next(&mut self.stream)?;
        outcome(after_handshake(&message)?)
    }

    /// Sends the next frame and returns its serial.
    pub(crate) fn send(&mut self) -> io::Result<i32> {
        let (serial, frame) = self.frames.next();
        self.stream.write_all(frame)?;
        Ok(serial)
    }

    /// Waits for a reply: whose, and what became of the call.
    pub(crate) fn receive(&mut self) -> io::Result<(i32, Outcome)> {
        let (serial, message) = self.replies.next(&mut self.stream)?;
        Ok((serial, outcome(&message)?))
    }
}
