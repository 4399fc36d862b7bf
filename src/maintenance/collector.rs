//! Another collector, reached over Avro RPC: a small blocking client of Flume's protocol.
//!
//! One connection, one batch under way. A batch counts as taken when the collector answered OK; whatever
//! else happens, the connection is given up and the batch is sent again, as a Flume sink does. So a
//! batch whose answer got lost arrives twice, and none is lost.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::error::MaintenanceError;
use crate::event::{AvroError, Cursor, write_bytes};
use crate::reactor::{Ground, ReadOnlyWorld};
use crate::source::avro::{OWN_HASH, PROTOCOL_JSON};

/// Flume's `connect-timeout` and `request-timeout`.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Between two attempts, doubled each time up to the longest.
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_LONGEST: Duration = Duration::from_secs(5);
/// A reply is some 30 bytes, or a protocol's text.
const REPLY_BYTES_MAX: usize = 1 << 20;
const REPLY_BUFFERS_MAX: usize = 1024;

/// A collector to send to.
#[derive(Debug)]
pub struct Collector {
    address: String,
    deflate: bool,
    attempts_max: u32,
    ground: ReadOnlyWorld,
    connection: Option<Connection>,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("its answer is no Flume answer: {0}")]
    Avro(#[from] AvroError),
    #[error("its answer is no Flume answer: {0}")]
    Shape(&'static str),
    #[error("it answered {0}: its channel is full, or cannot store")]
    Status(&'static str),
    #[error("it answered with an error: {0}")]
    Error(String),
}

impl Collector {
    /// Connects when the first batch is sent.
    #[must_use]
    pub fn new(address: &str, deflate: bool, attempts_max: u32) -> Self {
        Self {
            address: address.to_owned(),
            deflate,
            attempts_max: attempts_max.max(1),
            ground: ReadOnlyWorld::default(),
            connection: None,
        }
    }

    /// Sends `count` events, `AvroFlumeEvent`s back to back, until the collector has taken them.
    ///
    /// # Errors
    /// It did not, however often it was asked.
    pub async fn append_batch(
        &mut self,
        count: usize,
        events: &[u8],
    ) -> Result<(), MaintenanceError> {
        let call = call(count, events);
        let mut wait = WAIT_FIRST;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let refusal = match self.attempt(&call) {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            };
            // Whatever it was: nothing more is expected of this connection.
            self.connection = None;
            if attempts >= self.attempts_max {
                return Err(MaintenanceError::Collector {
                    address: self.address.clone(),
                    reason: refusal.to_string(),
                    attempts,
                });
            }
            self.ground.sleep(wait).await;
            wait = (wait * 2).min(WAIT_LONGEST);
        }
    }

    fn attempt(&mut self, call: &[u8]) -> Result<(), Refusal> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.address, self.deflate)?);
        }
        let connection = self.connection.as_mut().expect("opened above");
        connection.call(call)
    }
}

/// Call metadata (none), the message's name, its request: an array in one block.
fn call(count: usize, events: &[u8]) -> Vec<u8> {
    let mut call = vec![0];
    write_bytes(&mut call, b"appendBatch");
    crate::event::write_long(&mut call, i64::try_from(count).expect("a batch is small"));
    call.extend_from_slice(events);
    call.push(0);
    call
}

/// Ours is Flume's protocol, so a collector knows it by its hash and wants the text only if it is none.
fn handshake(with_text: bool) -> Vec<u8> {
    let mut out = OWN_HASH.to_vec();
    match with_text {
        false => out.push(0),
        true => {
            out.push(2);
            write_bytes(&mut out, PROTOCOL_JSON.as_bytes());
        }
    }
    out.extend_from_slice(&OWN_HASH);
    // Metadata: an empty map, as Java sends it.
    out.extend_from_slice(&[2, 0]);
    out
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    zlib: Option<Zlib>,
    serial: i32,
    is_known: bool,
}

#[derive(Debug)]
struct Zlib {
    compress: Compress,
    decompress: Decompress,
    inflated: Vec<u8>,
}

