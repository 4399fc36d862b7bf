//! The world of a simulated box, and the knobs of whoever runs the simulation.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::dice::Dice;
use super::disk::{SimulatedDisk, some_error};
use super::faults::Faults;
use super::file::{SimulatedBuffer, SimulatedFile};
use super::network::{SimulatedListener, SimulatedNetwork, SimulatedStream};
use crate::limits::StoreBounds;
use crate::reactor::defence::Defence;
use crate::reactor::world::{AcceptedStream, Fill, Ground, World};

/// Where the simulated wall clock starts: some day.
const WALL_START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// What a box is made of, given once.
#[derive(Debug, Clone)]
pub struct Site {
    /// Everything random comes from it.
    pub seed: u64,
    /// Sizes of its store.
    pub bounds: StoreBounds,
    /// Defences its software lacks.
    pub lacks: Vec<Defence>,
}

/// Disk, network, clock and randomness of a box in memory. Clones are the same box.
#[derive(Debug, Clone)]
pub struct SimulatedWorld {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    site: Site,
    dice: Rc<Dice>,
    disk: SimulatedDisk,
    network: Rc<SimulatedNetwork>,
    faults: RefCell<Faults>,
    origin: Instant,
    wall_offset_ms: Cell<i64>,
}

impl SimulatedWorld {
    /// A box without faults, within a tokio runtime.
    #[must_use]
    pub fn new(site: Site) -> Self {
        let dice = Rc::new(Dice::new(site.seed));
        let inner = Inner {
            disk: SimulatedDisk::new(Rc::clone(&dice)),
            network: Rc::new(SimulatedNetwork::new(Rc::clone(&dice))),
            dice,
            faults: RefCell::default(),
            origin: Instant::now(),
            wall_offset_ms: Cell::new(0),
            site,
        };
        Self {
            inner: Rc::new(inner),
        }
    }

    /// From here on, this often.
    pub fn set_faults(&self, faults: Faults) {
        self.inner.network.set_cut(faults.cut);
        *self.inner.faults.borrow_mut() = faults;
    }

    /// The rates in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        *self.inner.faults.borrow()
    }

    /// Its randomness.
    #[must_use]
    pub fn dice(&self) -> &Dice {
        &self.inner.dice
    }

    /// Its disks.
    #[must_use]
    pub fn disk(&self) -> &SimulatedDisk {
        &self.inner.disk
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> &Rc<SimulatedNetwork> {
        &self.inner.network
    }

    /// The power goes, this instant. Whoever runs the simulation then drops the tasks.
    pub fn crash(&self) {
        self.inner.disk.crash(self.faults().torn);
        self.inner.network.crash();
    }

    /// How long an operation takes: mostly a moment, sometimes long.
    pub(super) async fn latency(&self) {
        let dice = self.dice();
        let micros = if dice.chance(self.faults().stall) {
            dice.between(100_000, 10_000_000)
        } else if dice.chance(500) {
            0
        } else {
            dice.between(50, 3_000)
        };
        match micros {
            0 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_micros(micros)).await,
        }
    }

    /// Makes the changes of the directory of `path` last. They may, also when this fails.
    async fn flush_directory(&self, path: &Path) -> io::Result<()> {
        if self.lacks(Defence::DirectoryFlush) {
            return Ok(());
        }
        self.directory_work(path).await?;
        self.disk().flush_entries(path);
        Ok(())
    }

    async fn directory_work(&self, path: &Path) -> io::Result<()> {
        self.latency().await;
        self.disk().alive(path)?;
        match self.dice().chance(self.faults().directory_error) {
            true => Err(some_error(self.dice())),
            false => Ok(()),
        }
    }
}

impl Ground for SimulatedWorld {
    type File = SimulatedFile;
    type Buffer = SimulatedBuffer;

    fn now(&self) -> Duration {
        self.inner.origin.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        let inner = &self.inner;
        if self.dice().chance(self.faults().clock_jump) {
            let jump = self.dice().between(0, 2 * HOUR_MS).cast_signed();
            let jump = jump - HOUR_MS.cast_signed();
            inner.wall_offset_ms.set(inner.wall_offset_ms.get() + jump);
        }
        let elapsed = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        (WALL_START_MS + elapsed).saturating_add_signed(inner.wall_offset_ms.get())
    }

    fn random(&self) -> u64 {
        self.dice().bits()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn yield_now(&self) {
        tokio::task::yield_now().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // The handle is not needed: the task ends by itself or with the box.
        drop(tokio::task::spawn_local(task));
    }

    fn buffer(&self, bytes: usize) -> SimulatedBuffer {
        SimulatedBuffer(vec![0; bytes])
    }

    async fn create(&self, path: &Path, bytes: u64, _fill: Fill) -> io::Result<SimulatedFile> {
        self.disk().alive(path)?;
        if self.disk().node(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.disk().free_bytes(path) < bytes {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        // The entry is there first; a crash may leave it, short and blank.
        let node = self.disk().add(path, Vec::new());
        self.directory_work(path).await?;
        let length = usize::try_from(bytes).expect("simulated files are small");
        node.borrow_mut().bytes = vec![0; length];
        self.flush_directory(path).await?;
        Ok(SimulatedFile::new(self.clone(), path, node))
    }

    async fn open(&self, path: &Path) -> io::Result<SimulatedFile> {
        self.directory_work(path).await?;
        let node = self.disk().node(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimulatedFile::new(self.clone(), path, node))
    }

    async fn replace(&self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        self.disk().alive(path)?;
        if self.disk().free_bytes(path) < content.len() as u64 {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let torn = self.dice().index(content.len() + 1);
        let node = self.disk().add(&temporary, content[..torn].to_vec());
        self.latency().await;
        self.disk().alive(path)?;
        let fails = self.dice().chance(self.faults().replace_error);
        if !fails || self.dice().chance(300) {
            node.borrow_mut().bytes = content;
            self.disk().rename(&temporary, path)?;
        }
        if !fails {
            self.flush_directory(path).await?;
        }
        match fails {
            true => Err(some_error(self.dice())),
            false => Ok(()),
        }
    }

    async fn read_small(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.directory_work(path).await?;
        let content = self.disk().content(path);
        content.ok_or(io::ErrorKind::NotFound.into())
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.directory_work(directory).await?;
        self.disk().list(directory)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.directory_work(from).await?;
        self.disk().rename(from, to)?;
        self.flush_directory(to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.directory_work(path).await?;
        self.disk().remove(path)?;
        self.flush_directory(path).await
    }

    async fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.directory_work(directory).await?;
        self.disk().create_directory(directory);
        Ok(())
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.disk().alive(directory)?;
        Ok(self.disk().free_bytes(directory))
    }

    fn bounds(&self) -> StoreBounds {
        self.inner.site.bounds
    }

    fn lacks(&self, defence: Defence) -> bool {
        self.inner.site.lacks.contains(&defence)
    }
}

impl World for SimulatedWorld {
    type Stream = SimulatedStream;
    type Listener = SimulatedListener;

    fn listen(&self, address: SocketAddr) -> io::Result<SimulatedListener> {
        Ok(self.network().listen(address))
    }

    fn adopt(&self, accepted: AcceptedStream) -> io::Result<SimulatedStream> {
        self.network().adopt(&accepted)
    }
}
