//! A raw client of Flume's Avro RPC, written from the wire up, so that tests decide every byte.
//!
//! Encoders are plain functions; [`RpcClient`] adds a socket and, for deflate, the two zlib streams.
//! It checks nothing that a test may want to get wrong.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};

use super::event::TestEvent;

/// MD5 of Flume's protocol text, the same from 1.2 to 1.11.
pub const PROTOCOL_HASH: [u8; 16] = [
    0x86, 0xaa, 0xda, 0xe2, 0xc4, 0x54, 0x74, 0xc0, 0xfe, 0x93, 0xff, 0xd0, 0xf2, 0x35, 0x0a, 0x65,
];
/// How long a reply may take: a full channel waits its keep-alive first.
pub const REPLY_LIMIT: Duration = Duration::from_secs(20);

/// `compression-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain frames.
    None,
    /// One zlib stream per direction, flushed after each frame.
    Deflate,
}

/// Avro's zigzag varint.
pub fn varint(value: i64) -> Vec<u8> {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).expect("masked") | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).expect("below 128"));
    bytes
}

/// Avro string or bytes: length, then content.
pub fn avro_bytes(content: &[u8]) -> Vec<u8> {
    let mut bytes = varint(i64::try_from(content.len()).expect("small"));
    bytes.extend_from_slice(content);
    bytes
}

/// One AvroFlumeEvent.
pub fn avro_event(event: &TestEvent) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !event.headers.is_empty() {
        bytes.extend(varint(i64::try_from(event.headers.len()).expect("small")));
        for (key, value) in &event.headers {
            bytes.extend(avro_bytes(key.as_bytes()));
            bytes.extend(avro_bytes(value.as_bytes()));
        }
    }
    bytes.push(0);
    bytes.extend(avro_bytes(&event.body));
    bytes
}

/// An array of events, in one block as Java writes it.
pub fn avro_batch(events: &[TestEvent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !events.is_empty() {
        bytes.extend(varint(i64::try_from(events.len()).expect("small")));
        events
            .iter()
            .for_each(|event| bytes.extend(avro_event(event)));
    }
    bytes.push(0);
    bytes
}

/// A handshake request as Java writes it: meta is an empty map, not null.
pub fn handshake(
    client_hash: [u8; 16],
    client_protocol: Option<&str>,
    server_hash: [u8; 16],
) -> Vec<u8> {
    let mut bytes = client_hash.to_vec();
    match client_protocol {
        None => bytes.push(0),
        Some(text) => {
            bytes.push(2);
            bytes.extend(avro_bytes(text.as_bytes()));
        }
    }
    bytes.extend(server_hash);
    bytes.extend([2, 0]);
    bytes
}

/// Call metadata (none), message name, request.
pub fn call(message: &str, request: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(avro_bytes(message.as_bytes()));
    bytes.extend_from_slice(request);
    bytes
}

/// A pack frame of these buffers.
pub fn frame(serial: i32, buffers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = serial.to_be_bytes().to_vec();
    bytes.extend(i32::try_from(buffers.len()).expect("small").to_be_bytes());
    for buffer in buffers {
        bytes.extend(i32::try_from(buffer.len()).expect("small").to_be_bytes());
        bytes.extend_from_slice(buffer);
    }
    bytes
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Committed to all required channels.
    Ok,
    /// Not committed; the client keeps its batch.
    Failed,
    /// The third value, which no server sends.
    Unknown,
    /// An RPC error with its text.
    Error(String),
}

/// How a handshake ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeReply {
    /// 0 BOTH, 1 CLIENT, 2 NONE.
    pub matched: i64,
    /// The server's protocol text, when it sent one.
    pub server_protocol: Option<String>,
    /// The server's hash, when it sent one.
    pub server_hash: Option<[u8; 16]>,
}

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Echoed.
    pub serial: i32,
    /// Its buffers, boundaries kept.
    pub buffers: Vec<Vec<u8>>,
}

impl Reply {
    /// The message: all buffers joined.
    pub fn message(&self) -> Vec<u8> {
        self.buffers.concat()
    }

    /// The outcome of a call whose reply carries no handshake.
    pub fn status(&self) -> Status {
        status(&self.message())
    }

    /// The handshake part, and the outcome unless it is NONE or a ping.
    pub fn handshake(&self) -> (HandshakeReply, Option<Status>) {
        let message = self.message();
        let mut cursor = Cursor { rest: &message };
        let matched = cursor.varint();
        let server_protocol = cursor
            .option()
            .then(|| String::from_utf8(cursor.bytes()).expect("UTF-8"));
        let server_hash = cursor
            .option()
            .then(|| cursor.take(16).try_into().expect("16 bytes"));
        if cursor.option() {
            assert_eq!(
                cursor.varint(),
                0,
                "this client expects no handshake metadata"
            );
        }
        let reply = HandshakeReply {
            matched,
            server_protocol,
            server_hash,
        };
        let outcome = (!cursor.rest.is_empty()).then(|| status(cursor.rest));
        (reply, outcome)
    }
}

fn status(message: &[u8]) -> Status {
    let mut cursor = Cursor { rest: message };
    assert_eq!(
        cursor.varint(),
        0,
        "this client expects no response metadata: {message:02x?}"
    );
    match cursor.take(1) {
        [0] => match cursor.varint() {
            0 => Status::Ok,
            1 => Status::Failed,
            2 => Status::Unknown,
            other => panic!("no Status has number {other}"),
        },
        _ => {
            assert_eq!(cursor.varint(), 0, "the only error type is string");
            Status::Error(String::from_utf8_lossy(&cursor.bytes()).into_owned())
        }
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(count);
        self.rest = rest;
        head
    }

    fn varint(&mut self) -> i64 {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.take(1)[0];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
            }
        }
    }

    fn option(&mut self) -> bool {
        self.varint() == 1
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = usize::try_from(self.varint()).expect("a length");
        self.take(count).to_vec()
    }
}

