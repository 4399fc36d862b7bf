//! How a quantity is spread: latencies, block sizes.
//!
//! The thread that measures owns a [`Recorder`] with a plain `hdrhistogram`: recording is an array
//! increment, without a lock and without an atomic. At most once a second it copies the histogram
//! into a queue of length one, where the admin thread finds the newest copy. The copy displaced by
//! the new one is filled again the next time, so in the long run publishing allocates nothing.
//!
//! Buckets of atomics were the alternative: one locked instruction a value less copying, but only
//! as exact as the buckets chosen beforehand. Here the exact quantiles stay available to us, at two
//! significant digits, for some 20 KiB a distribution.
//!
//! Always true: a distribution only grows, and what a reader sees is at most about a second behind
//! what was recorded, as long as the owner records or calls [`Recorder::publish`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use hdrhistogram::Histogram;

const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
const SIGNIFICANT_DIGITS: u8 = 2;

/// What is measured, and so between which bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Time, kept in microseconds up to a minute.
    Latency,
    /// Size in bytes, up to 64 MiB.
    Bytes,
}

impl Quantity {
    const fn value_max(self) -> u64 {
        match self {
            Self::Latency => 60_000_000,
            Self::Bytes => 64 * 1024 * 1024,
        }
    }

    /// Upper bounds shown to Prometheus, in the unit that is kept.
    const fn bounds(self) -> &'static [u64] {
        match self {
            Self::Latency => &[
                50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
                500_000, 1_000_000, 2_500_000, 10_000_000, 60_000_000,
            ],
            Self::Bytes => &[
                4_096, 16_384, 65_536, 131_072, 262_144, 524_288, 1_048_576, 2_097_152, 8_388_608,
                33_554_432,
            ],
        }
    }

    /// Kept units in one shown unit (seconds, bytes).
    const fn scale(self) -> f64 {
        match self {
            Self::Latency => 1e6,
            Self::Bytes => 1.0,
        }
    }

    fn histogram(self) -> Histogram<u64> {
        Histogram::new_with_bounds(1, self.value_max(), SIGNIFICANT_DIGITS)
            .expect("the bounds above are in order")
    }
}

/// The published side of a distribution, shared with the admin thread.
pub struct Distribution {
    quantity: Quantity,
    newest: ArrayQueue<Box<Histogram<u64>>>,
    owned: AtomicBool,
}

/// A distribution as it is shown: sum, count and one count a bucket, the last bucket unbounded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    /// Sum of all values, in seconds or bytes.
    pub sum: f64,
    /// How many values.
    pub count: u64,
    /// Upper bound and values at or below it that are above the bound before.
    pub buckets: Vec<(f64, u64)>,
}

impl Distribution {
    /// An empty distribution.
    #[must_use]
    pub fn new(quantity: Quantity) -> Self {
        Self {
            quantity,
            newest: ArrayQueue::new(1),
            owned: AtomicBool::new(false),
        }
    }

    /// The writing side, for the thread that measures. There is one.
    ///
    /// # Panics
    /// When it was given out before: two owners would overwrite each other's values.
    #[must_use]
    pub fn recorder(self: &Arc<Self>) -> Recorder {
        let given_before = self.owned.swap(true, AcqRel);
        assert!(!given_before, "a distribution has one owner");
        Recorder {
            shared: Arc::clone(self),
            histogram: self.quantity.histogram(),
            spare: None,
            published_at: None,
            dirty: false,
        }
    }

    /// What was published last. Only one thread reads (the admin thread): while one reads, another
    /// would find nothing.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let Some(histogram) = self.newest.pop() else {
            return self.shown_of(&self.quantity.histogram());
        };
        let shown = self.shown_of(&histogram);
        // Back for the next reader, unless the owner published a newer one meanwhile.
        drop(self.newest.push(histogram));
        shown
    }

    fn shown_of(&self, histogram: &Histogram<u64>) -> Shown {
        let bounds = self.quantity.bounds();
        let scale = self.quantity.scale();
        let mut buckets: Vec<(f64, u64)> = bounds
            .iter()
            .map(|bound| (as_float(*bound) / scale, 0))
            .chain([(f64::INFINITY, 0)])
            .collect();
        let mut sum = 0.0;
        let mut count = 0;
        for step in histogram.iter_recorded() {
            let value = step.value_iterated_to();
            let values = step.count_at_value();
            // A value stands for its step of the histogram: the lowest value of the step decides,
            // so that a value recorded exactly at a bound counts at or below it.
            let lowest = histogram.lowest_equivalent(value);
            let index = bounds.partition_point(|bound| *bound < lowest);
            buckets[index].1 += values;
            sum += as_float(histogram.median_equivalent(value)) * as_float(values);
            count += values;
        }
        Shown {
            sum: sum / scale,
            count,
            buckets,
        }
    }
}

