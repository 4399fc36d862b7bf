//! One run of `send`: starts the connections, keeps the clock, adds up what they saw.

#![expect(
    clippy::disallowed_methods,
    reason = "a load generator keeps and measures real time"
)]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::process::{self, CpuTime, HostTicks};
use crate::reply::Outcome;
use crate::{Send, closed, paced};

/// What the connections share.
pub(crate) struct Shared {
    pub(crate) options: Send,
    /// Set once the time is over: finish what is in flight, begin nothing.
    stop: AtomicBool,
    /// Whether latencies count now.
    pub(crate) measuring: AtomicBool,
    acked: AtomicU64,
    failed: AtomicU64,
    errors: AtomicU64,
    /// Events still to be sent, when the run is bounded by their number.
    to_send: AtomicI64,
}

impl Shared {
    fn new(options: &Send) -> Self {
        let to_send = options
            .events
            .map_or(i64::MAX, |events| i64::try_from(events).unwrap_or(i64::MAX));
        Self {
            options: options.clone(),
            stop: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            to_send: AtomicI64::new(to_send),
        }
    }

    /// Claims the next batch; `false` when the run is over.
    pub(crate) fn claim(&self) -> bool {
        let batch = i64::from(self.options.batch);
        !self.stop.load(Ordering::Relaxed)
            && (self.options.events.is_none()
                || self.to_send.fetch_sub(batch, Ordering::Relaxed) > 0)
    }

    /// Counts what became of a batch. A refused one does not count towards `--events`.
    pub(crate) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Acknowledged => &self.acked,
            Outcome::Failed => &self.failed,
            Outcome::Error => &self.errors,
        };
        counter.fetch_add(u64::from(self.options.batch), Ordering::Relaxed);
        if outcome != Outcome::Acknowledged && self.options.events.is_some() {
            self.to_send
                .fetch_add(i64::from(self.options.batch), Ordering::Relaxed);
        }
    }
}

/// What one connection measured.
pub(crate) struct Latencies {
    /// From the first byte of a frame written to its reply read.
    pub(crate) ack_ns: Histogram<u64>,
    /// From the moment the frame was due, in a paced run: what a client that never waits would see.
    pub(crate) due_ns: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            ack_ns: histogram(),
            due_ns: histogram(),
        }
    }
}

/// From a microsecond to ten minutes, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("the bounds are valid")
}

/// Nanoseconds as a histogram takes them.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The quantiles that reports name, in microseconds.
pub(crate) fn quantiles(histogram: &Histogram<u64>) -> Value {
    let us = |quantile| (histogram.value_at_quantile(quantile) as f64 / 100.0).round() / 10.0;
    json!({
        "count": histogram.len(),
        "p50_us": us(0.5),
        "p99_us": us(0.99),
        "p999_us": us(0.999),
        "max_us": us(1.0),
    })
}

/// Everything that is read at both ends of the measurement.
struct Sample {
    at: Instant,
    unix_s: f64,
    acked: u64,
    failed: u64,
    errors: u64,
    cpu: Option<CpuTime>,
    written_bytes: Option<u64>,
    host: HostTicks,
}

impl Sample {
    fn take(shared: &Shared, pid: Option<&str>) -> Self {
        Self {
            at: Instant::now(),
            unix_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64(),
            acked: shared.acked.load(Ordering::Relaxed),
            failed: shared.failed.load(Ordering::Relaxed),
            errors: shared.errors.load(Ordering::Relaxed),
            cpu: pid.and_then(process::cpu_time),
            written_bytes: pid.and_then(process::written_bytes),
            host: process::host_ticks(),
        }
    }
}

