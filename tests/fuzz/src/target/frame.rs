//! Pack frames: however the bytes arrive, the same messages come out, and memory follows what arrived.
//!
//! ```text
//! offset  size  field
//!      0     1  seed               of the lengths that the bytes arrive in
//!      1     2  frame_bytes_max
//!      3     …  what a client sends
//! ```

use flumen::limits::FRAME_BUFFERS_MAX;
use flumen::source::avro::{FrameError, Frames};

use crate::input::{Input, Steps};
use crate::meter::held;
use crate::planted::is_planted;

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    messages: Vec<(i32, Vec<u8>)>,
    error: Option<FrameError>,
    has_partial: bool,
    partial_bytes: usize,
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = input.u8();
    let frame_bytes_max = usize::from(input.u16());
    let wire = input.rest();

    let expected = by_the_book(wire, frame_bytes_max);
    for seed in [None, Some(seed)] {
        let tested_max = if is_planted() {
            usize::MAX >> 1
        } else {
            frame_bytes_max
        };
        let outcome = received(wire, tested_max, seed);
        assert_eq!(
            outcome.messages, expected.messages,
            "frame: other messages than by the book, arriving by {seed:?}"
        );
        assert_eq!(outcome.error, expected.error, "frame: another verdict");
        if outcome.error.is_none() {
            assert_eq!(outcome.has_partial, expected.has_partial, "frame: partial");
            assert_eq!(
                outcome.partial_bytes, expected.partial_bytes,
                "frame: bytes of the frame that has begun"
            );
        }
    }
}

/// Feeds `wire` as it would arrive: in whole reads without a seed, else in pieces.
fn received(wire: &[u8], frame_bytes_max: usize, seed: Option<u8>) -> Outcome {
    // A read that fills its space doubles the next one, and a large frame doubles the memory: never
    // more than twice what has arrived, beside the first 4 KiB; twice that while it grows.
    let memory_max = 2 * wire.len() + 4 * 1024;
    let mut frames = Frames::new(frame_bytes_max);
    let mut steps = seed.map(Steps::new);
    let mut outcome = Outcome::default();
    let mut rest = wire;
    while !rest.is_empty() && outcome.error.is_none() {
        let piece = steps.as_mut().map_or(rest.len(), |steps| steps.next(97));
        let shrinks = steps.as_mut().is_some_and(|steps| steps.next(8) == 8);
        let count = held(2 * memory_max, || {
            let space = frames.space();
            let count = piece.min(space.len()).min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            frames.received(count);
            count
        });
        assert!(count > 0, "frame: no room is offered");
        rest = &rest[count..];
        loop {
            match held(0, || frames.next_frame()) {
                Ok(Some(frame)) => outcome
                    .messages
                    .push((frame.serial, frames.message(&frame).to_vec())),
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    break;
                }
            }
        }
        assert!(
            frames.memory_bytes() <= memory_max,
            "frame: {} bytes of memory for {} bytes received",
            frames.memory_bytes(),
            wire.len()
        );
        if shrinks && outcome.error.is_none() {
            frames.shrink();
        }
    }
    outcome.has_partial = frames.has_partial();
    outcome.partial_bytes = frames.partial_bytes();
    outcome
}

/// The same, read from the whole in one pass: Flume's framing as its protocol is described.
fn by_the_book(wire: &[u8], frame_bytes_max: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rest = wire;
    'frames: while let Some((serial, buffer_count, behind)) = head(rest) {
        let buffers = match usize::try_from(buffer_count) {
            Ok(count) if count > FRAME_BUFFERS_MAX => {
                outcome.error = Some(FrameError::TooManyBuffers {
                    serial,
                    buffer_count,
                    buffer_count_max: FRAME_BUFFERS_MAX,
                });
                return outcome;
            }
            Ok(count) if count > 0 => count,
            Ok(_) | Err(_) => {
                outcome.error = Some(FrameError::NoBuffers {
                    serial,
                    buffer_count,
                });
                return outcome;
            }
        };
        let mut message = Vec::new();
        let mut buffer_rest = behind;
        for _ in 0..buffers {
            let Some((length, after)) = int(buffer_rest) else {
                outcome.has_partial = true;
                outcome.partial_bytes = message.len() + buffer_rest.len();
                break 'frames;
            };
            let Ok(buffer_bytes) = usize::try_from(length) else {
                outcome.error = Some(FrameError::NegativeLength { serial, length });
                return outcome;
            };
            let frame_bytes = message.len() + buffer_bytes;
            if frame_bytes > frame_bytes_max {
                outcome.error = Some(FrameError::TooLarge {
                    serial,
                    frame_bytes,
                    frame_bytes_max,
                });
                return outcome;
            }
            if after.len() < buffer_bytes {
                outcome.has_partial = true;
                outcome.partial_bytes = message.len() + after.len();
                break 'frames;
            }
            message.extend_from_slice(&after[..buffer_bytes]);
            buffer_rest = &after[buffer_bytes..];
        }
        outcome.messages.push((serial, message));
        rest = buffer_rest;
    }
    if !outcome.has_partial {
        outcome.has_partial = !rest.is_empty();
        outcome.partial_bytes = rest.len();
    }
    outcome
}

fn head(bytes: &[u8]) -> Option<(i32, i32, &[u8])> {
    let (serial, rest) = int(bytes)?;
    let (buffer_count, rest) = int(rest)?;
    Some((serial, buffer_count, rest))
}

fn int(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (int, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*int), rest))
}
