//! Files of the local file system (`file://`), written through the drain thread's ring.
//!
//! Opening, renaming and removing are rare and go through tokio's blocking pool, so that a slow disk
//! stops no other sink of the thread. Unlike Hadoop's `LocalFileSystem` no `.crc` files are written.

use std::io;
use std::path::{Path, PathBuf};

use tokio_uring::fs::{File, OpenOptions};

/// A file being appended to. `position` is its length.
pub(crate) struct LocalFile {
    file: File,
    position: u64,
}

impl LocalFile {
    /// Creates `path`, which must not exist, and the directories above it, durably.
    pub(crate) async fn create(path: &Path) -> io::Result<Self> {
        let directory = parent(path);
        blocking(move || std::fs::create_dir_all(directory)).await?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .await?;
        sync_directory(path).await?;
        Ok(Self { file, position: 0 })
    }

    /// Appends `bytes`.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let length = bytes.len() as u64;
        let (result, _bytes) = self.file.write_all_at(bytes, self.position).await;
        result?;
        self.position += length;
        Ok(())
    }

    /// Makes what was written survive a power cut.
    pub(crate) async fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data().await
    }
}

/// Renames, durably; an existing `to` is an error.
pub(crate) async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (from.to_owned(), to.to_owned());
    blocking(move || {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(
            CWD,
            &source,
            CWD,
            &target,
            RenameFlags::NOREPLACE,
        )?)
    })
    .await?;
    sync_directory(to).await
}

/// Removes a file.
pub(crate) async fn remove(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking(move || std::fs::remove_file(path)).await
}

/// The length of a file.
pub(crate) async fn length(path: &Path) -> io::Result<u64> {
    let path = path.to_owned();
    blocking(move || Ok(std::fs::metadata(path)?.len())).await
}

/// Makes the entries of the directory that holds `path` survive a power cut.
pub(crate) async fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = parent(path);
    blocking(move || std::fs::File::open(directory)?.sync_all()).await
}

/// Runs a call that may wait for the disk beside the drain thread.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(io::Error::other)?
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}
