//! A box in memory in which nothing happens by itself: no latency, no fault, no chance.
//!
//! The damage lanes open a log millions of times, each time with other bytes, so opening has to cost
//! microseconds; what goes wrong is what the lane wrote into the files. Time moves only when every task
//! waits for it. One thread; [`Still::run`] is its executor.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use flumen::limits::StoreBounds;
use flumen::reactor::{Defence, DiskFile, Fill, Ground, WriteBuffer};

/// Small enough that a megabyte of log has many blocks.
pub(crate) const BOUNDS: StoreBounds = StoreBounds {
    block_bytes: 256 << 10,
    buffer_bytes_min: 8 << 10,
    segment_bytes_min: 32 << 10,
    tail_bytes_max: 0,
    read_back_bytes: 32 << 10,
};

type Content = Rc<RefCell<Vec<u8>>>;
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Clones are the same box.
#[derive(Clone)]
pub(crate) struct Still(Rc<Inner>);

struct Inner {
    files: RefCell<BTreeMap<PathBuf, Content>>,
    tasks: RefCell<Vec<Task>>,
    now: Cell<Duration>,
    /// The earliest time that a sleeper waits for.
    next_wake: Cell<Option<Duration>>,
    random: Cell<u64>,
    lacks: Vec<Defence>,
}

impl std::fmt::Debug for Still {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Still")
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Still {
    /// An empty box that lacks these defences. `seed` gives its epochs.
    pub(crate) fn new(seed: u64, lacks: &[Defence]) -> Self {
        Self(Rc::new(Inner {
            files: RefCell::default(),
            tasks: RefCell::default(),
            now: Cell::default(),
            next_wake: Cell::default(),
            random: Cell::new(seed),
            lacks: lacks.to_vec(),
        }))
    }

    /// Runs `work` and the tasks it starts until `work` ends; the tasks then end with it.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut work = pin!(work);
        loop {
            woken.0.store(false, Ordering::Relaxed);
            self.0.next_wake.set(None);
            if let Poll::Ready(result) = work.as_mut().poll(&mut context) {
                self.0.tasks.borrow_mut().clear();
                return result;
            }
            let mut tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            self.0.tasks.borrow_mut().extend(tasks);
            if !woken.0.load(Ordering::Relaxed) {
                let next = self.0.next_wake.take();
                self.0
                    .now
                    .set(next.expect("somebody waits for time to pass"));
            }
        }
    }

    /// Puts a file there.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let content = Rc::new(RefCell::new(bytes));
        self.0.files.borrow_mut().insert(path.to_owned(), content);
    }

    /// Takes a file away.
    pub(crate) fn take(&self, path: &Path) {
        self.0.files.borrow_mut().remove(path);
    }

    /// Changes a file in place.
    pub(crate) fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        // Gone, if it was set aside.
        if let Some(content) = self.0.files.borrow().get(path) {
            change(&mut content.borrow_mut());
        }
    }

    /// All files with what they hold.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.0.files.borrow();
        let held = files
            .iter()
            .map(|(path, content)| (path.clone(), content.borrow().clone()));
        held.collect()
    }

    fn content(&self, path: &Path) -> io::Result<Content> {
        let files = self.0.files.borrow();
        files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Ground for Still {
    type File = StillFile;
    type Buffer = StillBuffer;

    fn now(&self) -> Duration {
        self.0.now.get()
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + u64::try_from(self.now().as_millis()).expect("a short run")
    }

    fn random(&self) -> u64 {
        // A step of SplitMix64.
        let state = self.0.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.now() + duration;
        poll_fn(|_| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            let next = self.0.next_wake.get().map_or(until, |next| next.min(until));
            self.0.next_wake.set(Some(next));
            Poll::Pending
        })
        .await;
    }

    async fn yield_now(&self) {
        futures_lite::future::yield_now().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.tasks.borrow_mut().push(Box::pin(task));
    }

    fn buffer(&self, bytes: usize) -> StillBuffer {
        StillBuffer(vec![0; bytes])
    }

    async fn create(&self, path: &Path, bytes: u64, _fill: Fill) -> io::Result<StillFile> {
        if self.content(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.put(path, vec![0; index(bytes)]);
        self.open(path).await
    }

    async fn open(&self, path: &Path) -> io::Result<StillFile> {
        self.content(path).map(StillFile)
    }

    async fn replace(&self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        self.put(path, content);
        Ok(())
    }

    async fn read_small(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.content(path)?.borrow().clone())
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let files = self.0.files.borrow();
        let inside = files.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.cloned().collect())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = self.content(from)?;
        let mut files = self.0.files.borrow_mut();
        files.remove(from);
        files.insert(to.to_owned(), content);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.content(path)?;
        self.take(path);
        Ok(())
    }

    async fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn bounds(&self) -> StoreBounds {
        BOUNDS
    }

    fn lacks(&self, defence: Defence) -> bool {
        self.0.lacks.contains(&defence)
    }
}

/// Memory to write from.
#[derive(Debug)]
pub(crate) struct StillBuffer(Vec<u8>);

impl WriteBuffer for StillBuffer {
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

/// An open file.
#[derive(Debug)]
pub(crate) struct StillFile(Content);

impl DiskFile for StillFile {
    type Buffer = StillBuffer;

    async fn write_durable(
        &self,
        buffer: StillBuffer,
        length: usize,
        offset: u64,
    ) -> (io::Result<()>, StillBuffer) {
        let at = index(offset);
        let mut content = self.0.borrow_mut();
        let longer = content.len().max(at + length);
        content.resize(longer, 0);
        content[at..at + length].copy_from_slice(&buffer.0[..length]);
        drop(content);
        (Ok(()), buffer)
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let content = self.0.borrow();
        let start = index(offset).min(content.len());
        let end = (start + length).min(content.len());
        Ok(Bytes::copy_from_slice(&content[start..end]))
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(self.0.borrow().len() as u64)
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("these files are small")
}
