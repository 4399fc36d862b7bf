//! From a power cut to a verdict: the image, a start over it, everything that comes out.

use std::time::Duration;

use crate::bench::{Bench, Sink};
use crate::disk::log::Durable;
use crate::random::Random;
use crate::recording::{Acknowledged, Cut, Recording, show, verdict};
use crate::support::clock::pause;
use crate::support::oracle::Findings;

/// How long a backlog of a few thousand events may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(40);

/// Starts flumen over the image that `cut` left of `recording`, and compares what comes out with
/// what was acknowledged. Returns the findings and the recording of this run and of a rest after it,
/// for a cut in it; or what is wrong.
pub fn replay(
    bench: &mut Bench,
    recording: &Recording,
    cut: &Cut,
    rest: Duration,
) -> Result<(Findings, Recording), String> {
    let from = Durable::beginning(&recording.log);
    let image = recording.log.image_at(&from, cut.position, &cut.choice);
    bench.start_over(image, Sink::Files)?;
    let mut probes = vec![bench.serves(DRAIN_LIMIT)?];
    if !rest.is_zero() {
        // What came of the backlog settles first: spares are made, segments go. Then one event alone.
        pause(rest);
        probes.push(bench.serves(DRAIN_LIMIT)?);
    }
    let durable = bench.place().disk().durable_position();
    pause(rest);
    let log = bench.place().disk().take_log();
    let output = bench.output();
    bench.collector().kill();

    let mut oracle = recording.oracle_at(cut.position);
    for probe in &probes {
        oracle.acknowledged(&probe.prefix, 0, 0, 0);
    }
    show(&mut oracle, &output);
    let findings = oracle.findings();
    if let Some(wrong) = verdict(&findings) {
        return Err(wrong);
    }
    let mut acknowledged: Vec<Acknowledged> = recording
        .acknowledged
        .iter()
        .filter(|ok| ok.durable <= cut.position)
        .cloned()
        .collect();
    for ok in &mut acknowledged {
        ok.durable = 0;
    }
    let mut sent = recording.sent.clone();
    for probe in probes {
        acknowledged.push(Acknowledged {
            prefix: probe.prefix.clone(),
            connection: 0,
            events: (0, 0),
            durable,
        });
        sent.insert((probe.prefix, 0), 0);
    }
    let output_before = [&recording.output_before, recording.output_by(cut.position)].concat();
    let next = Recording {
        log,
        acknowledged,
        sent,
        output_before,
        output,
    };
    Ok((findings, next))
}

/// What came of many cuts.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Images started over.
    pub states: u32,
    /// Of them, cuts in a recovery from another cut.
    pub second: u32,
    /// Requests in the logs of the recordings.
    pub entries: usize,
    /// Events acknowledged, over all states.
    pub acknowledged: usize,
    /// Deliveries beyond the first, over all states.
    pub duplicates: u64,
}

/// Makes a recording and looks at `count` power cuts in it, some of them followed by a power cut
/// during the recovery. What is wrong comes with all that is needed to find it again.
pub fn look_at_cuts(
    bench: &mut Bench,
    sink: Sink,
    count: u32,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), String> {
    let recording = Recording::make(bench, sink, random)?;
    tally.entries += recording.log.entries.len();
    let mut done = 0;
    while done < count {
        let cut = recording.cut(random);
        let tell = |what: &str, wrong: String| format!("{what} {cut:?} ({sink:?}): {wrong}");
        let (findings, next) =
            replay(bench, &recording, &cut, Duration::ZERO).map_err(|wrong| tell("at", wrong))?;
        done += 1;
        tally.count(&findings);
        if done < count && random.below(4) == 0 {
            let again = next.cut(random);
            let (findings, _) = replay(bench, &next, &again, Duration::ZERO)
                .map_err(|wrong| tell(&format!("at {again:?} of the recovery"), wrong))?;
            done += 1;
            tally.second += 1;
            tally.count(&findings);
        }
    }
    Ok(())
}

impl Tally {
    fn count(&mut self, findings: &Findings) {
        self.states += 1;
        self.acknowledged += findings.acknowledged;
        self.duplicates += findings.duplicates;
    }
}
