//! Several damages at once, drawn from a seed; a failure prints the seed that repeats it.

use flumen::channel::wal::Checkpoint;
use flumen::reactor::simulated::Dice;

use crate::log::{Written, write};
use crate::still::Still;
use crate::verdict::{Tally, judge};

const SEGMENT: usize = 32 << 10;
/// Logs are written once and damaged often.
const CASES_PER_LOG: u64 = 500;

fn random_log(dice: &Dice) -> Written {
    let count = dice.between(4, 24);
    let batch = |_| match dice.below(4) {
        0 => (dice.between(1, 40), 40),
        1 => (1, usize::try_from(dice.between(50, 20_000)).expect("small")),
        _ => (
            dice.between(1, 12),
            usize::try_from(dice.between(40, 900)).expect("small"),
        ),
    };
    let batches: Vec<(u64, usize)> = (0..count).map(batch).collect();
    write(&Still::new(dice.bits(), &[]), SEGMENT as u64, &batches)
}

/// None, or one whose end and cursor are somewhere in the log.
fn random_checkpoint(written: &Written, dice: &Dice) -> Option<Checkpoint> {
    let blocks = written.entries.len();
    if dice.chance(250) {
        return None;
    }
    let end = dice.index(blocks);
    let mut checkpoint = match end {
        0 => written.checkpoint.clone(),
        end => written.checkpoint_before(end),
    };
    let limit = if end == 0 { blocks } else { end };
    let cursor = written.delivered_before(dice.index(limit));
    checkpoint.shards[0].cursors = cursor.shards[0].cursors.clone();
    Some(checkpoint)
}

/// One damage somewhere in the segments that hold blocks. Never two files with one header: whole copies
/// are an operator's doing, and refused.
fn hurt(written: &Written, world: &Still, dice: &Dice, names: &mut Vec<String>) {
    let segments = written.segments();
    let path = segments[dice.index(segments.len())];
    let sector = [512, 4096][dice.index(2)];
    let pick = |length: usize| dice.index((length / sector).max(1)) * sector;
    world.change(path, |bytes| {
        if bytes.len() < 8192 {
            return;
        }
        let (one, other) = (pick(bytes.len()), pick(bytes.len()));
        let span = one..(one + sector).min(bytes.len());
        let name = match dice.below(6) {
            0 | 1 => {
                let bit = dice.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                format!("bit {bit} flipped")
            }
            2 => {
                bytes[span].fill(0);
                format!("{sector} bytes at {one} zeroed")
            }
            3 if other + sector <= bytes.len() => {
                bytes.copy_within(span, other);
                format!("{sector} bytes at {one} also at {other}")
            }
            4 => {
                bytes[span]
                    .iter_mut()
                    .for_each(|byte| *byte = dice.bits().to_le_bytes()[0]);
                format!("{sector} bytes at {one} random")
            }
            _ if dice.chance(200) => {
                bytes.truncate(one);
                format!("cut to {one}")
            }
            _ => {
                let length = dice.index(9_000).min(bytes.len() - one);
                bytes[one..one + length].fill(0xff);
                format!("{length} bytes at {one} filled")
            }
        };
        names.push(format!("{}: {name}", path.display()));
    });
}

fn case(written: &Written, seed: u64) -> Result<Tally, String> {
    let dice = Dice::new(seed);
    let world = written.world(&[]);
    let checkpoint = random_checkpoint(written, &dice);
    let mut names = Vec::new();
    for _ in 0..dice.between(1, 6) {
        hurt(written, &world, &dice, &mut names);
    }
    let place = checkpoint.as_ref().map(|checkpoint| {
        let entry = &checkpoint.shards[0];
        (entry.end.sequence, entry.cursors[0].1.block)
    });
    judge(written, &world, checkpoint.as_ref())
        .map_err(|reason| format!("{reason}; checkpoint {place:?}; {}", names.join("; ")))
}

/// `FLUMEN_DAMAGE_SEED` begins elsewhere; `FLUMEN_DAMAGE_CASES` runs longer or shorter.
#[test]
fn several_damages_cost_what_they_hit_and_are_counted() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let cases = number(
        "FLUMEN_DAMAGE_CASES",
        if crate::long() { 1_000_000 } else { 20_000 },
    );
    let first = number("FLUMEN_DAMAGE_SEED", 1);
    let mut tally = Tally::default();
    let mut written = None;
    for seed in first..first + cases {
        if written.is_none() || seed.is_multiple_of(CASES_PER_LOG) {
            let dice = Dice::new(seed - seed % CASES_PER_LOG);
            written = Some(random_log(&dice));
        }
        let log = written.as_ref().expect("written above");
        match case(log, seed) {
            Ok(one) => tally.add(one),
            Err(reason) => panic!("FLUMEN_DAMAGE_SEED={seed} FLUMEN_DAMAGE_CASES=1: {reason}"),
        }
    }
    println!("several damages: {tally:?}");
    assert_eq!(tally.cases, cases);
}
