//! Listeners and streams of a shard. The ring says when a socket is ready; what is received goes
//! straight into the connection's own memory.
//!
//! Always true: a socket is closed after the kernel was asked to forget what waits for it, so that the
//! peer hears of the end at once.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use rustix::event::PollFlags;

use super::operation::{Operation, checked};
use super::ring::Ring;
use crate::reactor::{AcceptedHandle, AcceptedStream, ByteStream, StreamListener, sockets};

/// What waits for a socket to be ready in one direction.
#[derive(Debug)]
struct Readiness {
    ring: Rc<Ring>,
    events: PollFlags,
    /// Stays when the future that waits is dropped: the next one goes on with it.
    armed: RefCell<Option<Operation>>,
}

impl Readiness {
    fn new(ring: &Rc<Ring>, events: PollFlags) -> Self {
        Self {
            ring: Rc::clone(ring),
            events,
            armed: RefCell::default(),
        }
    }

    async fn wait(&self, socket: impl AsFd) -> io::Result<()> {
        poll_fn(|cx| {
            let mut armed = self.armed.borrow_mut();
            let events = u32::from(self.events.bits());
            let operation =
                armed.get_or_insert_with(|| self.ring.poll_socket(socket.as_fd(), events));
            let Poll::Ready((result, _)) = Pin::new(operation).poll(cx) else {
                return Poll::Pending;
            };
            *armed = None;
            Poll::Ready(checked(result).map(|_| ()))
        })
        .await
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        if let Some(operation) = self.armed.get_mut() {
            self.ring.cancel(operation);
            self.ring.submit();
        }
    }
}

/// Accepts connections on one shard.
#[derive(Debug)]
pub struct RingListener {
    // Before the socket: fields are dropped in order.
    readable: Readiness,
    socket: TcpListener,
}

impl RingListener {
    pub(super) fn new(ring: &Rc<Ring>, address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            readable: Readiness::new(ring, PollFlags::IN),
            socket: sockets::listen(address)?.into(),
        })
    }
}

impl StreamListener for RingListener {
    async fn accept(&self) -> io::Result<AcceptedStream> {
        loop {
            match self.socket.accept() {
                Ok((stream, peer)) => {
                    let stream = AcceptedHandle::Socket(stream);
                    return Ok(AcceptedStream { stream, peer });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable.wait(&self.socket).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A connected peer.
#[derive(Debug)]
pub struct RingStream {
    // Before the socket: fields are dropped in order.
    readable: Readiness,
    writable: Readiness,
    socket: TcpStream,
    /// The last read took all there was: to ask again before the socket is ready is a wasted call.
    drained: Cell<bool>,
}

impl RingStream {
    pub(super) fn new(ring: &Rc<Ring>, accepted: AcceptedStream) -> io::Result<Self> {
        match accepted.stream {
            AcceptedHandle::Socket(stream) => Ok(Self {
                readable: Readiness::new(ring, PollFlags::IN | PollFlags::RDHUP),
                writable: Readiness::new(ring, PollFlags::OUT),
                socket: sockets::adopt(stream)?.into(),
                drained: Cell::new(false),
            }),
            AcceptedHandle::Simulated(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a simulated connection",
            )),
        }
    }
}

impl ByteStream for RingStream {
    async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.drained.get() {
                match (&self.socket).read(into) {
                    Ok(count) => {
                        self.drained.set(count > 0 && count < into.len());
                        return Ok(count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
            }
            self.readable.wait(&self.socket).await?;
            self.drained.set(false);
        }
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.socket).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable.wait(&self.socket).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn shutdown_write(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}