impl std::fmt::Debug for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Distribution")
            .field("quantity", &self.quantity)
            .finish_non_exhaustive()
    }
}

/// The recording side of a distribution. Lives on one thread.
pub struct Recorder {
    shared: Arc<Distribution>,
    histogram: Histogram<u64>,
    spare: Option<Box<Histogram<u64>>>,
    published_at: Option<Duration>,
    dirty: bool,
}

impl Recorder {
    /// Records a time span. `now` is the time of the thread's world.
    pub fn record_latency(&mut self, latency: Duration, now: Duration) {
        debug_assert_eq!(self.shared.quantity, Quantity::Latency);
        self.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), now);
    }

    /// Records a size. `now` is the time of the thread's world.
    pub fn record_bytes(&mut self, bytes: u64, now: Duration) {
        debug_assert_eq!(self.shared.quantity, Quantity::Bytes);
        self.record(bytes, now);
    }

    fn record(&mut self, value: u64, now: Duration) {
        self.histogram.saturating_record(value);
        self.dirty = true;
        let due = self
            .published_at
            .is_none_or(|at| now.saturating_sub(at) >= PUBLISH_INTERVAL);
        if due {
            self.publish(now);
        }
    }

    /// Shows readers everything recorded so far. Worth calling from a timer that runs about once a
    /// second, so that the last values before a pause are seen too.
    pub fn publish(&mut self, now: Duration) {
        if !self.dirty {
            return;
        }
        let mut copy = self
            .spare
            .take()
            .unwrap_or_else(|| Box::new(self.shared.quantity.histogram()));
        copy.set_to(&self.histogram)
            .expect("both histograms have the same bounds");
        self.spare = self.shared.newest.force_push(copy);
        self.published_at = Some(now);
        self.dirty = false;
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("count", &self.histogram.len())
            .finish_non_exhaustive()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for a chart: 53 bits are enough"
)]
fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_published_at_most_once_a_second() {
        let shared = Arc::new(Distribution::new(Quantity::Latency));
        let mut recorder = shared.recorder();
        let at = |ms| Duration::from_millis(ms);
        recorder.record_latency(at(1), at(0));
        assert_eq!(shared.shown().count, 1, "the first value shows at once");
        recorder.record_latency(at(1), at(999));
        assert_eq!(shared.shown().count, 1, "within the second");
        recorder.record_latency(at(1), at(1_000));
        assert_eq!(shared.shown().count, 3);
        assert_eq!(shared.shown().count, 3, "reading does not take it away");
    }

    #[test]
    fn publish_shows_the_last_values_before_a_pause() {
        let shared = Arc::new(Distribution::new(Quantity::Bytes));
        let mut recorder = shared.recorder();
        recorder.record_bytes(4_096, Duration::ZERO);
        recorder.record_bytes(65_536, Duration::from_millis(1));
        recorder.publish(Duration::from_millis(2));
        let shown = shared.shown();
        assert_eq!(shown.count, 2);
        assert_eq!(shown.buckets[0], (4_096.0, 1));
        assert_eq!(shown.buckets[2], (65_536.0, 1));
        assert!((shown.sum - 69_632.0).abs() < 700.0, "{}", shown.sum);
    }

    #[test]
    fn value_above_the_range_lands_in_the_highest_bucket() {
        let shared = Arc::new(Distribution::new(Quantity::Latency));
        let mut recorder = shared.recorder();
        recorder.record_latency(Duration::from_secs(3_600), Duration::ZERO);
        let shown = shared.shown();
        assert_eq!(shown.count, 1);
        let last_two: u64 = shown.buckets.iter().rev().take(2).map(|b| b.1).sum();
        assert_eq!(last_two, 1);
    }

    #[test]
    #[should_panic(expected = "one owner")]
    fn second_recorder_is_refused() {
        let shared = Arc::new(Distribution::new(Quantity::Bytes));
        let _first = shared.recorder();
        let _second = shared.recorder();
    }
}
