//! A world that can look and not touch: what the tools read a log through, also while an agent runs.
//!
//! Files are opened `O_RDONLY` and read with direct I/O, so that the agent's page cache and its writes
//! are left alone; a file system that refuses direct I/O (a copy on tmpfs, say) is read through the
//! cache. Reads block: a tool has one thread and nothing else to do on it. Everything that would change
//! a file fails with `EROFS`.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::clock::Clock;
use super::files;
use super::world::{DiskFile, Fill, Ground, WriteBuffer};
use crate::limits;

/// Disk and clock of a tool.
#[derive(Debug, Clone, Default)]
pub struct ReadOnlyWorld {
    clock: Clock,
}

fn refused<T>() -> io::Result<T> {
    Err(Errno::ROFS.into())
}

impl Ground for ReadOnlyWorld {
    type File = ReadOnlyFile;
    type Buffer = ReadOnlyBuffer;

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn wall_ms(&self) -> u64 {
        Clock::wall_ms()
    }

    fn random(&self) -> u64 {
        Clock::random()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a tool has a thread of its own, and no core waits for it"
    )]
    async fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    async fn yield_now(&self) {
        std::thread::yield_now();
    }

    /// Runs the task to its end before it returns: there is one thread.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        future::block_on(task);
    }

    fn buffer(&self, bytes: usize) -> ReadOnlyBuffer {
        ReadOnlyBuffer(vec![0; bytes])
    }

    async fn create(&self, _path: &Path, _bytes: u64, _fill: Fill) -> io::Result<ReadOnlyFile> {
        refused()
    }

    async fn open(&self, path: &Path) -> io::Result<ReadOnlyFile> {
        let direct = OFlags::DIRECT.bits().cast_signed();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(direct)
            .open(path);
        let file = match opened {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                File::open(path)?
            }
            opened => opened?,
        };
        Ok(ReadOnlyFile { file })
    }

    async fn replace(&self, _path: &Path, _content: Vec<u8>) -> io::Result<()> {
        refused()
    }

    async fn read_small(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        files::list(directory)
    }

    async fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    async fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    async fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        files::free_bytes(directory)
    }
}

/// Memory that nothing is written from.
#[derive(Debug)]
pub struct ReadOnlyBuffer(Vec<u8>);

impl WriteBuffer for ReadOnlyBuffer {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn share(self, length: usize) -> Bytes {
        Bytes::from(self.0).slice(..length)
    }
}

/// A file that is only read.
#[derive(Debug)]
pub struct ReadOnlyFile {
    file: File,
}

impl DiskFile for ReadOnlyFile {
    type Buffer = ReadOnlyBuffer;

    async fn write_durable(
        &self,
        buffer: ReadOnlyBuffer,
        _length: usize,
        _offset: u64,
    ) -> (io::Result<()>, ReadOnlyBuffer) {
        (refused(), buffer)
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        // An anonymous mapping is aligned to pages, which is what direct I/O asks for.
        let aligned = length.next_multiple_of(limits::ALIGN_BYTES);
        let mut memory = memmap2::MmapMut::map_anon(aligned)?;
        let read = self.file.read_at(&mut memory, offset)?;
        Ok(Bytes::from_owner(memory).slice(..read.min(length)))
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, vec![7; 10_000]).unwrap();
        let world = ReadOnlyWorld::default();
        future::block_on(async {
            let file = world.open(&path).await.unwrap();
            assert_eq!(file.size().await.unwrap(), 10_000);
            assert_eq!(file.read(8192, 4096).await.unwrap(), vec![7; 1_808]);
            let (written, _) = file.write_durable(world.buffer(4096), 4096, 0).await;
            let refusals = [
                written,
                world.remove(&path).await,
                world.rename(&path, &directory.path().join("other")).await,
                world.replace(&path, Vec::new()).await,
                world.create_directory(&directory.path().join("new")).await,
                world
                    .create(&directory.path().join("new"), 4096, Fill::Allocated)
                    .await
                    .map(drop),
            ];
            for refusal in refusals {
                let error = refusal.unwrap_err();
                assert_eq!(error.raw_os_error(), Some(Errno::ROFS.raw_os_error()));
            }
            let missing = world.open(&directory.path().join("new")).await;
            assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        });
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 10_000]);
    }
}
