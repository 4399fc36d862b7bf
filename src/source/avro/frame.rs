//! Pack frames: serial, number of buffers, then each buffer with its length, all big-endian.
//!
//! Owned by one connection. The buffers of a frame are moved together inside the receive memory as
//! they arrive, while they are in the cache, so that a whole message is one slice; a frame of one
//! buffer is not moved at all. Always true: `message_start <= message_end <= read <= filled <=
//! memory.len()`, and memory at most doubles beyond what was received.

#![deny(clippy::indexing_slicing)]

use crate::limits::FRAME_BUFFERS_MAX;

/// What an idle connection keeps.
const MEMORY_BYTES_MIN: usize = 4 * 1024;
/// With less room than this behind the data, room is made before the next read.
const READ_BYTES_MIN: usize = 2 * 1024;
/// A read that filled its space says that more waits: the next one offers twice as much, up to here.
/// Beyond it memory grows for a large frame only.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Why the bytes are no frames. What follows on the connection cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Java waits for ever on such a frame.
    #[error("frame {serial} has {buffer_count} buffers; at least 1 is needed")]
    NoBuffers {
        /// The frame's serial.
        serial: i32,
        /// What it said.
        buffer_count: i32,
    },
    /// More buffers than allowed.
    #[error("frame {serial} has {buffer_count} buffers; at most {buffer_count_max} are accepted")]
    TooManyBuffers {
        /// The frame's serial.
        serial: i32,
        /// What it said.
        buffer_count: i32,
        /// `limits::FRAME_BUFFERS_MAX`.
        buffer_count_max: usize,
    },
    /// A buffer's length is below zero.
    #[error("frame {serial} has a buffer of {length} bytes")]
    NegativeLength {
        /// The frame's serial.
        serial: i32,
        /// What it said.
        length: i32,
    },
    /// More bytes than allowed.
    #[error(
        "frame {serial} has {frame_bytes} bytes or more; maxFrameSize is {frame_bytes_max} bytes"
    )]
    TooLarge {
        /// The frame's serial.
        serial: i32,
        /// Buffers so far and the one announced.
        frame_bytes: usize,
        /// The limit.
        frame_bytes_max: usize,
    },
}

/// One whole message in the memory of its [`Frames`]: valid until [`Frames::space`] is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Chosen by the client, to be echoed.
    pub serial: i32,
    start: usize,
    end: usize,
}

/// The frame that has begun.
#[derive(Debug, Clone, Copy)]
struct Begun {
    serial: i32,
    buffers_left: usize,
    buffer_bytes_left: usize,
}

/// Receive memory of one connection, and the frames in it.
#[derive(Debug)]
pub struct Frames {
    memory: Vec<u8>,
    message_start: usize,
    message_end: usize,
    read: usize,
    filled: usize,
    begun: Option<Begun>,
    frame_bytes_max: usize,
}

