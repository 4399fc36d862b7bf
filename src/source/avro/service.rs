//! What all connections of a source on one shard share: its settings, its channels, its counters, and
//! the lines it logs about calls, at most one of a kind in ten seconds.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::handshake::Protocols;
use super::log_gate::LogGate;
use super::scan::EventLimits;
use crate::channel::PutError;
use crate::config::AvroSourceLimits;
use crate::interceptor::Chain;
use crate::metrics::{Recorder, SourceCounters};
use crate::selector::Replicating;

/// See the module.
pub(crate) struct Service<P> {
    pub(crate) name: String,
    pub(crate) limits: AvroSourceLimits,
    /// Of all shards. A lock: held for one look-up, when a connection shakes hands.
    pub(crate) protocols: Arc<Mutex<Protocols>>,
    pub(crate) chain: RefCell<Chain>,
    pub(crate) channels: Replicating<P>,
    pub(crate) counters: Arc<SourceCounters>,
    pub(crate) ack_latency: Option<Rc<RefCell<Recorder>>>,
    pub(crate) gates: Gates,
    pub(crate) now: Box<dyn Fn() -> Duration>,
    pub(crate) wall_ms: Box<dyn Fn() -> u64>,
}

/// One gate for each kind of line.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    append: LogGate,
    batch: LogGate,
    optional: LogGate,
    unreadable: LogGate,
    aborted: LogGate,
}

impl<P> Service<P> {
    pub(crate) fn event_limits(&self) -> EventLimits {
        EventLimits {
            batch_events_max: self.limits.batch_events_max,
            event_bytes_max: self.limits.event_bytes_max,
        }
    }

    /// A call with events was read.
    pub(crate) fn received(&self, is_batch: bool, event_count: usize) {
        if is_batch {
            self.counters.append_batch_received.increment();
        } else {
            self.counters.append_received.increment();
        }
        self.counters.event_received.add(event_count as u64);
    }

    /// It is answered OK.
    pub(crate) fn accepted(&self, is_batch: bool, event_count: usize) {
        if is_batch {
            self.counters.append_batch_accepted.increment();
        } else {
            self.counters.append_accepted.increment();
        }
        self.counters.event_accepted.add(event_count as u64);
    }

    /// It is answered FAILED.
    pub(crate) fn failed(&self, is_batch: bool, error: &PutError) {
        self.counters.channel_write_fail.increment();
        let (name, now) = (&self.name, (self.now)());
        if is_batch {
            if let Some(left_out) = self.gates.batch.pass(now) {
                tracing::error!(
                    "Avro source {name}: Unable to process event batch. Exception follows. \
                     {error}{left_out}"
                );
            }
        } else if let Some(left_out) = self.gates.append.pass(now) {
            tracing::warn!(
                "Avro source {name}: Unable to process event. Exception follows. {error}{left_out}"
            );
        }
    }

    /// An optional channel did not take a batch; the call does not hear of it.
    pub(crate) fn optional_failed(&self, error: &PutError) {
        if let Some(left_out) = self.gates.optional.pass((self.now)()) {
            tracing::error!(
                "Avro source {}: Unable to put batch on optional channel: {error}{left_out}",
                self.name
            );
        }
    }

    /// A call is answered with an RPC error.
    pub(crate) fn unreadable(&self, peer: SocketAddr, text: &str) {
        self.counters.event_read_fail.increment();
        if let Some(left_out) = self.gates.unreadable.pass((self.now)()) {
            tracing::warn!(
                "Avro source {}: a call from /{peer} was answered with an error: {text}{left_out}",
                self.name
            );
        }
    }

    /// A connection is closed because of what its peer did.
    pub(crate) fn aborted(&self, peer: SocketAddr, reason: &str) {
        self.counters.connection_aborted.increment();
        if let Some(left_out) = self.gates.aborted.pass((self.now)()) {
            tracing::warn!(
                "Avro source {}: connection from /{peer} closed: {reason}{left_out}",
                self.name
            );
        }
    }

    /// A call whose last byte came at `received_at` has its answer.
    pub(crate) fn answered(&self, received_at: Duration) {
        if let Some(recorder) = &self.ack_latency {
            let now = (self.now)();
            let latency = now.saturating_sub(received_at);
            recorder.borrow_mut().record_latency(latency, now);
        }
    }
}
