//! `filter.quality`: rows that teach something stay.
//!
//! Rules judge the first question and all that is answered. A row goes by the first rule that it breaks, in the order of
//! [`Settings`]. Those that keep all rules have a score from 0 to 1, the mean of four parts: how much is said (`words`
//! of its own, 60 are enough), how much of it is letters, how little repeats, and how many words of the question the
//! answer takes up. The report has a count for each tenth. Nothing is rewritten.

mod anatomy;
mod language;
mod phrases;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use whatlang::Lang;

use self::anatomy::{Anatomy, repeated_runs};
use self::language::{is_foreign, language};
use self::phrases::{is_boilerplate, is_refusal};
use super::rows::{self, Fate, question, said_by};
use super::text::{characters, words};
use crate::node::{Kind, KindInfo, NodeError, Outcome, Run, SettingProblem, settings};
use crate::record::{Conversation, Role};

/// The kind.
#[derive(Debug)]
pub(super) struct Quality;

/// History: 1, the first.
const VERSION: u32 = 1;

static INFO: KindInfo = rows::info("quality", VERSION, "rows that teach something, by rules and a score");

/// Settings of `filter.quality`. Lengths are in characters; shares are from 0 to 1, and what is measured of prose leaves
/// code blocks, quotations and links out.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Settings {
    /// A question that is shorter asks nothing.
    min_question_characters: usize,
    /// A question that is longer is a log.
    max_question_characters: usize,
    /// An answer that is shorter says nothing.
    min_answer_characters: usize,
    /// An answer that is longer is a book.
    max_answer_characters: usize,
    /// Whether rows go that have a sentence in which a model refuses to answer.
    refusals: Refusals,
    /// The languages that answers may be in, by their codes of ISO 639: `["en", "de"]`; empty for all. A row goes where its
    /// answer tells reliably, by 100 letters or more outside code, quotations and links, that it is in another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    languages: Vec<String>,
    /// Regular expressions of sentences that no answer may have; each must fit a whole sentence, in any case.
    forbidden_sentences: Vec<String>,
    /// What an answer must not be alone: with fewer than `min-own-words` words of its own beside it. Code is not in it, since
    /// a command answers many a question.
    not_only: Vec<Part>,
    /// From how many words on an answer says something of its own.
    min_own_words: usize,
    /// The largest share of an answer's sentences that are the frame of a page, or a bot's.
    max_boilerplate: f64,
    /// The smallest share of letters in the visible characters of an answer's prose.
    min_letters: f64,
    /// The largest share of an answer's prose in lines that repeat an earlier one.
    max_repeated_lines: f64,
    /// The largest share of an answer's runs of five words that repeat an earlier one.
    max_repeated_words: f64,
    /// The smallest score.
    min_score: f64,
}

/// Whether refusals go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Refusals {
    /// They go.
    #[default]
    Drop,
    /// They stay.
    Keep,
}

/// What an answer may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Part {
    /// Code blocks.
    Code,
    /// Quotations.
    Quote,
    /// Links.
    Link,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_question_characters: 8,
            max_question_characters: 8_000,
            min_answer_characters: 40,
            max_answer_characters: 12_000,
            refusals: Refusals::Drop,
            languages: Vec::new(),
            forbidden_sentences: Vec::new(),
            not_only: vec![Part::Quote, Part::Link],
            min_own_words: 8,
            max_boilerplate: 0.3,
            min_letters: 0.6,
            max_repeated_lines: 0.3,
            max_repeated_words: 0.3,
            min_score: 0.0,
        }
    }
}

impl Kind for Quality {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = settings::canonical::<Settings>(settings)?;
        let mut problems = Vec::new();
        for key in ["max-boilerplate", "min-letters", "max-repeated-lines", "max-repeated-words", "min-score"] {
            if value[key].as_f64().is_none_or(|share| !(0.0..=1.0).contains(&share)) {
                problems.push(settings::out_of_range(&[key], "a share from 0 to 1"));
            }
        }
        for (least, most) in
            [("min-question-characters", "max-question-characters"), ("min-answer-characters", "max-answer-characters")]
        {
            if value[least].as_u64() > value[most].as_u64() {
                problems.push(settings::out_of_range(&[most], &format!("as many characters as `{least}` or more")));
            }
        }
        for (at, text) in value["forbidden-sentences"].as_array().into_iter().flatten().enumerate() {
            if let Some(Err(error)) = text.as_str().map(whole_sentence) {
                problems.push(SettingProblem {
                    path: vec!["forbidden-sentences".into(), at.to_string()],
                    code: "settings::bad_pattern",
                    message: format!("{text} is no regular expression"),
                    label: error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
                    help: Some("it must fit a whole sentence, such as `please run linkerd check.*`".into()),
                });
            }
        }
        problems.extend(unknown_languages(&value["languages"]));
        settings::accepted(value, problems)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let forbidden = settings.forbidden_sentences.iter().map(|pattern| whole_sentence(pattern));
        let forbidden = forbidden.collect::<Result<Vec<_>, _>>().map_err(|error| run.bad_job(error.to_string()))?;
        let languages: Vec<Lang> = settings.languages.iter().filter_map(|code| language(code)).collect();
        let rows = rows::merged(run, run.inputs())?;
        let scope = format!("filter.quality {VERSION} {}", run.job.settings);
        rows::decide(run, &rows, &scope, |row, counts| match judged(row, &settings, &forbidden, &languages) {
            Err(reason) => {
                counts.add(format!("dropped row: {reason}"), 1);
                Fate::Dropped
            }
            Ok(score) => {
                let tenth = ((score * 10.0) as u32).min(9);
                counts.add(format!("score 0.{tenth} and more"), 1);
                if score < settings.min_score {
                    counts.add("dropped row: score below `min-score`", 1);
                    Fate::Dropped
                } else {
                    Fate::Kept
                }
            }
        })
    }
}

