//! The texts that rows must not hold, and whether a text holds one.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::filter::text::{run_of, words};

/// A shorter text is held only by an equal one: `What is Linkerd?` stands in many a thread that does not give it away.
const SHORTEST: usize = 5;
/// The least words of a run: fewer are in any text.
const SHORTEST_RUN: usize = 3;

/// Texts by their runs of words.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By text: how many different runs it has.
    texts: Vec<usize>,
    /// By length and hash of a run: the texts that have it.
    runs: BTreeMap<usize, BTreeMap<u64, Vec<usize>>>,
    /// By hash of all words: the first text that has no others.
    whole: BTreeMap<u64, usize>,
}

impl Index {
    /// Adds a text and returns its number. A run has `ngram` words, or half of the text's where that is less.
    pub(super) fn add(&mut self, text: &str, ngram: usize) -> usize {
        let number = self.texts.len();
        let words = words(text);
        if !words.is_empty() {
            self.whole.entry(run_of(&words)).or_insert(number);
        }
        if words.len() < SHORTEST {
            self.texts.push(0);
            return number;
        }
        let length = ngram.min(words.len() / 2).max(SHORTEST_RUN.min(ngram));
        let runs: BTreeSet<u64> = words.windows(length).map(run_of).collect();
        self.texts.push(runs.len());
        let of_length = self.runs.entry(length).or_default();
        for run in runs {
            of_length.entry(run).or_default().push(number);
        }
        number
    }

    /// Returns the first text that `text` holds: the same words, or at least `threshold` of its runs.
    pub(super) fn held_by(&self, text: &str, threshold: f64) -> Option<usize> {
        let words = words(text);
        let mut first = self.whole.get(&run_of(&words)).copied().filter(|_| !words.is_empty());
        for (length, runs) in &self.runs {
            let here: BTreeSet<u64> = words.windows(*length).map(run_of).collect();
            let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
            for text in here.iter().filter_map(|run| runs.get(run)).flatten() {
                *shared.entry(*text).or_default() += 1;
            }
            let held = shared.into_iter().find(|(text, shared)| *shared as f64 >= threshold * self.texts[*text] as f64);
            first = [first, held.map(|(text, _)| text)].into_iter().flatten().min();
        }
        first
    }

    /// Returns how many texts there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: &str, text: &str, is_held: bool) {
        let mut index = Index::default();
        index.add(asked, 8);
        assert_eq!(index.held_by(text, 0.8).is_some(), is_held, "{asked}: {text}");
    }

    #[test]
    fn a_text_holds_a_question_that_is_equal_contained_or_nearly_so() {
        let asked = "Which command checks whether a Linkerd installation is healthy?";
        check(asked, "which command checks whether a *linkerd* installation is healthy", true);
        check(asked, &format!("Hello all! {asked} I ask since it does not answer."), true);
        check(asked, "Which command checks whether a Linkerd installation is working?", true);
        check(asked, "Which command removes a Linkerd installation from my healthy cluster?", false);
        check(asked, "", false);
    }

    #[test]
    fn a_short_question_is_held_by_an_equal_text_alone() {
        check("What is Linkerd?", "what is linkerd", true);
        check("What is Linkerd?", "I wonder what is Linkerd doing with my pods", false);
        check("", "", false);
    }
}
