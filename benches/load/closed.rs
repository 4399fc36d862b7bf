//! As fast as acknowledgements allow: at most `depth` calls in flight, one thread per connection.

#![expect(
    clippy::disallowed_methods,
    reason = "a load generator measures real time"
)]

use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::reply::Outcome;
use crate::run::{Latencies, Shared, nanoseconds};

/// Sends until the run is over and everything sent has been answered.
pub(crate) fn drive(connection: &mut Connection, shared: &Shared) -> io::Result<Latencies> {
    let depth = shared.options.depth as usize;
    let retry = Duration::from_millis(shared.options.retry_ms);
    let mut latencies = Latencies::new();
    let mut in_flight: Vec<(i32, Instant)> = Vec::with_capacity(depth);
    loop {
        while in_flight.len() < depth && shared.claim() {
            let begun = Instant::now();
            in_flight.push((connection.send()?, begun));
        }
        if in_flight.is_empty() {
            return Ok(latencies);
        }
        let (serial, outcome) = connection.receive()?;
        // Flume 1.11 answers calls of one connection in any order.
        let place = in_flight
            .iter()
            .position(|&(sent, _)| sent == serial)
            .ok_or_else(|| io::Error::other(format!("a reply to serial {serial}, never sent")))?;
        let (_, begun) = in_flight.swap_remove(place);
        if shared.measuring.load(Ordering::Relaxed) && outcome == Outcome::Acknowledged {
            latencies
                .ack_ns
                .saturating_record(nanoseconds(begun.elapsed()));
        }
        shared.count(outcome);
        if outcome != Outcome::Acknowledged {
            thread::sleep(retry);
        }
    }
}
