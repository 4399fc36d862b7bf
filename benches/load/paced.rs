//! At a fixed rate, whatever the acknowledgements do: a thread that sends when a batch is due and one
//! that reads replies, per connection.

#![expect(
    clippy::disallowed_methods,
    reason = "a load generator keeps and measures real time"
)]

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Frames};
use crate::reply::Outcome;
use crate::run::{Latencies, Shared, nanoseconds};

/// Calls that may wait for their reply before the sender waits too: an overloaded server shows in the
/// latency from the due time, not in our memory.
const IN_FLIGHT_MAX: usize = 256;

/// A call on its way.
struct Sent {
    serial: i32,
    due: Instant,
    begun: Instant,
}

/// Sends at `rate` events per second over all connections, until the run is over and all is answered.
pub(crate) fn drive(
    connection: &mut Connection,
    number: u16,
    rate: f64,
    shared: &Shared,
) -> io::Result<Latencies> {
    let options = &shared.options;
    let connections = f64::from(options.connections);
    let interval = Duration::from_secs_f64(f64::from(options.batch) * connections / rate);
    // Connections take turns, as independent agents would on average.
    let first_due = Instant::now() + interval.mul_f64(f64::from(number) / connections);
    let (sent, to_be_answered) = sync_channel(IN_FLIGHT_MAX);
    let mut writer = connection.stream.try_clone()?;
    let Connection {
        stream,
        replies,
        frames,
        ..
    } = connection;
    let mut receive = || -> io::Result<(i32, Outcome)> {
        let (serial, message) = replies.next(stream)?;
        Ok((serial, crate::reply::outcome(&message)?))
    };
    thread::scope(|scope| {
        let sender =
            scope.spawn(move || send(&mut writer, frames, first_due, interval, &sent, shared));
        let latencies = read(&mut receive, &to_be_answered, shared);
        sender.join().expect("the sender does not panic")?;
        latencies
    })
}

fn send(
    writer: &mut impl Write,
    frames: &mut Frames,
    mut due: Instant,
    interval: Duration,
    sent: &SyncSender<Sent>,
    shared: &Shared,
) -> io::Result<()> {
    while shared.claim() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        let (serial, frame) = frames.next();
        // Announced first: the reply may be there before `write_all` returns.
        if sent.send(Sent { serial, due, begun }).is_err() {
            return Ok(()); // the reader failed and says why
        }
        writer.write_all(frame)?;
        due += interval;
    }
    Ok(())
}

fn read(
    receive: &mut impl FnMut() -> io::Result<(i32, Outcome)>,
    sent: &Receiver<Sent>,
    shared: &Shared,
) -> io::Result<Latencies> {
    let mut latencies = Latencies::new();
    let mut in_flight: Vec<Sent> = Vec::new();
    loop {
        if in_flight.is_empty() {
            match sent.recv() {
                Ok(call) => in_flight.push(call),
                Err(_) => return Ok(latencies),
            }
        }
        let (serial, outcome) = receive()?;
        let place = loop {
            if let Some(place) = in_flight.iter().position(|call| call.serial == serial) {
                break place;
            }
            match sent.try_recv() {
                Ok(call) => in_flight.push(call),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    return Err(io::Error::other(format!(
                        "a reply to serial {serial}, never sent"
                    )));
                }
            }
        };
        let call = in_flight.swap_remove(place);
        if shared.measuring.load(Ordering::Relaxed) && outcome == Outcome::Acknowledged {
            latencies
                .ack_ns
                .saturating_record(nanoseconds(call.begun.elapsed()));
            latencies
                .due_ns
                .saturating_record(nanoseconds(call.due.elapsed()));
        }
        shared.count(outcome);
    }
}
