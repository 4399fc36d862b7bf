//! The kernel's FUSE protocol, as much of it as a file system of one file needs.
//!
//! The root of the mount is that file, so there are no names to look up. Messages are structs of
//! `linux/fuse.h` in the machine's byte order; all machines this runs on are little-endian.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::device::{Answer, Disk, Request};
use crate::support::clock::pause;

/// Bytes of one read or write at most.
const TRANSFER_BYTES_MAX: u32 = 1 << 20;
const HEADER_BYTES: usize = 40;
const WRITE_FIELDS_BYTES: usize = 40;
/// Attributes do not change while the file is there.
const ATTRIBUTES_VALID_S: u64 = 1 << 20;

const ASYNC_READ: u32 = 1;
const BIG_WRITES: u32 = 1 << 5;
const ASYNC_DIO: u32 = 1 << 15;
const MAX_PAGES: u32 = 1 << 22;

/// No page cache of its own, and writes side by side.
const OPEN_DIRECT: u32 = 1 | 1 << 6;

/// Serves the connection until the file system is unmounted.
pub fn serve(connection: File, disk: &Disk) {
    let connection = Arc::new(connection);
    let mut message = vec![0; TRANSFER_BYTES_MAX as usize + (64 << 10)];
    loop {
        match (&*connection).read(&mut message) {
            Ok(length) => answer(&connection, disk, &message[..length]),
            Err(error) => match Errno::from_io_error(&error) {
                // Whoever asked went away; a signal came.
                Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                // Not mounted yet.
                Some(Errno::PERM) => pause(Duration::from_millis(1)),
                _ => return,
            },
        }
    }
}

fn answer(connection: &Arc<File>, disk: &Disk, message: &[u8]) {
    let (opcode, unique) = (u32_at(message, 4), u64_at(message, 8));
    let body = &message[HEADER_BYTES..];
    let request = match opcode {
        15 => Request::Read {
            offset: u64_at(body, 8),
            length: u32_at(body, 16) as usize,
        },
        16 => Request::Write {
            offset: u64_at(body, 8),
            bytes: body[WRITE_FIELDS_BYTES..][..u32_at(body, 16) as usize].to_vec(),
        },
        20 => Request::Flush,
        2 | 36 | 42 => return, // forget, interrupt, batch forget: nobody waits for an answer
        other => return reply(connection, unique, control(other, disk)),
    };
    let (effect, delay) = disk.begin(&request);
    if delay == Duration::ZERO {
        return reply(connection, unique, disk.finish(request, effect).map(encode));
    }
    let (connection, disk) = (Arc::clone(connection), disk.clone());
    std::thread::spawn(move || {
        disk.wait(delay);
        reply(
            &connection,
            unique,
            disk.finish(request, effect).map(encode),
        );
    });
}

/// Requests that are not about content.
fn control(opcode: u32, disk: &Disk) -> Result<Vec<u8>, Errno> {
    match opcode {
        3 | 4 => Ok(attributes(disk.bytes())),
        14 => Ok([&[0; 8][..], &OPEN_DIRECT.to_le_bytes(), &[0; 4]].concat()),
        17 => Ok(vec![0; 80]),
        18 | 25 | 38 => Ok(Vec::new()), // release, flush of a descriptor, destroy
        26 => Ok(init()),
        _ => Err(Errno::NOSYS),
    }
}

fn init() -> Vec<u8> {
    let flags = ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES;
    let mut out = Vec::with_capacity(64);
    for value in [7, 31, TRANSFER_BYTES_MAX, flags] {
        out.extend(u32::to_le_bytes(value));
    }
    out.extend(u16::to_le_bytes(64)); // requests in the background
    out.extend(u16::to_le_bytes(48));
    out.extend(TRANSFER_BYTES_MAX.to_le_bytes());
    out.extend(u32::to_le_bytes(1)); // nanoseconds
    out.extend(u16::to_le_bytes(256)); // pages of one request
    out.resize(64, 0);
    out
}

fn attributes(bytes: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(104);
    out.extend(ATTRIBUTES_VALID_S.to_le_bytes());
    out.extend([0; 8]);
    for value in [1, bytes, bytes.div_ceil(512), 0, 0, 0] {
        out.extend(u64::to_le_bytes(value)); // inode, size, blocks, three times
    }
    for value in [0, 0, 0, 0o100_600, 1, 0, 0, 0, 4096, 0] {
        out.extend(u32::to_le_bytes(value)); // three times, mode, links, owner, group, device, block
    }
    out
}

fn encode(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Bytes(bytes) => bytes,
        Answer::Taken(length) => (length as u64).to_le_bytes().to_vec(),
        Answer::Flushed => Vec::new(),
    }
}

fn reply(connection: &File, unique: u64, outcome: Result<Vec<u8>, Errno>) {
    let (error, body) = match outcome {
        Ok(body) => (0, body),
        Err(errno) => (-errno.raw_os_error(), Vec::new()),
    };
    let length = u32::try_from(16 + body.len()).expect("a message of a megabyte");
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(length.to_le_bytes());
    message.extend(error.to_le_bytes());
    message.extend(unique.to_le_bytes());
    message.extend(body);
    let mut connection = connection;
    if connection.write_all(&message).is_err() {
        // The file system was unmounted, or whoever asked was killed.
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
