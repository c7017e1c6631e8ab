//! How alike two texts are: chrF (Popović, 2015), as sacreBLEU computes it by default: n-grams of one to six characters
//! without white space, recall weighed twice as much as precision.

use std::collections::BTreeMap;

/// The longest n-gram.
const LONGEST: usize = 6;
/// β² of the F-score.
const WEIGHT_OF_RECALL: f64 = 4.0;

/// Returns how alike an answer is to a reference: from 0, no character in common, to 1, the same characters.
pub(crate) fn chrf(answer: &str, reference: &str) -> f64 {
    let characters = |text: &str| text.chars().filter(|character| !character.is_whitespace()).collect::<Vec<_>>();
    let (answer, reference) = (characters(answer), characters(reference));
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for n in 1..=LONGEST.min(answer.len()).min(reference.len()) {
        let (said, right) = (counts(&answer, n), counts(&reference, n));
        let common: usize = said.iter().filter_map(|(gram, count)| Some(*right.get(gram)?.min(count))).sum();
        precision += common as f64 / (answer.len() + 1 - n) as f64;
        recall += common as f64 / (reference.len() + 1 - n) as f64;
        orders += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    (1.0 + WEIGHT_OF_RECALL) * precision * recall / (WEIGHT_OF_RECALL * precision + recall)
}

fn counts(characters: &[char], n: usize) -> BTreeMap<&[char], usize> {
    let mut counts = BTreeMap::new();
    for gram in characters.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::chrf;

    /// `sacrebleu.metrics.CHRF().sentence_score(answer, [reference]).score / 100`, sacreBLEU 2.6.
    #[test]
    fn likeness_is_that_of_sacrebleu() {
        for (answer, reference, likeness) in [
            ("exit code 3", "exit code 3", 1.0),
            ("it ends with exit code 3", "exit code 3", 0.759_668_164_374_055_1),
            ("exit code 2", "exit code 3", 0.834_060_846_560_846_5),
            ("nothing alike", "zzzz", 0.0),
            ("a", "a", 1.0),
            ("ab", "abc", 0.636_363_636_363_636_3),
            ("the cat sat on the mat", "the cat is on the mat", 0.645_779_420_625_287),
            ("", "a", 0.0),
        ] {
            let found = chrf(answer, reference);
            assert!((found - likeness).abs() < 1e-12, "{answer} beside {reference}: {found}");
        }
    }
}
