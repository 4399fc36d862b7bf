//! Reply frames, in the shape of Flume's: three buffers (handshake or empty, metadata, flag and
//! payload), or the handshake alone.
//!
//! Pure: appends to the connection's output.

#![deny(clippy::indexing_slicing)]

use crate::event::write_bytes;

/// What the call came to. Flume never sends `UNKNOWN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Committed to all required channels.
    Ok,
    /// The client keeps its events.
    Failed,
}

const METADATA_EMPTY: &[u8] = &[0];

/// Appends the answer to a call.
pub(crate) fn status(out: &mut Vec<u8>, serial: i32, handshake: &[u8], status: Status) {
    head(out, serial, 3);
    buffer(out, handshake);
    buffer(out, METADATA_EMPTY);
    buffer(
        out,
        match status {
            Status::Ok => &[0, 0],
            Status::Failed => &[0, 2],
        },
    );
}

/// Appends an RPC error: the flag, the error union's string branch, the text.
pub(crate) fn error(out: &mut Vec<u8>, serial: i32, handshake: &[u8], text: &str) {
    let mut payload = vec![1, 0];
    write_bytes(&mut payload, text.as_bytes());
    head(out, serial, 3);
    buffer(out, handshake);
    buffer(out, METADATA_EMPTY);
    buffer(out, &payload);
}

/// Appends a handshake without a result: NONE, or the answer to a ping (empty once connected).
pub(crate) fn handshake_alone(out: &mut Vec<u8>, serial: i32, handshake: &[u8]) {
    head(out, serial, 1);
    buffer(out, handshake);
}

fn head(out: &mut Vec<u8>, serial: i32, buffer_count: u32) {
    out.extend_from_slice(&serial.to_be_bytes());
    out.extend_from_slice(&buffer_count.to_be_bytes());
}

fn buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("replies are smaller than 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_flumes_bytes() {
        let mut out = Vec::new();
        status(&mut out, 2, &[], Status::Ok);
        assert_eq!(
            out,
            [
                0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0
            ]
        );
        out.clear();
        error(
            &mut out,
            1,
            &[],
            "org.apache.avro.AvroRuntimeException: No such remote message: zip",
        );
        assert_eq!(out.get(21..25), Some(&[1, 0, 0x82, 1][..]));
    }
}
