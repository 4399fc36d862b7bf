//! A disk in memory that answers at once: what the segment reader and recovery stand on here.
//!
//! Small and quick where the simulated world is faithful: ten million logs are read on it. Files are
//! fixed, but for the headers that recovery blanks; sectors can be unreadable; every read is counted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use flumen::limits::{ALIGN_BYTES, StoreBounds};
use flumen::reactor::{DiskFile, Fill, Ground, WriteBuffer};

/// One file: its bytes, and the sectors of it that the medium refuses.
#[derive(Debug, Default)]
pub(crate) struct MemoryFile {
    pub(crate) bytes: RefCell<Vec<u8>>,
    pub(crate) refused: RefCell<BTreeSet<usize>>,
}

/// All files, and how often one was read.
#[derive(Debug, Default)]
struct Shelf {
    files: RefCell<BTreeMap<PathBuf, Rc<MemoryFile>>>,
    reads: Cell<usize>,
    read_back_bytes: usize,
}

/// The world of one input.
#[derive(Debug, Clone)]
pub(crate) struct MemoryGround(Rc<Shelf>);

impl MemoryGround {
    /// A world that reads `read_back_bytes` at once.
    pub(crate) fn new(read_back_bytes: usize) -> Self {
        Self(Rc::new(Shelf {
            read_back_bytes,
            ..Shelf::default()
        }))
    }

    /// Puts a file there.
    pub(crate) fn put(&self, path: PathBuf, file: Rc<MemoryFile>) {
        self.0.files.borrow_mut().insert(path, file);
    }

    /// Reads so far.
    pub(crate) fn reads(&self) -> usize {
        self.0.reads.get()
    }

    fn file(&self, path: &Path) -> io::Result<Rc<MemoryFile>> {
        let files = self.0.files.borrow();
        files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Runs a future of this world: it never waits.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a disk in memory never lets anybody wait"),
    }
}

/// Memory to write from.
#[derive(Debug)]
pub(crate) struct MemoryBuffer(Vec<u8>);

impl WriteBuffer for MemoryBuffer {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn share(mut self, length: usize) -> Bytes {
        self.0.truncate(length);
        Bytes::from(self.0)
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: Rc<MemoryFile>,
    ground: MemoryGround,
}

impl DiskFile for OpenFile {
    type Buffer = MemoryBuffer;

    async fn write_durable(
        &self,
        buffer: MemoryBuffer,
        length: usize,
        offset: u64,
    ) -> (io::Result<()>, MemoryBuffer) {
        let at = usize::try_from(offset).expect("files are small");
        let mut bytes = self.file.bytes.borrow_mut();
        bytes[at..at + length].copy_from_slice(&buffer.0[..length]);
        (Ok(()), buffer)
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let shelf = &self.ground.0;
        shelf.reads.set(shelf.reads.get() + 1);
        let bytes = self.file.bytes.borrow();
        let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
        let end = start.saturating_add(length).min(bytes.len());
        let sectors = start / ALIGN_BYTES..end.div_ceil(ALIGN_BYTES);
        if self.file.refused.borrow().range(sectors).next().is_some() {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(Bytes::copy_from_slice(&bytes[start..end]))
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(self.file.bytes.borrow().len() as u64)
    }
}

impl Ground for MemoryGround {
    type File = OpenFile;
    type Buffer = MemoryBuffer;

    fn bounds(&self) -> StoreBounds {
        StoreBounds {
            segment_bytes_min: ALIGN_BYTES as u64,
            read_back_bytes: self.0.read_back_bytes,
            ..StoreBounds::REAL
        }
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn random(&self) -> u64 {
        0
    }

    async fn sleep(&self, _duration: Duration) {}

    async fn yield_now(&self) {}

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        at_once(task);
    }

    fn buffer(&self, bytes: usize) -> MemoryBuffer {
        MemoryBuffer(vec![0; bytes])
    }

    async fn create(&self, path: &Path, bytes: u64, _fill: Fill) -> io::Result<OpenFile> {
        let file = MemoryFile::default();
        let length = usize::try_from(bytes).expect("files are small");
        file.bytes.borrow_mut().resize(length, 0);
        self.put(path.to_path_buf(), Rc::new(file));
        self.open(path).await
    }

    async fn open(&self, path: &Path) -> io::Result<OpenFile> {
        Ok(OpenFile {
            file: self.file(path)?,
            ground: self.clone(),
        })
    }

    async fn replace(&self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        let file = MemoryFile::default();
        file.bytes.replace(content);
        self.put(path.to_path_buf(), Rc::new(file));
        Ok(())
    }

    async fn read_small(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.file(path)?.bytes.borrow().clone())
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let files = self.0.files.borrow();
        let inside = files.keys().filter(|path| path.starts_with(directory));
        Ok(inside.cloned().collect())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file(from)?;
        let mut files = self.0.files.borrow_mut();
        files.remove(from);
        files.insert(to.to_path_buf(), file);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.files.borrow_mut().remove(path);
        Ok(())
    }

    async fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
