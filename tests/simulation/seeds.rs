//! Many seeds, on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use flumen::reactor::Defence;

use crate::run::{Outcome, play};
use crate::support::Deadline;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(30);

/// A run whose panic is a violation like any other: assertions are part of the promise.
pub fn play_caught(seed: u64, lacks: &[Defence]) -> Outcome {
    let played = catch_unwind(AssertUnwindSafe(|| play(seed, lacks)));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            digest: 0,
            totals: [0; 4],
            violation: Some(format!("panic: {}", text.unwrap_or_default())),
        }
    })
}

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_seed_keeps_the_promise() {
    let first = environment("FLUMEN_SIM_FIRST", 0);
    let count = match environment("FLUMEN_SIM_SEEDS", 3_000) {
        0 => u64::MAX - first,
        count => count,
    };
    let threads = environment("FLUMEN_SIM_THREADS", 2);
    if std::env::var("FLUMEN_SIM_LOG").is_ok() {
        let log = tracing_subscriber::fmt().without_time().with_ansi(false);
        log.with_max_level(tracing::Level::DEBUG).init();
    }
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let broken: Mutex<Vec<(u64, String)>> = Mutex::default();
    let totals: Mutex<[u64; 4]> = Mutex::default();
    let clock = Deadline::after(Duration::from_secs(1));
    let line = || {
        let totals = *totals.lock().expect("no thread panics");
        let [acknowledged, delivered, repeated, taken] = totals;
        println!(
            "{} seeds from {first} in {} s: {acknowledged} acknowledged, {delivered} delivered, {repeated} \
             repeated, {taken} at stake by faults that take data; {} violations",
            done.load(Relaxed),
            clock.elapsed().as_secs(),
            broken.lock().expect("no thread panics").len()
        );
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= count {
                        break;
                    }
                    let seed = first + number;
                    let outcome = play_caught(seed, &[]);
                    for (sum, more) in totals.lock().expect("no thread panics").iter_mut().zip(outcome.totals) {
                        *sum += more;
                    }
                    done.fetch_add(1, Relaxed);
                    if let Some(violation) = outcome.violation {
                        println!(
                            "seed {seed}: {violation}\n  again: FLUMEN_SIM_FIRST={seed} FLUMEN_SIM_SEEDS=1 \
                             cargo test --test simulation every_seed"
                        );
                        let mut broken = broken.lock().expect("no thread panics");
                        broken.push((seed, violation));
                        if broken.len() >= 20 {
                            stop.store(true, Relaxed);
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut said = Duration::ZERO;
            while done.load(Relaxed) < count && !stop.load(Relaxed) {
                crate::support::clock::pause(Duration::from_millis(100));
                if clock.elapsed() - said >= PROGRESS {
                    said = clock.elapsed();
                    line();
                }
            }
        });
    });
    line();
    let broken = broken.into_inner().expect("no thread panics");
    assert!(
        broken.is_empty(),
        "{} seeds broke the promise: {broken:#?}",
        broken.len()
    );
}

#[test]
fn a_seed_replays_bit_for_bit() {
    for seed in 0..40 {
        assert_eq!(
            play_caught(seed, &[]),
            play_caught(seed, &[]),
            "seed {seed}"
        );
    }
}