struct Deflater {
    compress: Compress,
    decompress: Decompress,
    inflated: Vec<u8>,
}

/// One connection.
pub struct RpcClient {
    stream: TcpStream,
    deflater: Option<Deflater>,
    serial: i32,
    connected: bool,
}

impl std::fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcClient")
            .field("stream", &self.stream)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl RpcClient {
    /// Connects; sends nothing yet.
    pub fn connect(port: u16, compression: Compression) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_write_timeout(Some(REPLY_LIMIT))?;
        let deflater = (compression == Compression::Deflate).then(|| Deflater {
            compress: Compress::new(flate2::Compression::new(6), true),
            decompress: Decompress::new(true),
            inflated: Vec::new(),
        });
        Ok(Self {
            stream,
            deflater,
            serial: 0,
            connected: false,
        })
    }

    /// The socket, for tests that write half a frame.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The serial of the next call.
    pub fn next_serial(&mut self) -> i32 {
        self.serial += 1;
        self.serial
    }

    /// Bytes as they are, through zlib when the connection deflates, flushed.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(deflater) = &mut self.deflater else {
            return self.stream.write_all(bytes);
        };
        let mut packed = Vec::with_capacity(bytes.len() + 1024);
        let before = deflater.compress.total_in();
        loop {
            let used =
                usize::try_from(deflater.compress.total_in() - before).expect("within the slice");
            packed.reserve(1024);
            deflater
                .compress
                .compress_vec(&bytes[used..], &mut packed, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            let used =
                usize::try_from(deflater.compress.total_in() - before).expect("within the slice");
            if used == bytes.len() && packed.len() < packed.capacity() {
                return self.stream.write_all(&packed);
            }
        }
    }

    /// The next reply frame.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let serial = i32::from_be_bytes(self.read_array()?);
        let count = i32::from_be_bytes(self.read_array()?);
        let mut buffers = Vec::new();
        for _ in 0..count {
            let length = i32::from_be_bytes(self.read_array()?);
            buffers.push(self.read_exact(usize::try_from(length).map_err(io::Error::other)?)?);
        }
        Ok(Reply { serial, buffers })
    }

    /// Whether the server has closed the connection (true) or still holds it after `limit` (false).
    pub fn closed_within(&mut self, limit: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("a limit above zero");
        let mut byte = [0];
        loop {
            match self.stream.read(&mut byte) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }

    /// Sends one call without waiting for its reply; the handshake goes first on a new connection.
    pub fn send_call(&mut self, message: &str, request: &[u8]) -> io::Result<i32> {
        let serial = self.next_serial();
        let body = call(message, request);
        let bytes = if self.connected {
            frame(serial, &[&body])
        } else {
            frame(
                serial,
                &[&handshake(PROTOCOL_HASH, None, PROTOCOL_HASH), &body],
            )
        };
        self.send(&bytes)?;
        Ok(serial)
    }

    /// One call and its outcome.
    pub fn call(&mut self, message: &str, request: &[u8]) -> io::Result<Status> {
        let serial = self.send_call(message, request)?;
        let reply = self.receive()?;
        if reply.serial != serial {
            return Err(io::Error::other(format!(
                "reply {} to call {serial}",
                reply.serial
            )));
        }
        if self.connected {
            return Ok(reply.status());
        }
        let (handshake, status) = reply.handshake();
        self.connected = handshake.matched != 2;
        status.ok_or_else(|| io::Error::other("the handshake ended in NONE"))
    }

    /// `appendBatch`.
    pub fn append_batch(&mut self, events: &[TestEvent]) -> io::Result<Status> {
        self.call("appendBatch", &avro_batch(events))
    }

    /// `append`.
    pub fn append(&mut self, event: &TestEvent) -> io::Result<Status> {
        self.call("append", &avro_event(event))
    }

    /// No more bytes will come from us.
    pub fn finish(&mut self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    fn read_array(&mut self) -> io::Result<[u8; 4]> {
        let bytes = self.read_exact(4)?;
        Ok(bytes.try_into().expect("four bytes"))
    }

    fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let Some(deflater) = &mut self.deflater else {
            let mut bytes = vec![0; count];
            self.stream.read_exact(&mut bytes)?;
            return Ok(bytes);
        };
        let mut packed = [0; 4096];
        while deflater.inflated.len() < count {
            let read = self.stream.read(&mut packed)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            inflate(deflater, &packed[..read])?;
        }
        Ok(deflater.inflated.drain(..count).collect())
    }
}

fn inflate(deflater: &mut Deflater, packed: &[u8]) -> io::Result<()> {
    let before = deflater.decompress.total_in();
    loop {
        let used =
            usize::try_from(deflater.decompress.total_in() - before).expect("within the slice");
        deflater.inflated.reserve(4096);
        let out = &mut deflater.inflated;
        deflater
            .decompress
            .decompress_vec(&packed[used..], out, FlushDecompress::Sync)
            .map_err(io::Error::other)?;
        let used =
            usize::try_from(deflater.decompress.total_in() - before).expect("within the slice");
        if used == packed.len() && deflater.inflated.len() < deflater.inflated.capacity() {
            return Ok(());
        }
    }
}
