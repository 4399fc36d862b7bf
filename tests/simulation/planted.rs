//! A simulation that cannot fail proves nothing: each defence is taken away once, and some seed must
//! notice. (Epoch, chain, the fit of a checkpoint and numbers given once stand behind one another: taking one
//! away, no few thousand runs get behind the others. The damage lane, which makes up what it likes, does.)

use flumen::reactor::Defence;

use crate::seeds::play_caught;

/// Seeds that are tried for one planted bug.
const SEEDS_MAX: u64 = 3_000;

/// The first seed that breaks the promise of a collector without `defence`.
fn first_broken(defence: Defence) -> Option<(u64, String)> {
    (0..SEEDS_MAX).find_map(|seed| Some((seed, play_caught(seed, &[defence]).violation?)))
}

#[test]
fn every_planted_bug_is_caught() {
    let planted = [
        Defence::AckAfterWrite,
        Defence::DirectoryFlush,
        Defence::FailedSegmentEnds,
        Defence::PayloadChecksum,
        Defence::Place,
        Defence::LastCopy,
        Defence::ReleaseBehindCursors,
        Defence::ReadAgain,
        Defence::CursorInBlock,
        Defence::PassUnreadable,
    ];
    let mut missed = Vec::new();
    for defence in planted {
        match first_broken(defence) {
            Some((seed, violation)) => println!("{}: seed {seed}: {violation}", defence.name()),
            None => missed.push(defence.name()),
        }
    }
    assert!(
        missed.is_empty(),
        "no seed below {SEEDS_MAX} notices the lack of {missed:?}"
    );
}
