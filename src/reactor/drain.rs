//! The world of a drain thread: a tokio current-thread runtime on a ring (tokio-uring).
//!
//! The ring reads WAL segments back; sinks use the tokio half. Directory work is plain system calls:
//! a drain thread has no latency to protect.

#![expect(
    unsafe_code,
    reason = "lets the ring read into and write from mapped memory"
)]

use std::future::Future;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio_uring::buf::{BoundedBuf, IoBuf, IoBufMut};

use super::aligned::AlignedMemory;
use super::clock::Clock;
use super::files;
use super::pool::{Pool, PooledBuffer};
use super::world::{DiskFile, Fill, Ground, WriteBuffer as _};
use crate::limits;

/// Disk, clock and randomness of one drain thread.
#[derive(Debug, Clone, Default)]
pub struct DrainWorld {
    clock: Clock,
    pool: Rc<Pool>,
}

impl Ground for DrainWorld {
    type File = DrainFile;
    type Buffer = PooledBuffer;

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn wall_ms(&self) -> u64 {
        Clock::wall_ms()
    }

    fn random(&self) -> u64 {
        Clock::random()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn yield_now(&self) {
        tokio::task::yield_now().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // The handle is not needed: the task ends by itself or with the runtime.
        drop(tokio_uring::spawn(task));
    }

    fn buffer(&self, bytes: usize) -> PooledBuffer {
        self.pool.take(bytes)
    }

    async fn create(&self, path: &Path, bytes: u64, fill: Fill) -> io::Result<DrainFile> {
        match fill {
            Fill::Written => files::create_written(path, bytes)?,
            Fill::Allocated => files::create_allocated(path, bytes)?,
        }
        self.open(path).await
    }

    async fn open(&self, path: &Path) -> io::Result<DrainFile> {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(files::direct_sync_flags())
            .open(path)?;
        Ok(DrainFile {
            file: tokio_uring::fs::File::from_std(file),
            pool: Rc::clone(&self.pool),
        })
    }

    async fn replace(&self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let file = tokio_uring::fs::File::create(&temporary).await?;
        let (result, _content) = file.write_all_at(content, 0).await;
        result?;
        file.sync_data().await?;
        file.close().await?;
        tokio_uring::fs::rename(&temporary, path).await?;
        files::sync_directory(files::parent(path))
    }

    async fn read_small(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        files::list(directory)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        files::rename(from, to)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        files::remove(path)
    }

    async fn create_directory(&self, directory: &Path) -> io::Result<()> {
        files::create_directory(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        files::free_bytes(directory)
    }
}

// SAFETY: the mapping is made once, at its final size, and neither moves nor shrinks while the value
// lives, wherever the value itself is moved; an anonymous mapping is zeroed, so all of it is
// initialised.
unsafe impl IoBuf for AlignedMemory {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }

    fn bytes_total(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above; the mapping is writable and this value is its only owner.
unsafe impl IoBufMut for AlignedMemory {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    // SAFETY: all bytes are initialised from the start, so there is nothing to keep.
    unsafe fn set_init(&mut self, _initialised: usize) {}
}

/// A WAL file on a drain thread.
#[derive(Debug)]
pub struct DrainFile {
    file: tokio_uring::fs::File,
    pool: Rc<Pool>,
}

impl DiskFile for DrainFile {
    type Buffer = PooledBuffer;

    async fn write_durable(
        &self,
        mut buffer: PooledBuffer,
        length: usize,
        offset: u64,
    ) -> (io::Result<()>, PooledBuffer) {
        assert!(
            length.is_multiple_of(limits::ALIGN_BYTES),
            "direct writes are whole sectors"
        );
        let (result, slice) = self
            .file
            .write_all_at(buffer.lend().slice(..length), offset)
            .await;
        buffer.give_back(slice.into_inner());
        (result, buffer)
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = self.pool.take(length);
        let (result, memory) = self.file.read_at(buffer.lend(), offset).await;
        buffer.give_back(memory);
        Ok(buffer.share(result?.min(length)))
    }

    async fn size(&self) -> io::Result<u64> {
        use std::os::fd::{AsRawFd, BorrowedFd};
        // SAFETY: the descriptor stays open while `self.file` lives, which outlives this borrow.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.file.as_raw_fd()) };
        let stat = rustix::fs::fstat(descriptor)?;
        u64::try_from(stat.st_size).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}