impl Frames {
    /// No memory is taken before the first [`Frames::space`].
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            memory: Vec::new(),
            message_start: 0,
            message_end: 0,
            read: 0,
            filled: 0,
            begun: None,
            frame_bytes_max,
        }
    }

    /// Memory to receive into; never empty. Frames given out before are gone.
    pub fn space(&mut self) -> &mut [u8] {
        let was_filled = self.filled == self.memory.len();
        if !self.has_partial() {
            self.restart_at(0);
        } else if self.room() < self.room_wanted() {
            self.move_to_front();
        }
        let more_waits = was_filled && self.memory.len() < READ_BYTES_MAX;
        if more_waits || self.room() < READ_BYTES_MIN {
            let grown = (self.memory.len() * 2).max(MEMORY_BYTES_MIN);
            self.memory.resize(grown, 0);
        }
        self.memory.get_mut(self.filled..).unwrap_or_default()
    }

    fn room(&self) -> usize {
        self.memory.len() - self.filled
    }

    /// Room worth moving a partial message for: enough for what is known to follow, but for no more
    /// than a quarter of the memory, so that bytes are moved seldom.
    fn room_wanted(&self) -> usize {
        let announced = self.begun.map_or(0, |begun| begun.buffer_bytes_left);
        announced.min(self.memory.len() / 4).max(READ_BYTES_MIN)
    }

    /// `count` bytes were received into [`Frames::space`].
    pub fn received(&mut self, count: usize) {
        self.filled += count;
        assert!(
            self.filled <= self.memory.len(),
            "bytes are received into the space that was offered"
        );
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn has_partial(&self) -> bool {
        self.begun.is_some() || self.read < self.filled
    }

    /// Bytes received of the frame that has begun.
    #[must_use]
    pub fn partial_bytes(&self) -> usize {
        let message_bytes = match self.begun {
            Some(_) => self.message_end - self.message_start,
            None => 0,
        };
        message_bytes + self.unread().len()
    }

    /// Whether [`Frames::shrink`] would give memory back once the connection is idle.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.memory.len() > MEMORY_BYTES_MIN
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory.len()
    }

    /// Gives back memory that an idle connection does not need.
    pub fn shrink(&mut self) {
        if !self.has_partial() && self.is_large() {
            self.memory = Vec::new();
            self.restart_at(0);
        }
    }

    /// The bytes of a frame that [`Frames::next_frame`] gave out since the last [`Frames::space`].
    #[must_use]
    pub fn message(&self, frame: &Frame) -> &[u8] {
        self.memory.get(frame.start..frame.end).unwrap_or_default()
    }

    /// The next whole frame, or none until more bytes are received.
    ///
    /// # Errors
    /// [`FrameError`]; do not call again.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let Some(begun) = self.begun else {
                if !self.begin()? {
                    return Ok(None);
                }
                continue;
            };
            if begun.buffer_bytes_left > 0 {
                self.gather(begun);
                if self.begun.is_some_and(|now| now.buffer_bytes_left > 0) {
                    return Ok(None);
                }
            } else if begun.buffers_left > 0 {
                if !self.begin_buffer(begun)? {
                    return Ok(None);
                }
            } else {
                self.begun = None;
                return Ok(Some(Frame {
                    serial: begun.serial,
                    start: self.message_start,
                    end: self.message_end,
                }));
            }
        }
    }

    fn begin(&mut self) -> Result<bool, FrameError> {
        let Some((serial, rest)) = split_i32(self.unread()) else {
            return Ok(false);
        };
        let Some((buffer_count, _)) = split_i32(rest) else {
            return Ok(false);
        };
        let buffers_left = match usize::try_from(buffer_count) {
            Err(_) | Ok(0) => {
                return Err(FrameError::NoBuffers {
                    serial,
                    buffer_count,
                });
            }
            Ok(count) if count > FRAME_BUFFERS_MAX => {
                return Err(FrameError::TooManyBuffers {
                    serial,
                    buffer_count,
                    buffer_count_max: FRAME_BUFFERS_MAX,
                });
            }
            Ok(count) => count,
        };
        self.read += 8;
        self.message_start = self.read;
        self.message_end = self.read;
        self.begun = Some(Begun {
            serial,
            buffers_left,
            buffer_bytes_left: 0,
        });
        Ok(true)
    }

    fn begin_buffer(&mut self, begun: Begun) -> Result<bool, FrameError> {
        let serial = begun.serial;
        let Some((length, _)) = split_i32(self.unread()) else {
            return Ok(false);
        };
        let buffer_bytes =
            usize::try_from(length).map_err(|_| FrameError::NegativeLength { serial, length })?;
        let frame_bytes = self.message_end - self.message_start + buffer_bytes;
        if frame_bytes > self.frame_bytes_max {
            return Err(FrameError::TooLarge {
                serial,
                frame_bytes,
                frame_bytes_max: self.frame_bytes_max,
            });
        }
        self.read += 4;
        if self.message_start == self.message_end {
            self.message_start = self.read;
            self.message_end = self.read;
        }
        self.begun = Some(Begun {
            serial,
            buffers_left: begun.buffers_left - 1,
            buffer_bytes_left: buffer_bytes,
        });
        Ok(true)
    }

    /// Moves what has arrived of the current buffer to the end of the message.
    fn gather(&mut self, begun: Begun) {
        let count = begun.buffer_bytes_left.min(self.filled - self.read);
        if self.message_end != self.read {
            self.memory
                .copy_within(self.read..self.read + count, self.message_end);
        }
        self.message_end += count;
        self.read += count;
        assert!(self.message_end <= self.read, "a message only moves down");
        self.begun = Some(Begun {
            buffer_bytes_left: begun.buffer_bytes_left - count,
            ..begun
        });
    }

    fn unread(&self) -> &[u8] {
        self.memory.get(self.read..self.filled).unwrap_or_default()
    }

    fn restart_at(&mut self, offset: usize) {
        self.message_start = offset;
        self.message_end = offset;
        self.read = offset;
        self.filled = offset;
    }

    /// Moves the message so far, and the bytes not yet read, to the front.
    fn move_to_front(&mut self) {
        let message_bytes = match self.begun {
            Some(_) => self.message_end - self.message_start,
            None => 0,
        };
        let unread_bytes = self.filled - self.read;
        // A large frame is at the front from its first move on: it is not touched again.
        if self.message_start > 0 {
            self.memory
                .copy_within(self.message_start..self.message_start + message_bytes, 0);
        }
        if self.read > message_bytes {
            self.memory
                .copy_within(self.read..self.filled, message_bytes);
        }
        self.message_start = 0;
        self.message_end = message_bytes;
        self.read = message_bytes;
        self.filled = message_bytes + unread_bytes;
    }
}

