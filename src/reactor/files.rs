//! Directory work that both worlds do with plain system calls: it happens at start-up, once a
//! segment, or on the drain plane, never on the path of a batch.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::defence::Defence;

/// One mebibyte of zeros at a time.
const FILL_STEP_BYTES: u64 = 1 << 20;

/// `O_DSYNC`, in the numbers of x86-64 and aarch64. Not `OFlags::DSYNC`: where rustix makes its system
/// calls itself, it has the bits of `O_SYNC` under that name. Then every block also commits the time
/// stamps of its file: on ext4 two flushes and three blocks of journal more.
const O_DSYNC: i32 = 0o10_000;

/// Flags of every WAL file: no page cache, and a write returns when it is durable. `O_DSYNC` saves a
/// separate flush per block: one trip through the kernel instead of two.
pub(crate) fn direct_sync_flags() -> i32 {
    let direct = OFlags::DIRECT.bits().cast_signed();
    if Defence::Flush.removed() {
        return direct;
    }
    direct | O_DSYNC
}

/// A block that was written in part is not written.
pub(super) fn whole(written: usize, length: usize) -> io::Result<()> {
    if written == length {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::WriteZero,
        format!("short write: {written} of {length} bytes"),
    ))
}

/// Creates a file whose `bytes` are allocated and read as zeros.
pub(super) fn create_allocated(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    file.sync_all()?;
    sync_directory(parent(path))
}

/// Creates a file whose `bytes` have been written as zeros, so that its extents are initialised.
pub(super) fn create_written(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    let direct = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path)?;
    let zeros = memmap2::MmapMut::map_anon(usize::try_from(FILL_STEP_BYTES).unwrap_or(usize::MAX))?;
    let mut at = 0;
    while at < bytes {
        let step = FILL_STEP_BYTES.min(bytes - at);
        let length = usize::try_from(step).unwrap_or(usize::MAX);
        write_all_at(&direct, &zeros[..length], at)?;
        at += step;
    }
    file.sync_all()?;
    sync_directory(parent(path))
}

fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.write_all_at(bytes, at)
}

/// Temporary file, flush, rename, directory flush.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(&temporary, path)?;
    sync_directory(parent(path))
}

pub(super) fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(parent(to))
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_directory(parent(path))
}

/// Creates what is missing of `directory`, and flushes each parent that gained an entry.
pub(super) fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
    {
        create_directory(above)?;
    }
    match fs::create_dir(directory) {
        Ok(()) => {}
        // Another shard made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        Err(error) => return Err(error),
    }
    sync_directory(parent(directory))
}

pub(super) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if Defence::DirectoryFlush.removed() {
        return Ok(());
    }
    File::open(directory)?.sync_all()
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
