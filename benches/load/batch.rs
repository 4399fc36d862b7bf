//! An `appendBatch` call, encoded once and sent many times. Owned by its connection's thread.
//!
//! The frame is laid out as Java's client does: a buffer with the call's head, then the payload in
//! buffers of 8,192 bytes. Between two sends only the serial and the events' identities change; the
//! lengths never do, because both have a fixed width.

/// Java's `ByteBufferOutputStream` writes buffers of this size.
const BUFFER_BYTES: usize = 8192;
/// Hexadecimal digits at the start of every body: four of the connection, twelve of the event.
pub(crate) const IDENTITY_BYTES: usize = 16;

/// MD5 of the text of `AvroSourceProtocol`, the same in every Flume since 1.2.
const PROTOCOL_HASH: [u8; 16] = [
    0x86, 0xaa, 0xda, 0xe2, 0xc4, 0x54, 0x74, 0xc0, 0xfe, 0x93, 0xff, 0xd0, 0xf2, 0x35, 0x0a, 0x65,
];

/// The handshake part of a connection's first call: own hash, no text, the same hash as guess, and
/// Java's empty map.
pub(crate) fn handshake() -> Vec<u8> {
    let mut out = PROTOCOL_HASH.to_vec();
    out.push(0);
    out.extend_from_slice(&PROTOCOL_HASH);
    out.extend_from_slice(&[2, 0]);
    out
}

/// Appends Avro's zig-zag variable-length form of a length.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = (length as u64) << 1;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// Appends Avro bytes or an Avro string.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends an int32 of the pack frame.
pub(crate) fn put_u32(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(
        &u32::try_from(value)
            .expect("a frame is smaller than 4 GiB")
            .to_be_bytes(),
    );
}

/// Where an identity lies in the frame: `first` bytes at `offset`, the rest behind the next buffer's
/// length.
struct IdentityPlace {
    offset: usize,
    first: usize,
}

/// What makes one batch different from another.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Events in the call.
    pub(crate) events: usize,
    /// Bytes of each body.
    pub(crate) body_bytes: usize,
}

/// An encoded call, ready to be stamped and sent.
pub(crate) struct Batch {
    frame: Vec<u8>,
    places: Vec<IdentityPlace>,
}

impl Batch {
    /// Encodes a call of `shape`. `with_handshake` makes it a connection's first; `seed` decides the
    /// bodies.
    pub(crate) fn new(shape: Shape, connection: u16, with_handshake: bool, seed: u64) -> Self {
        assert!(
            shape.body_bytes >= IDENTITY_BYTES,
            "a body holds its identity"
        );
        let mut head = if with_handshake {
            handshake()
        } else {
            Vec::new()
        };
        head.push(0); // call metadata: an empty map
        put_bytes(&mut head, b"appendBatch");
        let (payload, bodies) = payload(shape, connection, seed);
        let buffers = 1 + payload.len().div_ceil(BUFFER_BYTES);

        let mut frame = Vec::with_capacity(head.len() + payload.len() + 8 + 4 * buffers);
        put_u32(&mut frame, 0); // the serial, stamped at each send
        put_u32(&mut frame, buffers);
        put_u32(&mut frame, head.len());
        frame.extend_from_slice(&head);
        let payload_start = frame.len();
        for buffer in payload.chunks(BUFFER_BYTES) {
            put_u32(&mut frame, buffer.len());
            frame.extend_from_slice(buffer);
        }
        let places = bodies
            .iter()
            .map(|&body| {
                let buffer = body / BUFFER_BYTES;
                IdentityPlace {
                    offset: payload_start + body + 4 * (buffer + 1),
                    first: IDENTITY_BYTES.min((buffer + 1) * BUFFER_BYTES - body),
                }
            })
            .collect();
        Self { frame, places }
    }

    /// Makes the frame the call `serial` with events numbered from `first_event`, and returns it.
    pub(crate) fn stamp(&mut self, serial: i32, connection: u16, first_event: u64) -> &[u8] {
        self.frame[..4].copy_from_slice(&serial.to_be_bytes());
        let connection = u64::from(connection) << 48;
        for (place, event) in self.places.iter().zip(first_event..) {
            let identity = hexadecimal(connection | event);
            let (first, rest) = identity.split_at(place.first);
            let at = place.offset;
            self.frame[at..at + first.len()].copy_from_slice(first);
            if !rest.is_empty() {
                let at = at + first.len() + 4;
                self.frame[at..at + rest.len()].copy_from_slice(rest);
            }
        }
        &self.frame
    }

    /// Bytes of the frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.frame.len()
    }
}

/// The array of events, and where each body begins in it.
fn payload(shape: Shape, connection: u16, seed: u64) -> (Vec<u8>, Vec<usize>) {
    let mut random = seed | 1;
    let host = format!("agent-{connection:04}.example.org");
    let mut out = Vec::with_capacity(shape.events * (shape.body_bytes + 80));
    let mut bodies = Vec::with_capacity(shape.events);
    put_length(&mut out, shape.events);
    for _ in 0..shape.events {
        put_length(&mut out, 2); // headers
        put_bytes(&mut out, b"host");
        put_bytes(&mut out, host.as_bytes());
        put_bytes(&mut out, b"timestamp");
        put_bytes(&mut out, b"1700000000000");
        put_length(&mut out, 0);
        put_length(&mut out, shape.body_bytes);
        bodies.push(out.len());
        for _ in 0..shape.body_bytes {
            out.push(letter(&mut random));
        }
    }
    put_length(&mut out, 0);
    (out, bodies)
}

/// One of 64 printable letters: six bits a byte leave a compressor little, and text sinks write lines.
fn letter(random: &mut u64) -> u8 {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    LETTERS[(*random >> 58) as usize]
}

/// Sixteen digits. Spreads the nibbles to bytes with shifts, because it runs once per event.
fn hexadecimal(value: u64) -> [u8; IDENTITY_BYTES] {
    let mut out = [0; IDENTITY_BYTES];
    for (at, byte) in value.to_be_bytes().into_iter().enumerate() {
        out[2 * at] = digit(byte >> 4);
        out[2 * at + 1] = digit(byte & 15);
    }
    out
}

fn digit(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}