/// Runs the load and returns its report.
pub(crate) fn run(options: &Send) -> Result<Value, String> {
    if options.batch == 0 || options.depth == 0 || options.connections == 0 {
        return Err("--batch, --depth and --connections are at least 1".into());
    }
    let shared = Shared::new(options);
    let pid = options.server_pid.map(|pid| pid.to_string());
    let mut connections = (0..options.connections)
        .map(|number| Connection::open(options, number))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{}: {error}", options.to))?;
    let frame_bytes = connections[0].frame_bytes;

    let start = Barrier::new(connections.len() + 1);
    let (before, after, results) = thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .zip(0u16..)
            .map(|(connection, number)| {
                let (shared, start) = (&shared, &start);
                scope.spawn(move || {
                    start.wait();
                    match shared.options.rate {
                        Some(rate) => paced::drive(connection, number, rate, shared),
                        None => closed::drive(connection, shared),
                    }
                })
            })
            .collect();
        let by_count = options.events.is_some();
        if by_count {
            shared.measuring.store(true, Ordering::Relaxed);
        }
        let mut before = Sample::take(&shared, pid.as_deref());
        start.wait();
        if !by_count {
            thread::sleep(Duration::from_secs_f64(options.warmup));
            shared.measuring.store(true, Ordering::Relaxed);
            before = Sample::take(&shared, pid.as_deref());
        }
        let end = before.at + Duration::from_secs_f64(options.seconds);
        // A run bounded by a count ends when its threads do; one bounded by time ends early only
        // when every connection has failed.
        while Instant::now() < end && !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            let left = end.saturating_duration_since(Instant::now());
            thread::sleep(left.min(Duration::from_millis(if by_count { 1 } else { 100 })));
        }
        let after = Sample::take(&shared, pid.as_deref());
        shared.measuring.store(false, Ordering::Relaxed);
        shared.stop.store(true, Ordering::Relaxed);
        let results: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().expect("connections do not panic"))
            .collect();
        (before, after, results)
    });

    let mut all = Latencies::new();
    let mut broken = Vec::new();
    for result in results {
        match result {
            Ok(latencies) => {
                all.ack_ns
                    .add(&latencies.ack_ns)
                    .expect("the bounds are equal");
                all.due_ns
                    .add(&latencies.due_ns)
                    .expect("the bounds are equal");
            }
            Err(error) => broken.push(error.to_string()),
        }
    }
    Ok(report(
        options,
        frame_bytes,
        &before,
        &after,
        &all,
        &shared,
        &broken,
    ))
}

fn report(
    options: &Send,
    frame_bytes: usize,
    before: &Sample,
    after: &Sample,
    latencies: &Latencies,
    shared: &Shared,
    broken: &[String],
) -> Value {
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let acked = (after.acked - before.acked) as f64;
    let frames = acked / f64::from(options.batch);
    let mut report = json!({
        "connections": options.connections,
        "batch": options.batch,
        "depth": options.depth,
        "body_bytes": options.body_bytes,
        "rate": options.rate,
        "began_unix_s": before.unix_s,
        "seconds": seconds,
        "acked": after.acked - before.acked,
        "acked_per_s": (acked / seconds).round(),
        "bytes_per_s": (frames * frame_bytes as f64 / seconds).round(),
        "failed": after.failed - before.failed,
        "errors": after.errors - before.errors,
        // With what came before and after the measurement, and the event of each handshake.
        "acked_in_all": shared.acked.load(Ordering::Relaxed) + u64::from(options.connections),
        "broken": broken,
        "ack": quantiles(&latencies.ack_ns),
        "steal_percent": (process::steal_percent(before.host, after.host) * 10.0).round() / 10.0,
    });
    if options.rate.is_some() {
        report["due"] = quantiles(&latencies.due_ns);
    }
    if let (Some(before), Some(after)) = (before.cpu, after.cpu) {
        let user = after.user_seconds - before.user_seconds;
        let system = after.system_seconds - before.system_seconds;
        report["server_user_s"] = json!(user);
        report["server_system_s"] = json!(system);
        report["server_cpu_us_per_event"] = json!((user + system) * 1e6 / acked.max(1.0));
    }
    if let (Some(before), Some(after)) = (before.written_bytes, after.written_bytes) {
        report["server_written_bytes_per_s"] = json!(((after - before) as f64 / seconds).round());
    }
    if let Some((now, peak)) = options
        .server_pid
        .and_then(|pid| process::resident_kib(&pid.to_string()))
    {
        report["server_rss_kib"] = json!(now);
        report["server_rss_peak_kib"] = json!(peak);
    }
    report
}
