//! The progress of long work: pre-writing segments, recovery.
//!
//! Whoever works holds a [`Progress`] and adds to it, two atomics, from any thread. The admin thread
//! shows it: a bar on a terminal, a log line every five seconds otherwise, and `/startupz` always.
//! Work that is over within [`QUIET`] is not shown as it goes; its end is always logged.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::info;

use super::clock::Stopwatch;

/// Nothing is shown of work younger than this.
const QUIET: Duration = Duration::from_millis(500);
/// Between two log lines of one work.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The terminal, shared by the bars and the log so that neither writes into the other.
#[derive(Debug, Clone)]
pub struct Console {
    bars: MultiProgress,
    is_terminal: bool,
}

impl Console {
    /// Standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self {
            bars: MultiProgress::new(),
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Takes the bars away while `write` writes.
    pub(super) fn write<R>(&self, write: impl FnOnce() -> R) -> R {
        match self.is_terminal {
            true => self.bars.suspend(write),
            false => write(),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown in binary multiples.
    Bytes,
    /// Events.
    Events,
}

#[derive(Debug)]
struct Work {
    name: String,
    unit: Unit,
    total: AtomicU64,
    done: AtomicU64,
    events: AtomicU64,
    ended: AtomicBool,
    since: Stopwatch,
}

/// One long work, held by the thread that does it. Dropping it ends the work, finished or not.
#[derive(Debug)]
pub struct Progress(Arc<Work>);

impl Progress {
    /// `done` more of the total.
    pub fn add(&self, done: u64) {
        self.0.done.fetch_add(done, Relaxed);
    }

    /// Events that passed, when the unit is bytes: shown as events/s beside the bytes.
    pub fn add_events(&self, events: u64) {
        self.0.events.fetch_add(events, Relaxed);
    }

    /// The total is known better now.
    pub fn set_total(&self, total: u64) {
        self.0.total.store(total, Relaxed);
    }

    /// The work is done: says how much it was and how long it took.
    pub fn finish(self) {
        let state = self.0.state();
        let unit = self.0.unit;
        let events = match state.events {
            0 => String::new(),
            events => format!(", {events} events"),
        };
        info!(
            "{}: done, {}{events} in {:.1} s, {}",
            self.0.name,
            Amount(unit, state.done),
            state.elapsed.as_secs_f64(),
            Rate(unit, state.rate()),
        );
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.ended.store(true, Relaxed);
    }
}

impl Work {
    fn state(&self) -> WorkState {
        WorkState {
            name: self.name.clone(),
            unit: self.unit,
            total: self.total.load(Relaxed),
            done: self.done.load(Relaxed),
            events: self.events.load(Relaxed),
            elapsed: self.since.elapsed(),
        }
    }
}

/// A work as it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WorkState {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) total: u64,
    pub(super) done: u64,
    pub(super) events: u64,
    pub(super) elapsed: Duration,
}

impl WorkState {
    /// Units a second, over all of the work so far.
    pub(super) fn rate(&self) -> u64 {
        per_second(self.done, self.elapsed)
    }

    /// Events a second, over all of the work so far.
    pub(super) fn event_rate(&self) -> u64 {
        per_second(self.events, self.elapsed)
    }

    /// Hundredths of the total that are done; none while the total is not known.
    pub(super) fn percent(&self) -> Option<u64> {
        (self.total > 0).then(|| {
            let percent = u128::from(self.done.min(self.total)) * 100 / u128::from(self.total);
            u64::try_from(percent).expect("a percentage is small")
        })
    }

    /// Seconds left at the rate so far; none while the total or the rate is not known.
    pub(super) fn seconds_left(&self) -> Option<u64> {
        let rate = self.rate();
        let known = self.total > 0 && rate > 0;
        known.then(|| self.total.saturating_sub(self.done).div_ceil(rate))
    }
}

impl fmt::Display for WorkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match self.percent() {
            Some(percent) => write!(
                f,
                "{percent}% done ({} of {})",
                Amount(self.unit, self.done),
                Amount(self.unit, self.total)
            )?,
            None => write!(f, "{} done", Amount(self.unit, self.done))?,
        }
        write!(f, ", {}", Rate(self.unit, self.rate()))?;
        if self.unit == Unit::Bytes && self.events > 0 {
            write!(f, ", {}", Rate(Unit::Events, self.event_rate()))?;
        }
        match self.seconds_left() {
            Some(seconds) => write!(f, ", {seconds} s left"),
            None => Ok(()),
        }
    }
}

struct Amount(Unit, u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unit::Bytes => write!(f, "{}", indicatif::BinaryBytes(self.1)),
            Unit::Events => write!(f, "{} events", self.1),
        }
    }
}

struct Rate(Unit, u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Amount(self.0, self.1))
    }
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    let milliseconds = elapsed.as_millis().max(1);
    u64::try_from(u128::from(count) * 1_000 / milliseconds).unwrap_or(u64::MAX)
}

