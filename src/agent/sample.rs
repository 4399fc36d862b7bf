//! A few events sent to our own Avro source, so that a first start shows something.
//!
//! The smallest client there can be: one connection, one `appendBatch`, one answer. Runs on a thread
//! of its own beside a collector that serves already, blocks, and is bounded in time.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::event::{encode_event, write_bytes, write_long};
use crate::source::avro::OWN_HASH;

/// Longer than any commit takes on a disk that works.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// An answer is some 30 bytes; the protocol's text, were it in there, 1,334 more.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The union's first branch and the first of `Status`: no error, OK.
const OK: &[u8] = &[0, 0];

/// Sends `bodies` as one batch to the Avro source on `port` of this machine; returns when it said OK.
pub(super) fn send(port: u16, bodies: &[String]) -> io::Result<()> {
    let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    peer.set_read_timeout(Some(ANSWER_DEADLINE))?;
    peer.set_write_timeout(Some(ANSWER_DEADLINE))?;
    peer.write_all(&frame(&call(bodies)))?;
    match read_frame(&mut peer)?.last() {
        Some(answer) if answer == OK => Ok(()),
        answer => {
            let text = format!("the source answered {answer:?} instead of OK");
            Err(io::Error::other(text))
        }
    }
}

/// Handshake, no metadata, `appendBatch`, an array of one block.
fn call(bodies: &[String]) -> Vec<u8> {
    let mut out = OWN_HASH.to_vec();
    out.push(0); // no protocol text: the source knows it
    out.extend(OWN_HASH);
    out.extend([0, 0]); // neither handshake nor call metadata
    write_bytes(&mut out, b"appendBatch");
    write_long(&mut out, bodies.len() as i64);
    let headers = BTreeMap::from([("source".to_owned(), "quickstart".to_owned())]);
    for body in bodies {
        encode_event(&mut out, &headers, body.as_bytes());
    }
    write_long(&mut out, 0);
    out
}

/// A message of one buffer: serial, count of buffers, length, bytes.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a few events are short");
    let mut out = Vec::with_capacity(12 + message.len());
    out.extend(1u32.to_be_bytes());
    out.extend(1u32.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend(message);
    out
}

fn read_frame(peer: &mut TcpStream) -> io::Result<Vec<Vec<u8>>> {
    let _serial = read_u32(peer)?;
    let mut bytes_left = ANSWER_BYTES_MAX;
    let mut buffers = Vec::new();
    for _ in 0..read_u32(peer)? {
        let length = read_u32(peer)? as usize;
        bytes_left = bytes_left
            .checked_sub(length + 4)
            .ok_or_else(|| io::Error::other("the answer is far too long"))?;
        let mut buffer = vec![0; length];
        peer.read_exact(&mut buffer)?;
        buffers.push(buffer);
    }
    Ok(buffers)
}

fn read_u32(peer: &mut TcpStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cursor;
    use crate::limits;
    use crate::source::avro::{Call, EventLimits, Handshake, Pieces, scan_array};

    #[test]
    fn what_is_sent_is_what_the_source_reads() {
        let bodies = ["one".to_owned(), "two".to_owned()];
        let message = call(&bodies);
        let mut cursor = Cursor::new(&message);
        let handshake = Handshake::read(&mut cursor).unwrap();
        assert_eq!(
            (handshake.client_hash, handshake.client_protocol),
            (OWN_HASH, None)
        );
        assert_eq!(Call::read(&mut cursor).unwrap(), Call::AppendBatch);
        let limits = EventLimits {
            batch_events_max: limits::BATCH_EVENTS_MAX,
            event_bytes_max: limits::EVENT_BYTES_MAX,
        };
        let mut pieces = Pieces::default();
        assert_eq!(scan_array(&mut cursor, &limits, &mut pieces).unwrap(), 2);
        assert_eq!(cursor.bytes_left(), 0);
    }

    #[test]
    fn frame_says_how_long_it_is() {
        assert_eq!(
            frame(b"ab"),
            [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, b'a', b'b']
        );
    }
}
