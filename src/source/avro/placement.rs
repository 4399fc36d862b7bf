//! Which shard serves a connection, and whether it is served at all. One per source, shared by its
//! shards; touched when a connection opens or closes, never on the path of a batch.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_queue::SegQueue;
use tokio::sync::Notify;

use super::handshake::Protocols;
use super::ip_filter::IpFilter;
use crate::config::AvroSourceLimits;
use crate::reactor::AcceptedStream;

/// Why a connection is closed right after it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `ipFilterRules`.
    #[error("ipFilterRules deny {0}")]
    Filter(IpAddr),
    /// `maxConnections`.
    #[error("{0} connections are open, which is maxConnections")]
    Connections(usize),
    /// `maxConnectionsPerPeer`.
    #[error("{1} connections from {0} are open, which is maxConnectionsPerPeer")]
    PerPeer(IpAddr, usize),
}

#[derive(Debug, Default)]
struct Mailbox {
    waiting: SegQueue<(AcceptedStream, Permit)>,
    arrived: Notify,
}

/// See the module.
#[derive(Debug)]
pub struct Placement {
    open: Box<[AtomicUsize]>,
    mailboxes: Box<[Mailbox]>,
    /// Connections by address. A lock: held for one look-up, when a connection opens or closes.
    peers: Mutex<BTreeMap<IpAddr, usize>>,
    /// The address listened at, once the first shard does: with port 0 the others follow it.
    address: Mutex<Option<SocketAddr>>,
    /// What clients have said about themselves.
    pub(super) protocols: Arc<Mutex<Protocols>>,
    filter: IpFilter,
    connections_max: usize,
    per_peer_max: usize,
}

/// The right to one open connection; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    placement: Arc<Placement>,
    pub(crate) shard: usize,
    peer: IpAddr,
}

impl Placement {
    /// For a source on `shard_count` shards.
    #[must_use]
    pub fn new(shard_count: usize, filter: IpFilter, limits: &AvroSourceLimits) -> Arc<Self> {
        assert!(shard_count > 0, "a source lives on at least one shard");
        Arc::new(Self {
            open: (0..shard_count).map(|_| AtomicUsize::new(0)).collect(),
            mailboxes: (0..shard_count).map(|_| Mailbox::default()).collect(),
            peers: Mutex::default(),
            address: Mutex::default(),
            protocols: Arc::default(),
            filter,
            connections_max: limits.connections_max,
            per_peer_max: limits.connections_per_peer_max,
        })
    }

    /// Connections open on each shard.
    pub fn open(&self) -> impl Iterator<Item = usize> {
        self.open.iter().map(|count| count.load(Relaxed))
    }

    /// The address listened at, once a shard does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens through `listen`, at the address the first shard got.
    pub(crate) fn listen<L>(
        &self,
        configured: SocketAddr,
        listen: impl FnOnce(SocketAddr) -> std::io::Result<(L, SocketAddr)>,
    ) -> std::io::Result<L> {
        let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        let (listener, bound) = listen(address.unwrap_or(configured))?;
        *address = Some(bound);
        Ok(listener)
    }

    /// Admits a connection and chooses its shard: the one with the fewest, `here` when equal.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, here: usize) -> Result<Permit, Refusal> {
        if !self.filter.allows(peer) {
            return Err(Refusal::Filter(peer));
        }
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = self.open().sum();
        if total >= self.connections_max {
            return Err(Refusal::Connections(total));
        }
        let from_peer = peers.get(&peer).copied().unwrap_or_default();
        if from_peer >= self.per_peer_max {
            return Err(Refusal::PerPeer(peer, from_peer));
        }
        let fewest = self.open().min().unwrap_or_default();
        let here_has_fewest = self.open().nth(here) == Some(fewest);
        let elsewhere = self.open().position(|count| count == fewest);
        let shard = if here_has_fewest {
            here
        } else {
            elsewhere.unwrap_or(here)
        };
        peers.insert(peer, from_peer + 1);
        self.open[shard].fetch_add(1, Relaxed);
        Ok(Permit {
            placement: Arc::clone(self),
            shard,
            peer,
        })
    }

    /// Gives a connection to the shard of its permit.
    pub(crate) fn hand_over(&self, accepted: AcceptedStream, permit: Permit) {
        let mailbox = &self.mailboxes[permit.shard];
        mailbox.waiting.push((accepted, permit));
        mailbox.arrived.notify_one();
    }

    /// The next connection for `shard`.
    pub(crate) async fn next(&self, shard: usize) -> (AcceptedStream, Permit) {
        loop {
            if let Some(next) = self.mailboxes[shard].waiting.pop() {
                return next;
            }
            self.mailboxes[shard].arrived.notified().await;
        }
    }

    /// Closes what waits for a shard that has stopped.
    pub(crate) fn clear(&self, shard: usize) {
        while self.mailboxes[shard].waiting.pop().is_some() {}
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let placement = &self.placement;
        let mut peers = placement
            .peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = placement.open[self.shard].fetch_sub(1, Relaxed);
        assert!(before > 0, "a permit is given back once");
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}