fn split_i32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(serial: i32, buffers: &[&[u8]]) -> Vec<u8> {
        let mut out = serial.to_be_bytes().to_vec();
        out.extend(u32::try_from(buffers.len()).unwrap().to_be_bytes());
        for buffer in buffers {
            out.extend(u32::try_from(buffer.len()).unwrap().to_be_bytes());
            out.extend_from_slice(buffer);
        }
        out
    }

    fn assemble(wire: &[u8], step: usize) -> Result<Vec<(i32, Vec<u8>)>, FrameError> {
        let mut frames = Frames::new(1 << 20);
        let mut found = Vec::new();
        let mut rest = wire;
        while !rest.is_empty() {
            let space = frames.space();
            let count = step.min(space.len()).min(rest.len());
            let (now, later) = rest.split_at(count);
            space.get_mut(..count).unwrap().copy_from_slice(now);
            frames.received(count);
            rest = later;
            while let Some(frame) = frames.next_frame()? {
                found.push((frame.serial, frames.message(&frame).to_vec()));
            }
        }
        assert!(!frames.has_partial());
        assert!(frames.memory_bytes() <= 2 * wire.len().max(MEMORY_BYTES_MIN));
        Ok(found)
    }

    #[test]
    fn buffers_become_one_message_however_the_bytes_are_split() {
        let large = vec![7u8; 9000];
        let mut wire = frame(1, &[b"", b"ab", b"", b"cde"]);
        wire.extend(frame(-5, &[&large, b"x", &large]));
        wire.extend(frame(i32::MAX, &[b""]));
        let mut joined = large.clone();
        joined.push(b'x');
        joined.extend(&large);
        let expected = vec![(1, b"abcde".to_vec()), (-5, joined), (i32::MAX, Vec::new())];
        for step in [1, 2, 3, 5, 7, 11, 13, 100, 4095, 4096, 4097, wire.len()] {
            assert_eq!(assemble(&wire, step).unwrap(), expected, "step {step}");
        }
    }

    #[test]
    fn heads_that_cannot_be_are_refused_exactly() {
        let head = |words: &[i32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        let check = |words: &[i32], error| assert_eq!(assemble(&head(words), 1), Err(error));
        check(
            &[4, 0],
            FrameError::NoBuffers {
                serial: 4,
                buffer_count: 0,
            },
        );
        check(
            &[4, -1],
            FrameError::NoBuffers {
                serial: 4,
                buffer_count: -1,
            },
        );
        check(
            &[4, 1, -2],
            FrameError::NegativeLength {
                serial: 4,
                length: -2,
            },
        );
        check(
            &[4, i32::MAX],
            FrameError::TooManyBuffers {
                serial: 4,
                buffer_count: i32::MAX,
                buffer_count_max: FRAME_BUFFERS_MAX,
            },
        );
        check(
            &[4, 1, (1 << 20) + 1],
            FrameError::TooLarge {
                serial: 4,
                frame_bytes: (1 << 20) + 1,
                frame_bytes_max: 1 << 20,
            },
        );
    }

    /// Receives `wire` as fast as the space allows and returns the sizes of the reads.
    fn receive(frames: &mut Frames, wire: &[u8]) -> Vec<usize> {
        let before = frames.partial_bytes();
        let mut reads = Vec::new();
        let mut rest = wire;
        while !rest.is_empty() {
            let space = frames.space();
            let count = space.len().min(rest.len());
            let (now, later) = rest.split_at(count);
            space.get_mut(..count).unwrap().copy_from_slice(now);
            frames.received(count);
            reads.push(count);
            rest = later;
            while frames.next_frame().unwrap().is_some() {}
            let received = before + wire.len() - rest.len();
            assert!(frames.memory_bytes() <= (2 * received).max(MEMORY_BYTES_MIN));
        }
        reads
    }

    #[test]
    fn reads_grow_while_more_waits_and_memory_never_outruns_what_arrived() {
        let mut frames = Frames::new(1 << 24);
        let large = vec![7u8; 4 << 20];
        let reads = receive(&mut frames, &frame(1, &[&large]));
        assert_eq!(reads.first(), Some(&4096));
        assert!(reads.len() < 16, "{reads:?}");
        assert!(reads.iter().any(|read| *read >= 1 << 20), "{reads:?}");
        // Small frames in a long pipeline are read many at once.
        let mut frames = Frames::new(1 << 24);
        let small = frame(1, &[&[7; 500]]).repeat(2_000);
        let reads = receive(&mut frames, &small);
        assert!(reads.len() < 20, "{reads:?}");
        assert_eq!(frames.partial_bytes(), 0);
    }

    #[test]
    fn partial_frames_are_measured() {
        let mut frames = Frames::new(1 << 20);
        let wire = frame(1, &[b"abc", &[7; 100]]);
        let (part, rest) = wire.split_at(8 + 4 + 3 + 4 + 60);
        receive(&mut frames, part);
        assert!(frames.has_partial());
        assert_eq!(frames.partial_bytes(), 63);
        receive(&mut frames, rest);
        assert_eq!(frames.partial_bytes(), 0);
    }

    #[test]
    fn idle_connections_hold_no_memory() {
        let mut frames = Frames::new(1 << 24);
        assert_eq!(frames.memory_bytes(), 0);
        let wire = frame(1, &[&[7; 3_000_000]]);
        let (part, rest) = wire.split_at(2_000_000);
        receive(&mut frames, part);
        frames.shrink();
        assert!(frames.is_large(), "a frame that has begun keeps its bytes");
        receive(&mut frames, rest);
        assert!(frames.is_large());
        frames.shrink();
        assert_eq!(frames.memory_bytes(), 0);
        assert_eq!(frames.space().len(), MEMORY_BYTES_MIN);
        assert!(!frames.is_large());
    }
}
