//! What the disk does when nothing else is asked of it: one write of one block and its flush, one
//! after the other, over a file whose every block was written before. This is what a log of recycled
//! segments asks of a disk, without the log.

#![expect(clippy::disallowed_methods, reason = "it measures real time")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde_json::{Value, json};

use crate::RawDisk;
use crate::process::{host_ticks, steal_percent};
use crate::run::{histogram, nanoseconds, quantiles};

/// Alignment of direct I/O on every disk we know.
const ALIGN_BYTES: usize = 4096;
/// Bytes per write while the file is filled.
const FILL_BYTES: usize = 1 << 20;

/// Fills a file, measures, removes the file.
pub(crate) fn measure(options: &RawDisk) -> Result<Value, String> {
    if options.block_bytes == 0 || !options.block_bytes.is_multiple_of(ALIGN_BYTES) {
        return Err(format!(
            "--block-bytes {} is no multiple of {ALIGN_BYTES}",
            options.block_bytes
        ));
    }
    let path = options.dir.join(format!("raw-disk.{}", std::process::id()));
    let report = measure_file(options, &path);
    fs::remove_file(&path).ok();
    report.map_err(|error| format!("{}: {error}", path.display()))
}

fn measure_file(options: &RawDisk, path: &std::path::Path) -> io::Result<Value> {
    fill(path, options.file_bytes)?;
    let dsync = if options.dsync {
        OFlags::DSYNC
    } else {
        OFlags::empty()
    };
    let file = open(path, OFlags::DIRECT | dsync)?;
    let (memory, start) = aligned(options.block_bytes);
    let block = &memory[start..start + options.block_bytes];
    let blocks = options.file_bytes / options.block_bytes as u64;
    if blocks == 0 {
        return Err(io::Error::other("--file-bytes is less than --block-bytes"));
    }
    let interval = options
        .rate
        .map(|rate| Duration::from_secs_f64(options.block_bytes as f64 / rate));

    let (mut latency_ns, mut from_due_ns) = (histogram(), histogram());
    let host = host_ticks();
    let begun = Instant::now();
    let mut busy = Duration::ZERO;
    let mut due = begun;
    let mut written: u64 = 0;
    while begun.elapsed().as_secs_f64() < options.seconds {
        if interval.is_some() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let at = Instant::now();
        file.write_all_at(block, written % blocks * options.block_bytes as u64)?;
        if !options.dsync {
            file.sync_data()?;
        }
        busy += at.elapsed();
        latency_ns.saturating_record(nanoseconds(at.elapsed()));
        // As the paced clients count: a disk that stops makes every write late that was due meanwhile.
        from_due_ns.saturating_record(nanoseconds(due.elapsed()));
        due = interval.map_or_else(Instant::now, |interval| due + interval);
        written += 1;
    }
    let bytes = written as f64 * options.block_bytes as f64;
    Ok(json!({
        "block_bytes": options.block_bytes,
        "dsync": options.dsync,
        "rate": options.rate,
        "writes": written,
        "bytes_per_s": (bytes / begun.elapsed().as_secs_f64()).round(),
        "bytes_per_busy_s": (bytes / busy.as_secs_f64()).round(),
        "write_and_flush": quantiles(&latency_ns),
        "from_due": quantiles(&from_due_ns),
        "steal_percent": (steal_percent(host, host_ticks()) * 10.0).round() / 10.0,
    }))
}

/// Writes the file once, whole, so that later writes find every extent in place.
fn fill(path: &std::path::Path, bytes: u64) -> io::Result<()> {
    let file = open(path, OFlags::DIRECT | OFlags::CREATE | OFlags::TRUNC)?;
    let (mut memory, start) = aligned(FILL_BYTES);
    // Not zeros: a disk may treat those as a hole.
    for (byte, value) in memory.iter_mut().zip((0..=250).cycle()) {
        *byte = value;
    }
    let block = &memory[start..start + FILL_BYTES];
    let mut offset = 0;
    while offset < bytes {
        file.write_all_at(block, offset)?;
        offset += FILL_BYTES as u64;
    }
    file.sync_all()
}

fn open(path: &std::path::Path, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
}

/// Memory and the offset in it from which `bytes` bytes are aligned.
fn aligned(bytes: usize) -> (Vec<u8>, usize) {
    let memory = vec![0x5a; bytes + ALIGN_BYTES];
    let start = memory.as_ptr().align_offset(ALIGN_BYTES);
    (memory, start)
}
