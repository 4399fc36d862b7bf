//! Which known name a writer most likely meant.
//!
//! Control plane only; pure functions.

/// The candidate with the least edit distance, if it is near: at most a third of the letters wrong, and
/// at most three. The first of equals wins.
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written: Vec<char> = written.to_lowercase().chars().collect();
    let bound = (written.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let name: Vec<char> = candidate.to_lowercase().chars().collect();
            // Each letter more or less is a step: most candidates, and names of any length, end here.
            let is_near = name.len().abs_diff(written.len()) <= bound;
            is_near.then(|| (distance(&written, &name), candidate))
        })
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, in characters, with a swap of two neighbours counted as one step.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(from != to))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == to && from == b[j - 1] {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        let known = ["capacity", "transactionCapacity", "keep-alive"];
        assert_eq!(nearest("capacty", known), Some("capacity"));
        assert_eq!(nearest("capactiy", known), Some("capacity"));
        assert_eq!(
            nearest("transactioncapacity", known),
            Some("transactionCapacity")
        );
        assert_eq!(nearest("batchSize", known), None);
    }
}