/// Returns a problem for each code that is no language's.
fn unknown_languages(codes: &Value) -> Vec<SettingProblem> {
    let codes = codes.as_array().into_iter().flatten().filter_map(Value::as_str).enumerate();
    let unknown = codes.filter(|(_, code)| language(code).is_none());
    let problem = |(at, code): (usize, &str)| SettingProblem {
        path: vec!["languages".into(), at.to_string()],
        code: "settings::unknown_language",
        message: format!("`{code}` is the code of no language that can be told from others"),
        label: "no such code".into(),
        help: Some(format!("write one of {}", language::codes().collect::<Vec<_>>().join(", "))),
    };
    unknown.map(problem).collect()
}

/// Compiles a pattern that fits whole sentences, with or without what ends them.
fn whole_sentence(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!(r"^(?:{pattern})[.!?:]*$")).case_insensitive(true).build()
}

/// Returns the score of a row, or the rule that it breaks.
fn judged(
    row: &Conversation,
    settings: &Settings,
    forbidden: &[Regex],
    languages: &[Lang],
) -> Result<f64, &'static str> {
    let (question, answer) = (question(row), said_by(row, Role::Assistant));
    let asked = characters(question.trim());
    let answered = characters(answer.trim());
    let lengths = [
        (asked < settings.min_question_characters, "question shorter than `min-question-characters`"),
        (asked > settings.max_question_characters, "question longer than `max-question-characters`"),
        (answered < settings.min_answer_characters, "answer shorter than `min-answer-characters`"),
        (answered > settings.max_answer_characters, "answer longer than `max-answer-characters`"),
    ];
    first_broken(&lengths)?;
    let parts = Anatomy::of(&answer);
    let words = words(&parts.prose);
    let sentences = parts.sentences().count();
    let boilerplate = parts.sentences().filter(|sentence| is_boilerplate(sentence)).count();
    let repeated = repeated_runs(&words);
    let letters = parts.letters();
    let is_bare = parts.words() < settings.min_own_words;
    let is_only = |part: Part, has: bool| is_bare && has && settings.not_only.contains(&part);
    let rules = [
        (settings.refusals == Refusals::Drop && parts.sentences().any(is_refusal), "answer refuses"),
        (
            parts.sentences().any(|sentence| forbidden.iter().any(|pattern| pattern.is_match(sentence))),
            "answer has one of `forbidden-sentences`",
        ),
        (is_foreign(&parts.prose, languages), "answer is in none of `languages`"),
        (is_only(Part::Code, parts.has_code), "answer is only code"),
        (is_only(Part::Quote, parts.has_quote), "answer is only a quotation"),
        (is_only(Part::Link, parts.has_link), "answer is only a link"),
        (
            boilerplate as f64 > settings.max_boilerplate * sentences as f64,
            "answer has more boilerplate than `max-boilerplate`",
        ),
        (letters < settings.min_letters, "answer has fewer letters than `min-letters`"),
        (parts.repeated_lines() > settings.max_repeated_lines, "answer repeats more lines than `max-repeated-lines`"),
        (repeated > settings.max_repeated_words, "answer repeats more words than `max-repeated-words`"),
    ];
    first_broken(&rules)?;
    let said = (parts.words() as f64 / ENOUGH_WORDS).min(1.0);
    Ok((said + (letters / MOST_LETTERS).min(1.0) + (1.0 - repeated) + taken_up(question, &answer)) / 4.0)
}

/// Words of its own from which an answer says enough for the full part of the score.
const ENOUGH_WORDS: f64 = 60.0;
/// The share of letters in good prose.
const MOST_LETTERS: f64 = 0.85;

fn first_broken(rules: &[(bool, &'static str)]) -> Result<(), &'static str> {
    rules.iter().find(|(is_broken, _)| *is_broken).map_or(Ok(()), |(_, reason)| Err(reason))
}

/// Returns 1 when the answer has half of the question's words, and less for fewer.
fn taken_up(question: &str, answer: &str) -> f64 {
    let asked: BTreeSet<u64> = words(question).into_iter().collect();
    let answered: BTreeSet<u64> = words(answer).into_iter().collect();
    if asked.is_empty() {
        return 0.0;
    }
    (2.0 * asked.intersection(&answered).count() as f64 / asked.len() as f64).min(1.0)
}
