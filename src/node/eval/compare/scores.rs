//! What is told of a comparison: shares and means with their intervals of confidence.
//!
//! A question is one observation, however often it is asked: its answers are not independent of each other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::interval;
use super::judge::{Ruling, Winner};
use crate::llama::Generated;
use crate::node::Count;
use crate::node::questions::Question;

/// One answer with what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored<'a> {
    pub(super) text: &'a str,
    /// Whether it is right; nothing where the question does not say.
    pub(super) pass: Option<bool>,
    /// How alike it is to the reference, where there is one.
    pub(super) similarity: Option<f64>,
    /// Whether the model ended it by itself.
    pub(super) ended: bool,
}

impl<'a> Scored<'a> {
    /// Scores an answer.
    pub(super) fn of(question: &Question, answer: &'a Generated) -> Self {
        Self {
            text: answer.text.trim(),
            pass: question.expects().then(|| question.passes(&answer.text)),
            similarity: question.similarity(&answer.text),
            ended: answer.ended,
        }
    }
}

/// The fields and counts of a comparison.
#[derive(Debug, Default)]
pub(super) struct Scores {
    pub(super) fields: BTreeMap<String, Value>,
    pub(super) report: Vec<Count>,
}

impl Scores {
    fn field(&mut self, name: &str, value: f64, interval: Option<[f64; 2]>) {
        self.fields.insert(name.to_owned(), json!(value));
        for (end, value) in ["low", "high"].into_iter().zip(interval.into_iter().flatten()) {
            self.fields.insert(format!("{name}-{end}"), json!(value));
        }
    }

    fn count(&mut self, what: impl Into<String>, count: u64) {
        self.report.push(Count { what: what.into(), count });
    }

    /// Notes the mean of what each question gives, from 0 to 1.
    fn share(&mut self, name: &str, questions: &[f64]) {
        let share = mean(questions);
        self.field(name, share, Some(interval::of_share(share, questions.len() as u64)));
    }

    /// Notes a mean of items, each a sum and the weight that it is over.
    fn mean(&mut self, name: &str, items: &[(f64, f64)]) {
        let (sum, weight) = items.iter().fold((0.0, 0.0), |(sum, weight), item| (sum + item.0, weight + item.1));
        self.field(name, sum / weight, interval::of_mean(items));
    }

    /// Notes the losses on held-out rows: for each row the sum over its trained tokens, and their number.
    pub(super) fn losses(&mut self, base: &[(f64, f64)], tuned: &[(f64, f64)]) {
        if tuned.is_empty() {
            return;
        }
        self.mean("base-loss", base);
        self.mean("loss", tuned);
        let change = base.iter().zip(tuned).map(|(base, tuned)| (tuned.0 - base.0, tuned.1));
        self.mean("loss-change", &change.collect::<Vec<_>>());
    }

    /// Notes what the answers are: for each question those of base and tuned model, one a repeat.
    pub(super) fn answers(&mut self, base: &[Vec<Scored<'_>>], tuned: &[Vec<Scored<'_>>]) {
        if tuned.is_empty() {
            return;
        }
        let asked = tuned.iter().map(Vec::len).sum::<usize>() as u64;
        self.fields.insert("questions".into(), json!(tuned.len()));
        self.count("questions", tuned.len() as u64);
        if asked > tuned.len() as u64 {
            self.count("answers of each model", asked);
        }
        let pass = |score: &Scored<'_>| score.pass.map(f64::from);
        let (of_base, of_tuned) = (by_question(base, pass), by_question(tuned, pass));
        if !of_tuned.is_empty() {
            self.share("pass", &of_tuned);
            self.share("base-pass", &of_base);
            let gain = of_base.iter().zip(&of_tuned).map(|(base, tuned)| (tuned - base, 1.0));
            self.mean("gain", &gain.collect::<Vec<_>>());
            for (who, answers) in [("tuned", tuned), ("base", base)] {
                let right = answers.iter().flatten().filter(|score| score.pass == Some(true)).count();
                self.count(format!("answered right by the {who} model"), right as u64);
            }
        }
        for (name, answers) in [("similarity", tuned), ("base-similarity", base)] {
            let found = by_question(answers, |score| score.similarity);
            if !found.is_empty() {
                self.mean(name, &found.into_iter().map(|similarity| (similarity, 1.0)).collect::<Vec<_>>());
            }
        }
        for (name, answers) in [("ends", tuned), ("base-ends", base)] {
            self.share(name, &by_question(answers, |score| Some(f64::from(score.ended))));
        }
    }

