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
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
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
///
/// # Errors
/// The system's. Of a file system that has shut down that is what looking says (EIO), not that the
/// directory exists, which is all that making it says.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    match judge_there(fs::metadata(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    if let Some(above) = directory
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
    {
        create_directory(above)?;
    }
    match fs::create_dir(directory) {
        Ok(()) => {}
        // Another shard made it meanwhile, or a symbolic link stands there that leads nowhere.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match judge_there(fs::metadata(directory)) {
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Err(error),
                found => found?,
            }
        }
        Err(error) => return Err(error),
    }
    sync_directory(parent(directory))
}

/// What stands where a directory is wanted.
fn judge_there(found: io::Result<fs::Metadata>) -> io::Result<()> {
    match found?.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_with_its_parents_and_found_again() {
        let scratch = tempfile::tempdir().unwrap();
        let wanted = scratch.path().join("a/b/c");
        create_directory(&wanted).unwrap();
        create_directory(&wanted).unwrap();
        assert!(wanted.is_dir());
    }

    /// What stands there is what the refusal is about, and never just that something does.
    #[test]
    fn what_stands_in_the_way_of_a_directory_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        for wanted in [file.clone(), file.join("below")] {
            let error = create_directory(&wanted).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{error}");
        }
        let nowhere = scratch.path().join("nowhere");
        std::os::unix::fs::symlink("gone", &nowhere).unwrap();
        let error = create_directory(&nowhere).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        let long = scratch.path().join("x".repeat(300));
        let error = create_directory(&long).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename, "{error}");
    }

    #[test]
    fn a_file_system_that_has_shut_down_says_so() {
        let shut_down = io::Error::from(rustix::io::Errno::IO);
        let error = judge_there(Err(shut_down)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5), "not that it exists");
    }
}
