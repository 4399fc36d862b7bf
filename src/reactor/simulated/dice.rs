//! Randomness of a simulated run: one sequence, from one seed.

use std::cell::Cell;

/// SplitMix64. Clones of a world share one, so every draw moves every later one.
#[derive(Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    /// The same seed gives the same draws.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// 64 bits.
    pub fn bits(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        // The upper half of the product: unbiased enough, and no division.
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(bound - 1)
    }

    /// An index below `length`.
    ///
    /// # Panics
    /// When `length` is 0.
    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A number from `least` to `most`.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True in `per_mille` of 1,000 draws.
    pub fn chance(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) < u64::from(per_mille)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_sequence_and_bounds_hold() {
        let (one, other) = (Dice::new(7), Dice::new(7));
        for _ in 0..1_000 {
            let drawn = one.between(3, 9);
            assert_eq!(drawn, other.between(3, 9));
            assert!((3..=9).contains(&drawn));
        }
        assert_ne!(Dice::new(7).bits(), Dice::new(8).bits());
    }

    #[test]
    fn never_and_always_are_what_they_say() {
        let dice = Dice::new(1);
        assert!((0..1_000).all(|_| !dice.chance(0)));
        assert!((0..1_000).all(|_| dice.chance(1_000)));
    }
}