impl Connection {
    fn open(address: &str, deflate: bool) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(TIMEOUT))?;
                    stream.set_write_timeout(Some(TIMEOUT))?;
                    let zlib = deflate.then(|| Zlib {
                        compress: Compress::new(Compression::default(), true),
                        decompress: Decompress::new(true),
                        inflated: Vec::new(),
                    });
                    return Ok(Self {
                        stream,
                        zlib,
                        serial: 0,
                        is_known: false,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn call(&mut self, call: &[u8]) -> Result<(), Refusal> {
        for with_text in [false, true] {
            let head = match self.is_known {
                true => Vec::new(),
                false => handshake(with_text),
            };
            let reply = self.exchange(&[&head, call])?;
            let mut reply = Cursor::new(&reply);
            if !self.is_known {
                // 0 BOTH, 1 CLIENT (it sends its own text along), 2 NONE: it wants ours.
                let matched = reply.long()?;
                skip_protocol(&mut reply)?;
                if matched == 2 {
                    continue;
                }
                self.is_known = true;
            }
            return outcome(&mut reply);
        }
        Err(Refusal::Shape("it knows no such protocol"))
    }

    /// One frame out, one frame in.
    fn exchange(&mut self, buffers: &[&[u8]]) -> Result<Vec<u8>, Refusal> {
        self.serial += 1;
        let buffers: Vec<&&[u8]> = buffers.iter().filter(|part| !part.is_empty()).collect();
        let mut frame = self.serial.to_be_bytes().to_vec();
        frame.extend_from_slice(&length(buffers.len()));
        for buffer in buffers {
            frame.extend_from_slice(&length(buffer.len()));
            frame.extend_from_slice(buffer);
        }
        self.write(&frame)?;
        if self.read_number()? != i64::from(self.serial) {
            return Err(Refusal::Shape("it answers another call"));
        }
        let count = self.read_length(REPLY_BUFFERS_MAX)?;
        let mut reply = Vec::new();
        for _ in 0..count {
            let bytes = self.read_length(REPLY_BYTES_MAX - reply.len())?;
            let at = reply.len();
            reply.resize(at + bytes, 0);
            self.read(&mut reply[at..])?;
        }
        Ok(reply)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(zlib) = &mut self.zlib else {
            return self.stream.write_all(bytes);
        };
        let mut packed = Vec::with_capacity(bytes.len() / 2 + 1024);
        let mut rest = bytes;
        loop {
            let before = zlib.compress.total_in();
            let room_before = packed.capacity() - packed.len();
            zlib.compress
                .compress_vec(rest, &mut packed, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            let taken = zlib.compress.total_in() - before;
            rest = &rest[usize::try_from(taken).expect("within the slice")..];
            // A flush is over when it leaves room.
            if rest.is_empty() && packed.len() < packed.capacity() && room_before > 0 {
                return self.stream.write_all(&packed);
            }
            packed.reserve(64 << 10);
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<()> {
        let Some(zlib) = &mut self.zlib else {
            return self.stream.read_exact(into);
        };
        let mut packed = [0; 4096];
        while zlib.inflated.len() < into.len() {
            let read = self.stream.read(&mut packed)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut rest = &packed[..read];
            while !rest.is_empty() {
                let before = zlib.decompress.total_in();
                zlib.inflated.reserve(4096);
                let status = zlib
                    .decompress
                    .decompress_vec(rest, &mut zlib.inflated, FlushDecompress::Sync)
                    .map_err(io::Error::other)?;
                let taken = zlib.decompress.total_in() - before;
                rest = &rest[usize::try_from(taken).expect("within the slice")..];
                if taken == 0 && status != Status::Ok {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        into.copy_from_slice(&zlib.inflated[..into.len()]);
        zlib.inflated.drain(..into.len());
        Ok(())
    }

    fn read_number(&mut self) -> io::Result<i64> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(i64::from(i32::from_be_bytes(bytes)))
    }

    fn read_length(&mut self, max: usize) -> Result<usize, Refusal> {
        let length = usize::try_from(self.read_number()?).ok();
        length
            .filter(|length| *length <= max)
            .ok_or(Refusal::Shape("a reply of such a length"))
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("frames are smaller than 4 GiB")
        .to_be_bytes()
}

/// Text, hash and metadata of a handshake reply, each of which may be there.
fn skip_protocol(reply: &mut Cursor<'_>) -> Result<(), AvroError> {
    if reply.length()? != 0 {
        reply.bytes()?;
    }
    if reply.length()? != 0 {
        reply.fixed(16)?;
    }
    if reply.length()? != 0 {
        skip_map(reply)?;
    }
    Ok(())
}

fn skip_map(reply: &mut Cursor<'_>) -> Result<(), AvroError> {
    loop {
        let count = reply.block_count()?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            reply.bytes()?;
            reply.bytes()?;
        }
    }
}

/// Metadata, the error flag, then a `Status` or an error union.
fn outcome(reply: &mut Cursor<'_>) -> Result<(), Refusal> {
    skip_map(reply)?;
    if reply.fixed(1)? == [0] {
        return match reply.long()? {
            0 => Ok(()),
            1 => Err(Refusal::Status("FAILED")),
            _ => Err(Refusal::Status("UNKNOWN")),
        };
    }
    reply.long()?;
    let text = String::from_utf8_lossy(reply.bytes()?).into_owned();
    Err(Refusal::Error(text))
}