/// All long work of the process.
#[derive(Debug)]
pub struct ProgressBoard {
    console: Console,
    works: Mutex<Vec<Posted>>,
}

#[derive(Debug)]
struct Posted {
    work: Arc<Work>,
    bar: Option<ProgressBar>,
    line_at: Duration,
}

impl ProgressBoard {
    /// An empty board that draws on `console`.
    #[must_use]
    pub fn new(console: Console) -> Arc<Self> {
        Arc::new(Self {
            console,
            works: Mutex::default(),
        })
    }

    /// Long work begins: `name` says what and of which component, `total` how much (0: not known).
    #[must_use]
    pub fn begin(&self, name: impl Into<String>, unit: Unit, total: u64) -> Progress {
        let work = Arc::new(Work {
            name: name.into(),
            unit,
            total: AtomicU64::new(total),
            done: AtomicU64::new(0),
            events: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            since: Stopwatch::start(),
        });
        self.works().push(Posted {
            work: Arc::clone(&work),
            bar: None,
            line_at: LINE_INTERVAL,
        });
        Progress(work)
    }

    /// Work that is under way.
    pub(super) fn states(&self) -> Vec<WorkState> {
        let works = self.works();
        let under_way = works.iter().filter(|it| !it.work.ended.load(Relaxed));
        under_way.map(|it| it.work.state()).collect()
    }

    /// Draws the bars or logs the lines that are due. The admin thread, or a tool, calls it a few times
    /// a second while there is work; returns whether there is.
    pub fn show(&self) -> bool {
        let mut lines = Vec::new();
        let mut works = self.works();
        works.retain(|it| {
            let ended = it.work.ended.load(Relaxed);
            if ended && let Some(bar) = &it.bar {
                bar.finish_and_clear();
                self.console.bars.remove(bar);
            }
            !ended
        });
        for posted in works.iter_mut() {
            let state = posted.work.state();
            match self.console.is_terminal {
                true if state.elapsed >= QUIET => {
                    let bar = posted.bar.get_or_insert_with(|| self.bar(&state));
                    bar.set_length(state.total);
                    bar.set_position(state.done);
                }
                false if state.elapsed >= posted.line_at => {
                    posted.line_at = state.elapsed + LINE_INTERVAL;
                    lines.push(state.to_string());
                }
                _ => {}
            }
        }
        let any = !works.is_empty();
        drop(works);
        for line in lines {
            info!("{line}");
        }
        any
    }

    fn bar(&self, state: &WorkState) -> ProgressBar {
        let shape = match state.unit {
            Unit::Bytes => {
                "{msg} [{bar:30}] {percent}% {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left"
            }
            Unit::Events => "{msg} [{bar:30}] {percent}% {pos}/{len} events {per_sec}, {eta} left",
        };
        let style =
            ProgressStyle::with_template(shape).expect("the templates above are well formed");
        let bar = self.console.bars.add(ProgressBar::new(state.total));
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(state.name.clone());
        bar
    }

    fn works(&self) -> MutexGuard<'_, Vec<Posted>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unit: Unit, total: u64, done: u64, events: u64, seconds: u64, line: &str) {
        let state = WorkState {
            name: "channel c1: recovery".to_owned(),
            unit,
            total,
            done,
            events,
            elapsed: Duration::from_secs(seconds),
        };
        assert_eq!(state.to_string(), line);
    }

    #[test]
    fn line_says_share_rate_and_time_left() {
        let gib = 1 << 30;
        check(
            Unit::Bytes,
            4 * gib,
            gib,
            2_000_000,
            4,
            "channel c1: recovery: 25% done (1.00 GiB of 4.00 GiB), 256.00 MiB/s, 500000 events/s, 12 s left",
        );
        check(
            Unit::Events,
            100,
            50,
            0,
            10,
            "channel c1: recovery: 50% done (50 events of 100 events), 5 events/s, 10 s left",
        );
    }

    #[test]
    fn line_without_a_total_or_a_rate_promises_nothing() {
        check(
            Unit::Events,
            0,
            30,
            0,
            3,
            "channel c1: recovery: 30 events done, 10 events/s",
        );
        check(
            Unit::Bytes,
            1024,
            0,
            0,
            3,
            "channel c1: recovery: 0% done (0 B of 1.00 KiB), 0 B/s",
        );
    }

    #[test]
    fn work_leaves_the_board_when_it_ends() {
        let board = ProgressBoard::new(Console::stderr());
        let finished = board.begin("a", Unit::Bytes, 10);
        let given_up = board.begin("b", Unit::Bytes, 10);
        finished.add(10);
        assert_eq!(board.states().len(), 2);
        assert_eq!(board.states()[0].percent(), Some(100));
        finished.finish();
        assert_eq!(board.states().len(), 1);
        assert!(board.show());
        drop(given_up);
        assert!(board.states().is_empty());
        assert!(!board.show());
    }
}