    /// Notes what the judge said; `repeats` pairs, one after the other, are of one question. A tie counts half.
    pub(super) fn ruling(&mut self, ruling: &Ruling, repeats: usize) {
        let points = |winner: &Winner| match winner {
            Winner::Tuned => Some(1.0),
            Winner::Base => Some(0.0),
            Winner::Tie | Winner::Place => Some(0.5),
            Winner::Unreadable => None,
        };
        let questions = ruling.winners.chunks(repeats.max(1));
        let found = questions.filter_map(|winners| mean_of(winners.iter().filter_map(points)));
        self.share("judge", &found.collect::<Vec<_>>());
        let count = |winner: Winner| ruling.winners.iter().filter(|found| **found == winner).count() as u64;
        let ties = count(Winner::Tie) + count(Winner::Place);
        for (name, what, count) in [
            ("judge-wins", "judged better: tuned", count(Winner::Tuned)),
            ("judge-losses", "judged better: base", count(Winner::Base)),
            ("judge-ties", "judged the same", ties),
            ("judge-flips", "judged by its place, which counts as the same", count(Winner::Place)),
        ] {
            self.fields.insert(name.into(), json!(count));
            self.count(what, count);
        }
        self.fields.insert("judge-unreadable".into(), json!(ruling.unreadable.values().sum::<u64>()));
        for (reason, count) in &ruling.unreadable {
            self.count(format!("verdict that cannot be read: {reason}"), *count);
        }
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn mean_of(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let numbers: Vec<f64> = numbers.collect();
    (!numbers.is_empty()).then(|| mean(&numbers))
}

/// Returns the mean over the answers to each question that have this number.
fn by_question(answers: &[Vec<Scored<'_>>], number: impl Fn(&Scored<'_>) -> Option<f64>) -> Vec<f64> {
    answers.iter().filter_map(|answers| mean_of(answers.iter().filter_map(&number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(pass: bool) -> Scored<'static> {
        Scored { text: "", pass: Some(pass), similarity: None, ended: true }
    }

    #[test]
    fn repeats_of_a_question_are_no_more_questions() {
        let intervals = |repeats: usize| {
            let answers = |passes: &[bool]| passes.iter().map(|pass| vec![scored(*pass); repeats]).collect::<Vec<_>>();
            let mut scores = Scores::default();
            scores.answers(
                &answers(&[false; 10]),
                &answers(&[true, true, true, true, true, true, true, true, true, false]),
            );
            scores.fields
        };
        let (once, often) = (intervals(1), intervals(50));
        assert_eq!(once, often);
        let near = |name: &str, value: f64| assert!((once[name].as_f64().unwrap() - value).abs() < 1e-4, "{once:?}");
        near("pass", 0.9);
        near("pass-low", 0.595_85);
        near("pass-high", 0.982_12);
        near("gain", 0.9);
        assert!(once["gain-low"].as_f64().unwrap() > 0.5 && once["gain-high"] == 1.0, "{once:?}");
    }

    #[test]
    fn a_judge_gives_a_rate_of_wins_in_which_ties_count_half() {
        let winners = vec![Winner::Tuned, Winner::Tie, Winner::Base, Winner::Place, Winner::Unreadable, Winner::Tuned];
        let ruling = Ruling { winners, unreadable: BTreeMap::from([("empty", 1)]) };
        let mut scores = Scores::default();
        scores.ruling(&ruling, 2);
        // Questions give 0.75, 0.25 and 1.
        assert!((scores.fields["judge"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12, "{:?}", scores.fields);
        let [low, high] = interval::of_share(2.0 / 3.0, 3);
        assert_eq!((&scores.fields["judge-low"], &scores.fields["judge-high"]), (&json!(low), &json!(high)));
        let counts = ["judge-wins", "judge-losses", "judge-ties", "judge-flips", "judge-unreadable"];
        assert_eq!(counts.map(|name| scores.fields[name].as_u64().unwrap()), [2, 1, 2, 1, 1]);
    }
}
