//! The source on one shard: accepts, places, serves, watches deadlines, stops.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_lite::future;
use tokio::sync::Notify;

use super::connection::serve;
use super::log_gate::LogGate;
use super::placement::{Permit, Placement};
use super::pulse::{Ending, Pulse};
use super::service::{Gates, Service};
use crate::channel::Put;
use crate::config::AvroSourceConfig;
use crate::interceptor::Chain;
use crate::limits::{CLOSE_LINGER, FRAME_BYTES_MAX};
use crate::metrics::{Recorder, SourceCounters};
use crate::reactor::{AcceptedStream, StreamListener, World};
use crate::selector::Replicating;

const SWEEP: Duration = Duration::from_millis(500);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why a source does not start.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The address cannot be listened at.
    #[error("Avro source {name}: listening at {address} failed; is it taken, or not of this host?")]
    Listen {
        /// Component name.
        name: String,
        /// `bind` and `port`.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Tells all shards of a source to stop: no new connections, no new calls, answers for what was put.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(AtomicBool, Notify)>);

impl Stop {
    /// From any thread, any number of times.
    pub fn stop(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.notify_waiters();
    }

    /// Returns once [`Stop::stop`] was called.
    pub async fn stopped(&self) {
        loop {
            let mut notified = std::pin::pin!(self.0.1.notified());
            notified.as_mut().enable();
            if self.0.0.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}

/// An Avro source on one shard.
pub struct AvroSource<W, P> {
    /// The shard's world.
    pub world: W,
    /// Which shard, counted from 0 as in `placement`.
    pub shard: usize,
    /// Component name.
    pub name: String,
    /// Its settings.
    pub config: AvroSourceConfig,
    /// Its interceptors.
    pub chain: Chain,
    /// Its channels, on this shard.
    pub channels: Replicating<P>,
    /// This shard's counters.
    pub counters: Arc<SourceCounters>,
    /// Where the shard records how long calls wait for their answer.
    pub ack_latency: Option<Rc<RefCell<Recorder>>>,
    /// Shared by the source's shards.
    pub placement: Arc<Placement>,
    /// Shared by the source's shards.
    pub stop: Stop,
}

impl<W, P> std::fmt::Debug for AvroSource<W, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AvroSource")
            .field("name", &self.name)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

struct Live<W, P> {
    world: W,
    shard: usize,
    service: Rc<Service<P>>,
    placement: Arc<Placement>,
    pulses: RefCell<BTreeMap<u64, Rc<Pulse>>>,
}

impl<W: World, P: Put> AvroSource<W, P> {
    /// Listens. Connections wait in the backlog until [`Listening::serve`].
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn listen(self) -> Result<Listening<W, P>, SourceError> {
        let (name, config) = (self.name, self.config);
        let port = config.address.port();
        if self.shard == 0 {
            let bind = &config.bind;
            tracing::info!(
                "Starting Avro source {name}: {{ bindAddress: {bind}, port: {port} }}..."
            );
        }
        // For foreign protocols, which apache-avro decodes. Once a process; the first caller decides.
        apache_avro::util::max_allocation_bytes(FRAME_BYTES_MAX);
        let listener = self.placement.listen(config.address, |address| {
            let listener = self.world.listen(address)?;
            let bound = listener.local_address()?;
            Ok((listener, bound))
        });
        let listener = listener.map_err(|source| SourceError::Listen {
            name: name.clone(),
            address: config.address,
            source,
        })?;
        if self.shard == 0 {
            tracing::info!("Avro source {name} started.");
        }
        let (clock, wall) = (self.world.clone(), self.world.clone());
        let live = Rc::new(Live {
            world: self.world,
            shard: self.shard,
            service: Rc::new(Service {
                name,
                limits: config.limits,
                protocols: Arc::clone(&self.placement.protocols),
                chain: RefCell::new(self.chain),
                channels: self.channels,
                counters: self.counters,
                ack_latency: self.ack_latency,
                gates: Gates::default(),
                now: Box::new(move || clock.now()),
                wall_ms: Box::new(move || wall.wall_ms()),
            }),
            placement: self.placement,
            pulses: RefCell::default(),
        });
        Ok(Listening {
            live,
            listener,
            stop: self.stop,
        })
    }
}

/// A source that listens.
pub struct Listening<W: World, P> {
    live: Rc<Live<W, P>>,
    listener: W::Listener,
    stop: Stop,
}

impl<W: World, P> std::fmt::Debug for Listening<W, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("shard", &self.live.shard)
            .finish_non_exhaustive()
    }
}

impl<W: World, P: Put> Listening<W, P> {
    /// Serves until [`Stop::stop`]; returns when the last connection is closed.
    pub async fn serve(self) {
        let Self {
            live,
            listener,
            stop,
        } = self;
        let forever = future::zip(
            future::zip(live.accept(&listener), live.take_over()),
            live.sweep_for_ever(),
        );
        future::or(stop.stopped(), async {
            forever.await;
        })
        .await;
        drop(listener);
        live.placement.clear(live.shard);
        live.finish().await;
    }
}

impl<W: World, P: Put> Live<W, P> {
    async fn accept(self: &Rc<Self>, listener: &W::Listener) {
        let (failure_gate, refusal_gate) = (LogGate::default(), LogGate::default());
        loop {
            let accepted = match listener.accept().await {
                Ok(accepted) => accepted,
                // Out of descriptors or memory, or the client is gone already: others close in time.
                Err(error) => {
                    if let Some(left_out) = failure_gate.pass(self.world.now()) {
                        tracing::warn!(
                            "Avro source {}: accepting a connection failed: {error}{left_out}",
                            self.service.name
                        );
                    }
                    self.world.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self
                .placement
                .admit(accepted.peer.ip().to_canonical(), self.shard)
            {
                Ok(permit) if permit.shard == self.shard => self.start(accepted, permit),
                Ok(permit) => self.placement.hand_over(accepted, permit),
                Err(refusal) => {
                    self.service.counters.connection_refused.increment();
                    if let Some(left_out) = refusal_gate.pass(self.world.now()) {
                        tracing::warn!(
                            "Avro source {}: connection from /{} refused: {refusal}{left_out}",
                            self.service.name,
                            accepted.peer
                        );
                    }
                }
            }
        }
    }

    async fn take_over(self: &Rc<Self>) {
        loop {
            let (accepted, permit) = self.placement.next(self.shard).await;
            self.start(accepted, permit);
        }
    }

    fn start(self: &Rc<Self>, accepted: AcceptedStream, permit: Permit) {
        let peer = accepted.peer;
        let stream = match self.world.adopt(accepted) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!("connection from /{peer} was gone before it was served: {error}");
                return;
            }
        };
        let pulse = Rc::new(Pulse::new(self.world.now()));
        let mut pulses = self.pulses.borrow_mut();
        let number = pulses.last_key_value().map_or(0, |(last, _)| last + 1);
        pulses.insert(number, Rc::clone(&pulse));
        let live = Rc::clone(self);
        self.world.spawn(async move {
            live.service.counters.open_connection.increment();
            let patience = live.world.sleep(CLOSE_LINGER);
            serve(Rc::clone(&live.service), stream, peer, pulse, patience).await;
            live.service.counters.open_connection.decrement();
            live.pulses.borrow_mut().remove(&number);
            drop(permit);
        });
    }

    fn sweep(&self) {
        let now = self.world.now();
        let limits = &self.service.limits;
        for pulse in self.pulses.borrow().values() {
            pulse.check(now, limits.handshake_deadline, limits.progress_deadline);
        }
        if let Some(recorder) = &self.service.ack_latency {
            recorder.borrow_mut().publish(now);
        }
    }

    async fn sweep_for_ever(&self) {
        loop {
            self.world.sleep(SWEEP).await;
            self.sweep();
        }
    }

    /// Ends every connection and waits for them.
    async fn finish(&self) {
        for pulse in self.pulses.borrow().values() {
            pulse.end(Ending::Stop);
        }
        while !self.pulses.borrow().is_empty() {
            self.world.sleep(Duration::from_millis(10)).await;
            self.sweep();
        }
    }
}
