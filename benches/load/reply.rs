//! Replies of the server: pack frames, told apart by serial, each an outcome. Pure, over bytes.

use std::io::{self, Read};

/// What became of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Status OK.
    Acknowledged,
    /// Status FAILED: the channel is full.
    Failed,
    /// An RPC error with a text.
    Error,
}

/// Reads replies from a socket, in whatever pieces they come.
pub(crate) struct Replies {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Replies {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; 64 * 1024],
            start: 0,
            end: 0,
        }
    }

    /// The next reply: its serial and its message, buffers joined.
    pub(crate) fn next(&mut self, stream: &mut impl Read) -> io::Result<(i32, Vec<u8>)> {
        loop {
            if let Some((serial, message, used)) = parse(&self.buffer[self.start..self.end]) {
                self.start += used;
                return Ok((serial, message));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end == self.buffer.len() {
                return Err(io::Error::other("a reply of more than 64 KiB"));
            }
            match stream.read(&mut self.buffer[self.end..])? {
                0 => return Err(io::Error::other("the server closed the connection")),
                count => self.end += count,
            }
        }
    }
}

fn parse(data: &[u8]) -> Option<(i32, Vec<u8>, usize)> {
    let word = |at: usize| data.get(at..)?.first_chunk::<4>().copied();
    let serial = i32::from_be_bytes(word(0)?);
    let count = u32::from_be_bytes(word(4)?);
    let mut message = Vec::with_capacity(8);
    let mut at = 8;
    for _ in 0..count {
        let length = u32::from_be_bytes(word(at)?) as usize;
        message.extend_from_slice(data.get(at + 4..at + 4 + length)?);
        at += 4 + length;
    }
    Some((serial, message, at))
}

/// Takes the handshake part off a connection's first reply.
pub(crate) fn after_handshake(message: &[u8]) -> io::Result<&[u8]> {
    match message {
        // match BOTH, no protocol, no hash, no meta
        [0, 0, 0, 0, call @ ..] => Ok(call),
        _ => Err(io::Error::other(format!(
            "handshake not accepted: reply {message:02x?}"
        ))),
    }
}

/// What a call's reply says, without its handshake part.
pub(crate) fn outcome(call: &[u8]) -> io::Result<Outcome> {
    match call {
        [0, 0, 0] => Ok(Outcome::Acknowledged),
        [0, 0, 2] => Ok(Outcome::Failed),
        [0, 1, ..] => Ok(Outcome::Error),
        _ => Err(io::Error::other(format!(
            "no reply of appendBatch: {call:02x?}"
        ))),
    }
}
