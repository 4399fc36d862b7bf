//! The world of an ingest shard: one pinned glommio executor.
//!
//! Lives on the shard's thread from start to stop; nothing of it leaves that thread except accepted
//! sockets and lent block memory.

#![expect(
    unsafe_code,
    reason = "hands a listening socket to glommio by descriptor"
)]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use glommio::GlommioError;
use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use glommio::net::{TcpListener, TcpStream};

use super::clock::Clock;
use super::files;
use super::lent::LendingDesk;
use super::sockets;
use super::world::{
    AcceptedHandle, AcceptedStream, ByteStream, DiskFile, Fill, Ground, StreamListener, World,
    WriteBuffer,
};
use crate::limits;

/// Disk, network, clock and randomness of one shard.
#[derive(Debug, Clone)]
pub struct ShardWorld {
    clock: Clock,
    desk: Rc<RefCell<LendingDesk>>,
}

impl ShardWorld {
    /// For use inside a glommio executor.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Clock::new(),
            desk: Rc::default(),
        }
    }
}

impl Default for ShardWorld {
    fn default() -> Self {
        Self::new()
    }
}

fn io_error<T>(error: GlommioError<T>) -> io::Error {
    io::Error::from(error)
}

/// Runs blocking directory work on glommio's helper thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    glommio::executor().spawn_blocking(work).await
}

impl Ground for ShardWorld {
    type File = ShardFile;
    type Buffer = ShardBuffer;

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
        glommio::timer::sleep(duration).await;
    }

    async fn yield_now(&self) {
        glommio::executor().yield_now().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(task).detach();
    }

    fn buffer(&self, bytes: usize) -> ShardBuffer {
        self.desk.borrow_mut().collect();
        let buffer = Rc::new(glommio::allocate_dma_buffer(bytes));
        ShardBuffer {
            buffer,
            desk: Rc::clone(&self.desk),
        }
    }

    async fn create(&self, path: &Path, bytes: u64, fill: Fill) -> io::Result<ShardFile> {
        let owned = path.to_path_buf();
        blocking(move || match fill {
            Fill::Written => files::create_written(&owned, bytes),
            Fill::Allocated => files::create_allocated(&owned, bytes),
        })
        .await?;
        self.open(path).await
    }

    async fn open(&self, path: &Path) -> io::Result<ShardFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(files::direct_sync_flags())
            .dma_open(path)
            .await
            .map_err(io_error)?;
        Ok(ShardFile { file })
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

impl World for ShardWorld {
    type Stream = ShardStream;
    type Listener = ShardListener;

    fn listen(&self, address: SocketAddr) -> io::Result<ShardListener> {
        let socket = sockets::listen(address)?;
        // SAFETY: the descriptor is a listening TCP socket, and `into_raw_fd` gave up its ownership,
        // so glommio's listener is the only owner from here on.
        let listener = unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) };
        Ok(ShardListener { listener })
    }

    fn adopt(&self, accepted: AcceptedStream) -> io::Result<ShardStream> {
        match accepted.stream {
            AcceptedHandle::Socket(socket) => {
                let socket = sockets::adopt(socket)?;
                Ok(ShardStream {
                    stream: RefCell::new(TcpStream::from(socket)),
                })
            }
            AcceptedHandle::Simulated(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a simulated connection",
            )),
        }
    }

    fn busy(&self) -> Duration {
        glommio::executor().executor_stats().total_runtime()
    }
}

/// Accepts connections on one shard.
#[derive(Debug)]
pub struct ShardListener {
    listener: TcpListener,
}

impl StreamListener for ShardListener {
    async fn accept(&self) -> io::Result<AcceptedStream> {
        let stream = self.listener.accept().await.map_err(io_error)?;
        let peer = stream.peer_addr().map_err(io_error)?;
        // SAFETY: `into_raw_fd` gives up glommio's ownership of this connected socket, so the
        // standard stream is its only owner.
        let socket = unsafe { std::net::TcpStream::from_raw_fd(stream.into_raw_fd()) };
        Ok(AcceptedStream {
            stream: AcceptedHandle::Socket(socket),
            peer,
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr().map_err(io_error)
    }
}

/// A connected peer. glommio keeps reading and writing apart, so the cell is borrowed only while one
/// of them is polled.
#[derive(Debug)]
pub struct ShardStream {
    stream: RefCell<TcpStream>,
}

impl ByteStream for ShardStream {
    async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, into)).await
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written =
                poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes))
                    .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    async fn shutdown_write(&self) -> io::Result<()> {
        poll_fn(|cx| {
            self.stream
                .borrow_mut()
                .poll_shutdown(cx, Shutdown::Write)
                .map_err(io_error)
        })
        .await
    }
}

/// A block buffer, registered with the ring where the kernel allows.
#[derive(Debug)]
pub struct ShardBuffer {
    buffer: Rc<DmaBuffer>,
    desk: Rc<RefCell<LendingDesk>>,
}

impl WriteBuffer for ShardBuffer {
    fn bytes(&self) -> &[u8] {
        self.buffer.as_bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        Rc::get_mut(&mut self.buffer)
            .expect("no write is under way")
            .as_bytes_mut()
    }

    fn share(self, length: usize) -> Bytes {
        self.desk.borrow_mut().lend(self.buffer, length)
    }
}

/// A WAL file on a shard: `O_DIRECT | O_DSYNC`.
#[derive(Debug)]
pub struct ShardFile {
    file: DmaFile,
}

impl DiskFile for ShardFile {
    type Buffer = ShardBuffer;

    async fn write_durable(
        &self,
        mut buffer: ShardBuffer,
        length: usize,
        offset: u64,
    ) -> (io::Result<()>, ShardBuffer) {
        assert!(
            length.is_multiple_of(limits::ALIGN_BYTES),
            "direct writes are whole sectors"
        );
        // glommio writes a buffer whole, so the buffer becomes as long as the block. It is not used
        // for another one.
        Rc::get_mut(&mut buffer.buffer)
            .expect("no write is under way")
            .trim_to_size(length);
        let written = self
            .file
            .write_rc_at(Rc::clone(&buffer.buffer), offset)
            .await;
        let result = written.map_err(io_error);
        let result = result.and_then(|written| files::whole(written, length));
        (result, buffer)
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let result = self
            .file
            .read_at_aligned(offset, length)
            .await
            .map_err(io_error)?;
        Ok(Bytes::copy_from_slice(&result))
    }

    async fn size(&self) -> io::Result<u64> {
        self.file.file_size().await.map_err(io_error)
    }
}
