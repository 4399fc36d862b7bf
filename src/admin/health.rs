//! Whether the process lives, may be sent to, has started.
//!
//! One [`Health`] a process, shared by all threads. Shards and drain threads prove that they run
//! with a [`Heartbeat`], one atomic increment a second; the admin thread watches the counts. Reasons
//! against readiness are set and cleared by whoever knows, when the state changes, not per batch.
//!
//! The mutexes here are the exception to "a core owns its state": they are taken when a reason
//! appears or goes, when a thread starts, and when somebody asks over HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the admin thread looks at the heartbeats. A thread beats at least as often.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Looks without a beat until a thread counts as stalled: ten seconds.
const SILENT_LOOKS_MAX: u32 = 10;

/// Where the process is between start and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Reading the configuration, checking the system.
    Preflight = 0,
    /// Creating channels: directories, pre-written segments.
    Preparing = 1,
    /// Reading back what the last run left.
    Recovering = 2,
    /// Starting sinks, then sources.
    Starting = 3,
    /// Everything runs.
    Running = 4,
    /// No new connections; what is in flight is answered.
    Stopping = 5,
    /// Done.
    Stopped = 6,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Preflight,
        Self::Preparing,
        Self::Recovering,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
    ];

    /// The phase in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Preparing => "preparing",
            Self::Recovering => "recovering",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// The health of the process.
#[derive(Debug, Default)]
pub struct Health {
    phase: AtomicU8,
    reasons: Mutex<BTreeMap<String, String>>,
    watched: Mutex<Vec<Watched>>,
}

#[derive(Debug)]
struct Watched {
    beat: Arc<Beat>,
    seen: u64,
    silent_looks: u32,
}

#[derive(Debug)]
struct Beat {
    name: String,
    count: AtomicU64,
    ended: AtomicBool,
}

/// A thread's proof that it runs. Dropping it says that the thread ended as it should.
#[derive(Debug)]
pub struct Heartbeat(Arc<Beat>);

impl Heartbeat {
    /// I run. Call it from the thread's own loop or timer, at least once a second.
    pub fn beat(&self) {
        self.0.count.fetch_add(1, Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.ended.store(true, Relaxed);
    }
}

impl Health {
    /// A process that begins to start.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The process is in `phase` now.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Where the process is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Relaxed))]
    }

    /// Batches sent here would be refused: why, under a key that clears it later, such as
    /// `channel c1`. Set again, it replaces the reason.
    pub fn set_unready(&self, key: &str, reason: impl Into<String>) {
        lock(&self.reasons).insert(key.to_owned(), reason.into());
    }

    /// The reason under `key` is gone.
    pub fn clear_unready(&self, key: &str) {
        lock(&self.reasons).remove(key);
    }

    /// A thread begins to run: `shard 0`, `drain 1`.
    #[must_use]
    pub fn heartbeat(&self, name: impl Into<String>) -> Heartbeat {
        let beat = Arc::new(Beat {
            name: name.into(),
            count: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        lock(&self.watched).push(Watched {
            beat: Arc::clone(&beat),
            seen: 0,
            silent_looks: 0,
        });
        Heartbeat(beat)
    }

    /// Looks at every heartbeat. The admin thread calls it once a [`WATCH_INTERVAL`]; looks are
    /// counted, not seconds, so that a machine that slept does not find all its threads stalled.
    pub(super) fn watch(&self) {
        let mut watched = lock(&self.watched);
        watched.retain(|it| !it.beat.ended.load(Relaxed));
        for it in watched.iter_mut() {
            let count = it.beat.count.load(Relaxed);
            it.silent_looks = match count == it.seen {
                true => it.silent_looks.saturating_add(1),
                false => 0,
            };
            it.seen = count;
        }
    }

    /// What is wrong with the process itself: stalled threads. A supervisor restarts it then.
    #[must_use]
    pub fn stalled(&self) -> BTreeMap<String, String> {
        let watched = lock(&self.watched);
        watched
            .iter()
            .filter(|it| it.silent_looks >= SILENT_LOOKS_MAX && !it.beat.ended.load(Relaxed))
            .map(|it| {
                let seconds = u64::from(it.silent_looks) * WATCH_INTERVAL.as_secs();
                let reason = format!("stalled: no sign of life for {seconds} s");
                (it.beat.name.clone(), reason)
            })
            .collect()
    }

    /// Why batches should not be sent here now; empty when they may be.
    #[must_use]
    pub fn unready(&self) -> BTreeMap<String, String> {
        let mut reasons = lock(&self.reasons).clone();
        reasons.extend(self.stalled());
        let phase = self.phase();
        if phase != Phase::Running {
            reasons.insert("agent".to_owned(), phase.as_str().to_owned());
        }
        reasons
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_the_running_phase_and_no_reason() {
        let health = Health::new();
        assert_eq!(health.unready()["agent"], "preflight");
        health.enter(Phase::Running);
        assert!(health.unready().is_empty());
        health.set_unready("channel c1", "no healthy data directory");
        assert_eq!(health.unready()["channel c1"], "no healthy data directory");
        health.clear_unready("channel c1");
        assert!(health.unready().is_empty());
        health.enter(Phase::Stopping);
        assert_eq!(health.unready()["agent"], "stopping");
    }

    #[test]
    fn thread_without_a_beat_for_ten_looks_is_stalled_until_it_beats() {
        let health = Health::new();
        let still = health.heartbeat("shard 0");
        let busy = health.heartbeat("shard 1");
        for _ in 0..SILENT_LOOKS_MAX {
            assert!(health.stalled().is_empty());
            busy.beat();
            health.watch();
        }
        let stalled = health.stalled();
        assert_eq!(stalled["shard 0"], "stalled: no sign of life for 10 s");
        assert_eq!(stalled.len(), 1);
        still.beat();
        health.watch();
        assert!(health.stalled().is_empty());
    }

    #[test]
    fn thread_that_ended_is_not_stalled() {
        let health = Health::new();
        drop(health.heartbeat("drain 0"));
        for _ in 0..SILENT_LOOKS_MAX + 1 {
            health.watch();
        }
        assert!(health.stalled().is_empty());
    }

    #[test]
    fn every_phase_reads_back() {
        let health = Health::new();
        for phase in Phase::ALL {
            health.enter(phase);
            assert_eq!(health.phase(), phase);
        }
    }
}
