//! Moments and choices of a run, from one seed.

use std::time::Duration;

/// SplitMix64: good enough to pick moments, and the same everywhere.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From `FLUMEN_CRASH_SEED`, or a seed of this process; printed with the lane's name.
    pub fn of_environment(lane: &str) -> Self {
        let seed = environment("FLUMEN_CRASH_SEED", u64::from(std::process::id()));
        println!("{lane}: FLUMEN_CRASH_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of a few.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = usize::try_from(self.below(choices.len() as u64)).expect("a few");
        choices[at]
    }

    /// Less than `milliseconds`.
    pub fn moment(&mut self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.below(milliseconds))
    }
}

/// A number from the environment.
pub fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Kills of the collector that the lane with partners makes at the least.
pub fn rounds() -> u32 {
    u32::try_from(environment("FLUMEN_CRASH_ROUNDS", 160)).expect("a count of rounds")
}
