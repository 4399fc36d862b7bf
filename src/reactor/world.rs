//! The seam: everything a core touches beyond its own memory.
//!
//! One trait with associated types, so that a signature carries one parameter, `<W: World>`, and a
//! simulated run replays from its seed. Futures are not `Send`: a world belongs to one thread.
//! Dropping a disk future does not cancel the operation; whoever starts a write waits for its end.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::defence::Defence;
use crate::limits::StoreBounds;

/// Disk, clock, randomness and tasks of one thread: what the drain plane needs.
pub trait Ground: Clone + Debug + 'static {
    /// An open file, read and written with direct I/O.
    type File: DiskFile<Buffer = Self::Buffer>;
    /// Aligned memory that the disk writes from.
    type Buffer: WriteBuffer;

    /// Time since an arbitrary origin. Never goes back.
    fn now(&self) -> Duration;
    /// Milliseconds since the epoch. May jump.
    fn wall_ms(&self) -> u64;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Returns after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
    /// Lets other tasks of this thread run.
    fn yield_now(&self) -> impl Future<Output = ()>;
    /// Runs a task on this thread until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Memory to write from: at least `bytes` long, aligned to `limits::ALIGN_BYTES`.
    fn buffer(&self, bytes: usize) -> Self::Buffer;
    /// Creates a file of `bytes` that must not exist; it reads as zeros, and the file and its entry
    /// in the directory are durable on return. [`Fill::Written`] takes as long as writing it does.
    fn create(
        &self,
        path: &Path,
        bytes: u64,
        fill: Fill,
    ) -> impl Future<Output = io::Result<Self::File>>;
    /// Opens an existing file for reading and durable writing.
    fn open(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>>;
    /// Replaces the small file at `path` with `content` so that a crash leaves the old or the new
    /// one: temporary file, flush, rename, directory flush.
    fn replace(&self, path: &Path, content: Vec<u8>) -> impl Future<Output = io::Result<()>>;
    /// The whole content of a small file.
    fn read_small(&self, path: &Path) -> impl Future<Output = io::Result<Vec<u8>>>;
    /// Paths of the entries of a directory, sorted.
    fn list(&self, directory: &Path) -> impl Future<Output = io::Result<Vec<PathBuf>>>;
    /// Renames within one directory and flushes the directory.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes a file and flushes its directory.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Creates a directory and its parents, durably.
    fn create_directory(&self, directory: &Path) -> impl Future<Output = io::Result<()>>;
    /// Bytes free to this process on the file system of `directory`.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;

    /// Sizes of the store. A simulated box is a small one.
    fn bounds(&self) -> StoreBounds {
        StoreBounds::REAL
    }
    /// Whether a test has taken this defence away.
    fn lacks(&self, defence: Defence) -> bool {
        defence.removed()
    }
}

/// How a new file gets its zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Every byte is written once, so that later writes change no metadata.
    Written,
    /// The file system promises the room and remembers that it is unwritten.
    Allocated,
}

/// Everything an ingest shard touches: the [`Ground`] and the network.
pub trait World: Ground {
    /// A connected peer.
    type Stream: ByteStream;
    /// Where peers connect to.
    type Listener: StreamListener;

    /// Listens at `address`, beside the other shards' listeners on the same address.
    ///
    /// # Errors
    /// What the system says.
    fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener>;
    /// Takes over a connection that this or another shard accepted.
    ///
    /// # Errors
    /// What the system says.
    fn adopt(&self, accepted: AcceptedStream) -> io::Result<Self::Stream>;
    /// What this thread has worked since the last call.
    fn busy(&self) -> Duration {
        Duration::ZERO
    }
}

/// Memory that is filled, written to disk, and then read by the drain.
pub trait WriteBuffer: Debug + 'static {
    /// All of the memory.
    fn bytes(&self) -> &[u8];
    /// All of the memory, to fill.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Gives the first `length` bytes to readers on any thread. The memory comes back to its owner
    /// when the last reader drops it.
    fn share(self, length: usize) -> Bytes;
}

/// A file behind the seam. Offsets and lengths are multiples of `limits::ALIGN_BYTES`.
pub trait DiskFile: Debug + 'static {
    /// What it writes from.
    type Buffer;

    /// Writes the first `length` bytes of `buffer` at `offset`. When it returns `Ok`, they survive a
    /// power cut. After an error nothing more may be written to this file.
    fn write_durable(
        &self,
        buffer: Self::Buffer,
        length: usize,
        offset: u64,
    ) -> impl Future<Output = (io::Result<()>, Self::Buffer)>;
    /// Reads up to `length` bytes at `offset`; fewer only at the end of the file.
    fn read(&self, offset: u64, length: usize) -> impl Future<Output = io::Result<Bytes>>;
    /// Size of the file in bytes.
    fn size(&self) -> impl Future<Output = io::Result<u64>>;
}

/// A byte stream to a peer. Reading and writing may be under way at once.
pub trait ByteStream: 'static {
    /// Reads what is there, at least one byte; 0 at the end of the stream.
    fn read(&self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>>;
    /// Writes all of `bytes`.
    fn write_all(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>>;
    /// Tells the peer that no more will be written.
    fn shutdown_write(&self) -> impl Future<Output = io::Result<()>>;
}

/// Accepts connections.
pub trait StreamListener: 'static {
    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<AcceptedStream>>;
    /// The address it listens at, with the port the system chose.
    fn local_address(&self) -> io::Result<SocketAddr>;
}

/// A connection nobody serves yet. It may move to another shard.
#[derive(Debug)]
pub struct AcceptedStream {
    /// The connected socket (in a simulated world: any descriptor-like token).
    pub stream: AcceptedHandle,
    /// Who connected.
    pub peer: SocketAddr,
}

/// What an [`AcceptedStream`] holds.
#[derive(Debug)]
pub enum AcceptedHandle {
    /// A socket of this process.
    Socket(std::net::TcpStream),
    /// A connection of a simulated world, by number.
    Simulated(u64),
}
