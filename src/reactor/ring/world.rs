//! The seam over a ring: disk, network, clock and randomness of one shard.
//!
//! Lives on the shard's thread from start to stop; nothing of it leaves that thread except accepted
//! sockets and lent block memory.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::disk::RingFile;
use super::executor::Core;
use super::network::{RingListener, RingStream};
use super::timers::Sleep;
use crate::reactor::pool::{Pool, PooledBuffer};
use crate::reactor::{AcceptedStream, Clock, Fill, Ground, World, files};

/// A shard's world on a ring of its own.
#[derive(Debug, Clone)]
pub struct RingWorld {
    core: Rc<Core>,
    pool: Rc<Pool>,
    busy_before: Rc<Cell<Duration>>,
}

impl RingWorld {
    pub(super) fn new(core: Rc<Core>) -> Self {
        Self {
            core,
            pool: Rc::default(),
            busy_before: Rc::default(),
        }
    }
}

#[cfg(test)]
impl RingWorld {
    /// What the pool keeps.
    pub(super) fn kept_bytes(&self) -> usize {
        self.pool.kept_bytes()
    }
}

/// Runs directory work on a thread of its own: it is rare, and a disk that hangs in it must hold up
/// nothing else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("files".to_owned());
    thread.spawn(move || {
        leave_the_core();
        // Nobody waits for it when the shard ends meanwhile.
        tell.send(work()).ok();
    })?;
    told.await.map_err(io::Error::other)?
}

/// A thread starts with its parent's pin; this one has no business on a shard's core.
fn leave_the_core() {
    use rustix::thread::{sched_getaffinity, sched_setaffinity};
    // The main thread is never pinned. Where this is forbidden, the work is done all the same.
    let everywhere = sched_getaffinity(Some(rustix::process::getpid()));
    if let Err(error) = everywhere.and_then(|cores| sched_setaffinity(None, &cores)) {
        tracing::debug!("a thread for files stays on its shard's core: {error}");
    }
}

impl Ground for RingWorld {
    type File = RingFile;
    type Buffer = PooledBuffer;

    fn now(&self) -> Duration {
        self.core.clock.now()
    }

    fn wall_ms(&self) -> u64 {
        Clock::wall_ms()
    }

    fn random(&self) -> u64 {
        Clock::random()
    }

    async fn sleep(&self, duration: Duration) {
        Sleep::new(Rc::clone(&self.core.timers), self.core.clock, duration).await;
    }

    async fn yield_now(&self) {
        future::yield_now().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.core.spawn(task);
    }

    fn buffer(&self, bytes: usize) -> PooledBuffer {
        self.pool.take(bytes)
    }

    async fn create(&self, path: &Path, bytes: u64, fill: Fill) -> io::Result<RingFile> {
        let owned = path.to_path_buf();
        blocking(move || match fill {
            Fill::Written => files::create_written(&owned, bytes),
            Fill::Allocated => files::create_allocated(&owned, bytes),
        })
        .await?;
        self.open(path).await
    }

    async fn open(&self, path: &Path) -> io::Result<RingFile> {
        RingFile::open(&self.core.ring, &self.pool, path).await
    }

    async fn replace(&self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        let path = path.to_path_buf();
        blocking(move || files::replace(&path, &content)).await
    }

    async fn read_small(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = path.to_path_buf();
        blocking(move || std::fs::read(path)).await
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let directory = directory.to_path_buf();
        blocking(move || files::list(&directory)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        blocking(move || files::rename(&from, &to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        blocking(move || files::remove(&path)).await
    }

    async fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let directory = directory.to_path_buf();
        blocking(move || files::create_directory(&directory)).await
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        files::free_bytes(directory)
    }
}

impl World for RingWorld {
    type Stream = RingStream;
    type Listener = RingListener;

    fn listen(&self, address: SocketAddr) -> io::Result<RingListener> {
        RingListener::new(&self.core.ring, address)
    }

    fn adopt(&self, accepted: AcceptedStream) -> io::Result<RingStream> {
        RingStream::new(&self.core.ring, accepted)
    }

    fn busy(&self) -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let now = Duration::try_from(time).unwrap_or_default();
        now.saturating_sub(self.busy_before.replace(now))
    }
}
