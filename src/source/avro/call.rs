//! What follows the handshake: call metadata (skipped), the message's name, its request.

#![deny(clippy::indexing_slicing)]

use crate::event::{AvroError, Cursor};

/// Which message is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    /// One event.
    Append,
    /// An array of events.
    AppendBatch,
    /// The empty name: the client only wants the handshake.
    Ping,
    /// No message of ours.
    Unknown(&'a [u8]),
}

/// Why a call has no batch. The connection goes on: the frame's end is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The head of the call is no Avro data.
    #[error(transparent)]
    Head(#[from] AvroError),
}

impl<'a> Call<'a> {
    /// Reads metadata and name; the cursor stands at the request then.
    ///
    /// # Errors
    /// [`CallError`].
    #[inline]
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, CallError> {
        skip_map(cursor)?;
        Ok(match cursor.bytes()? {
            b"appendBatch" => Self::AppendBatch,
            b"append" => Self::Append,
            b"" => Self::Ping,
            name => Self::Unknown(name),
        })
    }
}

/// Passes a map of bytes.
pub(crate) fn skip_map(cursor: &mut Cursor<'_>) -> Result<(), AvroError> {
    loop {
        let count = cursor.block_count()?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            cursor.bytes()?;
            cursor.bytes()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], call: Call<'_>) {
        assert_eq!(Call::read(&mut Cursor::new(bytes)), Ok(call));
    }

    #[test]
    fn names_choose_the_message_and_metadata_is_passed() {
        check(b"\x00\x0cappend", Call::Append);
        check(b"\x00\x16appendBatch", Call::AppendBatch);
        check(b"\x02\x02k\x04vv\x00\x0cappend", Call::Append);
        check(b"\x01\x0a\x02k\x04vv\x00\x0cappend", Call::Append);
        check(b"\x00\x00", Call::Ping);
        check(b"\x00\x06zip", Call::Unknown(b"zip"));
        assert!(Call::read(&mut Cursor::new(b"\x00\x0capp")).is_err());
    }
}
