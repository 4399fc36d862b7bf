//! A set of numbers, kept as the ranges it consists of.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither overlap nor touch: end by start.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds the numbers of `range`; returns how many of them are new.
    pub(super) fn add(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (mut start, mut end) = (range.start, range.end);
        let mut known = 0;
        // From the last range that begins at `end` or before it, backwards while they reach `start`.
        while let Some((&from, &to)) = self.0.range(..=end).next_back()
            && to >= start
        {
            known += overlap(&range, &(from..to));
            self.0.remove(&from);
            start = start.min(from);
            end = end.max(to);
        }
        self.0.insert(start, end);
        range.end - range.start - known
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "the ranges of a table, one of them alone"
)]
mod tests {
    use super::*;

    fn check(added: &[Range<u64>], range: Range<u64>, new: u64, expected: &[(u64, u64)]) {
        let mut ranges = Ranges::default();
        for range in added {
            ranges.add(range.clone());
        }
        assert_eq!(ranges.add(range), new);
        assert_eq!(ranges.0.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn only_new_numbers_count() {
        check(&[], 5..9, 4, &[(5, 9)]);
        check(&[], 5..5, 0, &[]);
        check(&[5..9], 5..9, 0, &[(5, 9)]);
        check(&[5..9], 6..8, 0, &[(5, 9)]);
        check(&[5..9], 3..6, 2, &[(3, 9)]);
        check(&[5..9], 8..11, 2, &[(5, 11)]);
        check(&[5..9], 3..11, 4, &[(3, 11)]);
        check(&[5..9], 0..3, 3, &[(0, 3), (5, 9)]);
    }

    #[test]
    fn ranges_that_touch_become_one() {
        check(&[0..3, 5..9], 3..5, 2, &[(0, 9)]);
        check(&[0..3, 5..9, 20..30], 2..20, 13, &[(0, 30)]);
        check(&[0..u64::MAX], 7..u64::MAX, 0, &[(0, u64::MAX)]);
    }
}
