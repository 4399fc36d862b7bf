//! A collector under load while its disks fail, and what has to hold whatever they did.

use std::time::Duration;

use rustix::io::Errno;

use crate::bench::{Bench, Layout, Sink};
use crate::caller::{Attempt, Caller, Outcome};
use crate::recording::{show, verdict};
use crate::support::clock::pause;
use crate::support::{Deadline, Oracle, http, wait_until};

/// Every answer comes within this time, unless a disk hangs: keep-alive, and a second.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// What waits for a disk that hangs is answered within this time: the collector's patience with a
/// disk, and a second. A Flume client waits 20 s.
pub const HANG_LIMIT: Duration = Duration::from_secs(6);
/// A directory rests 5 s after an error and is looked at once a second.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(12);

/// "Input/output error".
pub const EIO: crate::disk::Effect = crate::disk::Effect::Fail(Errno::IO);

/// See the module.
#[derive(Debug)]
pub struct Trial {
    /// The collector and its disks.
    pub bench: Bench,
    clock: Deadline,
    callers: Vec<Caller>,
}

impl Trial {
    /// A collector that serves `callers` clients. None where there is no fault disk.
    pub fn start(layout: Layout<'_>, callers: u32, body_bytes: usize) -> Option<Self> {
        let mut bench = Bench::with(layout)?;
        if let Err(reason) = bench.start(Sink::Files) {
            panic!("{reason}");
        }
        let port = bench.port();
        let clock = Deadline::after(Duration::MAX);
        let call = |number| Caller::start(&format!("caller{number}"), clock, port, body_bytes);
        let trial = Self {
            bench,
            clock,
            callers: (0..callers).map(call).collect(),
        };
        trial.wait_for(Outcome::Ok, 20, Duration::from_secs(30));
        Some(trial)
    }

    /// Waits until the first client has had `count` more such answers.
    #[track_caller]
    pub fn wait_for(&self, outcome: Outcome, count: usize, limit: Duration) {
        self.callers[0].wait_for(outcome, count, limit);
    }

    /// Time on the clients' clock.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Answers to all clients since then. Each of them had some.
    #[track_caller]
    pub fn since(&self, since: Duration) -> Vec<Attempt> {
        let mut all = Vec::new();
        for caller in &self.callers {
            let answers = caller.since(since);
            assert!(
                !answers.is_empty(),
                "one client had no answer since {since:?}, and {} others had",
                all.len()
            );
            all.extend(answers);
        }
        all
    }

    /// Waits until `/readyz` says no and gives a reason that holds `reason`.
    #[track_caller]
    pub fn wait_unready(&mut self, reason: &str) {
        let port = self.bench.collector().admin_port();
        wait_until(
            &format!("/readyz to name {reason:?}"),
            Duration::from_secs(10),
            || {
                let page = http::get(port, "/readyz");
                page.is_some_and(|(code, text)| code == 503 && text.contains(reason))
            },
        );
    }

    /// Waits until `/readyz` says yes.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let collector = self.bench.collector();
        wait_until("/readyz to say 200", RECOVERY_LIMIT, || collector.ready());
    }

    /// The disks work again; the collector has to see it by itself.
    #[track_caller]
    pub fn heal(&mut self) {
        for place in &self.bench.places {
            place.disk().heal();
        }
        self.recovers();
    }

    /// The collector serves again, by itself and soon.
    #[track_caller]
    pub fn recovers(&mut self) {
        self.wait_for(Outcome::Ok, 20, RECOVERY_LIMIT);
        self.wait_ready();
    }

    /// Ends the load and checks what always holds: the process is the one that was started; nothing was
    /// written to a segment after its device had failed; every answer came in time; after a rest,
    /// everything acknowledged came out of the sink, whole and in order.
    #[track_caller]
    pub fn end(mut self, answer_limit: Duration) -> Vec<Attempt> {
        let mut oracle = Oracle::new();
        let callers = std::mem::take(&mut self.callers);
        let told = callers.into_iter().map(|caller| caller.stop(&mut oracle));
        let attempts: Vec<Attempt> = told.flatten().collect();
        let slowest = attempts.iter().map(|attempt| attempt.took).max();
        let slowest = slowest.unwrap_or_default();
        assert!(slowest <= answer_limit, "an answer took {slowest:?}");
        for place in &self.bench.places {
            let wrong = place.disk().take_log().written_after_failure();
            assert!(wrong.is_empty(), "written again after a failure: {wrong:?}");
        }
        let process = self.bench.collector().process();
        assert!(process.running(), "flumen ended: {}", process.log());
        match self.bench.serves(Duration::from_secs(60)) {
            Ok(probe) => oracle.acknowledged(&probe.prefix, 0, 0, 0),
            Err(reason) => panic!("{reason}"),
        }
        show(&mut oracle, &self.bench.output());
        let findings = oracle.findings();
        if let Some(wrong) = verdict(&findings) {
            panic!("{wrong}");
        }
        let failed = attempts
            .iter()
            .filter(|attempt| attempt.outcome != Outcome::Ok);
        println!(
            "{} acknowledged, {} delivered, {} duplicates; {} calls refused, slowest answer {slowest:?}",
            findings.acknowledged,
            findings.delivered,
            findings.duplicates,
            failed.count()
        );
        attempts
    }
}

/// Lets the trial go on for a while.
pub fn rest(time: Duration) {
    let deadline = Deadline::after(time);
    while !deadline.passed() {
        pause(Duration::from_millis(50));
    }
}

/// How many of these ended like that.
pub fn count(attempts: &[Attempt], outcome: Outcome) -> usize {
    let alike = attempts.iter().filter(|attempt| attempt.outcome == outcome);
    alike.count()
}
