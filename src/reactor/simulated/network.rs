//! The network of a simulated box: byte pipes between clients and the shards' listeners.
//!
//! Bytes arrive in pieces of any length and in order; a connection may break at any byte. A crash
//! breaks all of them and forgets the listeners.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::sync::Notify;

use super::dice::Dice;
use crate::reactor::world::{AcceptedHandle, AcceptedStream, ByteStream, StreamListener};

/// Bytes a pipe holds before its writer waits.
const PIPE_BYTES: usize = 16 << 10;

/// One direction of a connection.
#[derive(Debug, Default)]
struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    ended: Cell<bool>,
    broken: Cell<bool>,
    readable: Notify,
    writable: Notify,
}

impl Pipe {
    /// Some of what is there, often all of it.
    fn take(&self, into: &mut [u8], dice: &Dice) -> usize {
        let mut bytes = self.bytes.borrow_mut();
        let most = bytes.len().min(into.len());
        if most == 0 {
            return 0;
        }
        let count = match dice.chance(300) {
            true => dice.index(most) + 1,
            false => most,
        };
        for (place, byte) in into.iter_mut().zip(bytes.drain(..count)) {
            *place = byte;
        }
        self.writable.notify_one();
        count
    }

    fn break_off(&self) {
        self.broken.set(true);
        self.readable.notify_one();
        self.writable.notify_one();
    }
}

/// One end of a connection. Dropping it closes both directions.
#[derive(Debug)]
pub struct SimulatedStream {
    network: Rc<SimulatedNetwork>,
    incoming: Rc<Pipe>,
    outgoing: Rc<Pipe>,
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: RefCell<VecDeque<AcceptedStream>>,
    arrived: Notify,
}

/// Listeners, and connections between accept and adopt.
#[derive(Debug)]
pub struct SimulatedNetwork {
    dice: Rc<Dice>,
    cut: Cell<u32>,
    listeners: RefCell<Vec<(SocketAddr, Rc<Backlog>)>>,
    unadopted: RefCell<BTreeMap<u64, SimulatedStream>>,
    pipes: RefCell<Vec<Rc<Pipe>>>,
    next: Cell<u64>,
}

/// Listens at an address, maybe beside others.
#[derive(Debug)]
pub struct SimulatedListener {
    address: SocketAddr,
    backlog: Rc<Backlog>,
    network: Rc<SimulatedNetwork>,
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl SimulatedNetwork {
    pub(super) fn new(dice: Rc<Dice>) -> Self {
        Self {
            dice,
            cut: Cell::new(0),
            listeners: RefCell::default(),
            unadopted: RefCell::default(),
            pipes: RefCell::default(),
            next: Cell::new(0),
        }
    }

    /// Chance in 1/1000 that a write breaks its connection.
    pub(super) fn set_cut(&self, per_mille: u32) {
        self.cut.set(per_mille);
    }

    pub(super) fn listen(self: &Rc<Self>, address: SocketAddr) -> SimulatedListener {
        let backlog = Rc::new(Backlog::default());
        let listener = (address, Rc::clone(&backlog));
        self.listeners.borrow_mut().push(listener);
        SimulatedListener {
            address,
            backlog,
            network: Rc::clone(self),
        }
    }

    /// Connects to one of the listeners at `address`.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(
        self: &Rc<Self>,
        address: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<SimulatedStream> {
        let listeners = self.listeners.borrow();
        let there: Vec<_> = listeners.iter().filter(|(at, _)| *at == address).collect();
        if there.is_empty() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (_, backlog) = there[self.dice.index(there.len())];
        let (to_server, to_client) = (Rc::new(Pipe::default()), Rc::new(Pipe::default()));
        let pipes = [Rc::clone(&to_server), Rc::clone(&to_client)];
        self.pipes.borrow_mut().extend(pipes);
        let end = |incoming: &Rc<Pipe>, outgoing: &Rc<Pipe>| SimulatedStream {
            network: Rc::clone(self),
            incoming: Rc::clone(incoming),
            outgoing: Rc::clone(outgoing),
        };
        let number = self.next.get();
        self.next.set(number + 1);
        let server = end(&to_server, &to_client);
        self.unadopted.borrow_mut().insert(number, server);
        backlog.waiting.borrow_mut().push_back(AcceptedStream {
            stream: AcceptedHandle::Simulated(number),
            peer,
        });
        backlog.arrived.notify_one();
        Ok(end(&to_client, &to_server))
    }

    pub(super) fn adopt(&self, accepted: &AcceptedStream) -> io::Result<SimulatedStream> {
        let AcceptedHandle::Simulated(number) = &accepted.stream else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let adopted = self.unadopted.borrow_mut().remove(number);
        adopted.ok_or_else(reset)
    }

    /// The box goes down: nobody listens, and every connection is broken.
    pub(super) fn crash(&self) {
        self.listeners.borrow_mut().clear();
        self.pipes.take().iter().for_each(|pipe| pipe.break_off());
        let unadopted = self.unadopted.take();
        drop(unadopted);
    }
}

impl StreamListener for SimulatedListener {
    async fn accept(&self) -> io::Result<AcceptedStream> {
        loop {
            if let Some(accepted) = self.backlog.waiting.borrow_mut().pop_front() {
                return Ok(accepted);
            }
            self.backlog.arrived.notified().await;
        }
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        let mut listeners = self.network.listeners.borrow_mut();
        listeners.retain(|(_, backlog)| !Rc::ptr_eq(backlog, &self.backlog));
    }
}

impl ByteStream for SimulatedStream {
    async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let pipe = &self.incoming;
        loop {
            if pipe.broken.get() {
                return Err(reset());
            }
            let count = pipe.take(into, &self.network.dice);
            if count > 0 || pipe.ended.get() {
                return Ok(count);
            }
            pipe.readable.notified().await;
        }
    }

    async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let pipe = &self.outgoing;
        let dice = &self.network.dice;
        let cut_at = dice
            .chance(self.network.cut.get())
            .then(|| dice.index(bytes.len() + 1));
        let mut rest = &bytes[..cut_at.unwrap_or(bytes.len())];
        loop {
            if pipe.broken.get() {
                return Err(reset());
            }
            if pipe.ended.get() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let room = PIPE_BYTES.saturating_sub(pipe.bytes.borrow().len());
            let (now, later) = rest.split_at(room.min(rest.len()));
            pipe.bytes.borrow_mut().extend(now);
            if !now.is_empty() {
                pipe.readable.notify_one();
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
            pipe.writable.notified().await;
        }
        if cut_at.is_some() {
            // What was sent before may still be read, or not.
            if dice.chance(500) {
                self.outgoing.ended.set(true);
                self.outgoing.readable.notify_one();
            } else {
                self.outgoing.break_off();
            }
            self.incoming.break_off();
            return Err(reset());
        }
        Ok(())
    }

    async fn shutdown_write(&self) -> io::Result<()> {
        self.outgoing.ended.set(true);
        self.outgoing.readable.notify_one();
        Ok(())
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.outgoing.ended.set(true);
        self.outgoing.readable.notify_one();
        // Whoever still writes to this end finds nobody.
        self.incoming.ended.set(true);
        self.incoming.writable.notify_one();
    }
}
