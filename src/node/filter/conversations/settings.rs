//! Settings of `filter.conversations`.

use regex::{RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::length::Limit;
use super::questions::Questions;
use crate::node::SettingProblem;

/// Settings of `filter.conversations`. Four characters make about one token of English.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the manifest")]
pub(super) struct Settings {
    /// The system prompt of rows that have none; from `[model]` unless set here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<String>,
    /// An answer that explains in fewer characters is no answer; quotes, logs and workflow sentences do not count.
    pub(super) min_answer_characters: usize,
    /// A pull request's body that is shorter explains nothing.
    pub(super) min_body_characters: usize,
    /// A title that is shorter says nothing: a pull request with it is left out, and so is an issue or a discussion whose
    /// body has fewer than `min-question-characters`.
    pub(super) min_title_characters: usize,
    /// With a body of this length the title of an issue or a discussion may be shorter than `min-title-characters`.
    pub(super) min_question_characters: usize,
    /// A review thread whose first remark is shorter asks nothing.
    pub(super) min_review_characters: usize,
    /// A document's section that is shorter is left out.
    pub(super) min_section_characters: usize,
    /// A longer question is cut between paragraphs; the title of an issue and the words of a template count, but are not cut.
    pub(super) max_question_characters: usize,
    /// A longer answer is cut between paragraphs; a longer section of a document becomes several rows.
    pub(super) max_answer_characters: usize,
    /// A dialogue ends before the turn with which it would be longer.
    pub(super) max_conversation_characters: usize,
    /// In place of `max-question-characters`: in tokens of the base model, which then is an input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_question_tokens: Option<usize>,
    /// In place of `max-answer-characters`: in tokens of the base model, which then is an input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_answer_tokens: Option<usize>,
    /// In place of `max-conversation-characters`: in tokens of the base model, which then is an input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_conversation_tokens: Option<usize>,
    /// Who may answer an issue or a discussion.
    pub(super) answerers: Answerers,
    /// Whether the asker's own solution ("it turned out that …") is the answer where nobody else gave one.
    pub(super) own_solutions: bool,
    /// Whether an answer stays of whose sentences at least half ask something back, such as for logs.
    pub(super) asking_answers: bool,
    /// Whether an answer stays that begins with the name of somebody who did not open the thread.
    pub(super) answers_to_others: bool,
    /// Whether somebody answers who speaks as one that asks as well ("we still see it"), and is no maintainer.
    pub(super) fellow_askers: bool,
    /// Whether a thread in which the asker came back also becomes a conversation of several turns.
    pub(super) dialogues: bool,
    /// Whether review threads of pull requests become conversations.
    pub(super) reviews: bool,
    /// Whether only pull requests that were merged explain a change. The files of old scripts do not say it of any.
    pub(super) merged_only: bool,
    /// Whether pull requests stay whose titles say that they update a dependency, such as `Bump serde from 1.0.1 to 1.0.2`.
    pub(super) dependency_updates: bool,
    /// Issues and discussions with one of these labels are left out.
    pub(super) skip_labels: Vec<String>,
    /// Logins of programs, beside those of `known-bots` and those that the records themselves call bots.
    pub(super) bots: Vec<String>,
    /// Whether well-known logins such as `dependabot`, and all that end with `[bot]` or `-bot`, are programs.
    pub(super) known_bots: bool,
    /// Sentences that say nothing, beside those of `known-noise`: regular expressions that must fit the whole sentence,
    /// whatever its case.
    pub(super) noise: Vec<String>,
    /// Whether sentences that say nothing in most projects go out of comments: thanks, workflow, promises to look into it.
    pub(super) known_noise: bool,
    /// The deepest heading of a document that starts a section.
    #[schemars(range(min = 1, max = 6))]
    pub(super) section_depth: u8,
    /// Whether Mermaid's diagrams stay in the sections of documents.
    pub(super) keep_diagrams: bool,
    /// Markers of chat templates that stay as they are, such as `["<think>", "</think>"]` where rows are meant to hold
    /// reasoning. All others get a space inside each end, so that no text can open a role.
    pub(super) keep_markers: Vec<String>,
    /// How questions are worded where nobody asked one.
    pub(super) questions: Questions,
}

/// Who may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answerers {
    /// Everybody but the asker; maintainers come first.
    Anyone,
    /// Only owners, members and collaborators of the repository.
    Maintainers,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            system: None,
            min_answer_characters: 120,
            min_body_characters: 100,
            min_title_characters: 10,
            min_question_characters: 80,
            min_review_characters: 30,
            min_section_characters: 120,
            max_question_characters: 4_000,
            max_answer_characters: 6_000,
            max_conversation_characters: 10_000,
            max_question_tokens: None,
            max_answer_tokens: None,
            max_conversation_tokens: None,
            answerers: Answerers::Anyone,
            own_solutions: false,
            asking_answers: false,
            answers_to_others: false,
            fellow_askers: false,
            dialogues: true,
            reviews: true,
            merged_only: false,
            dependency_updates: false,
            skip_labels: vec!["invalid".into(), "spam".into()],
            bots: Vec::new(),
            known_bots: true,
            noise: Vec::new(),
            known_noise: true,
            section_depth: 3,
            keep_diagrams: false,
            keep_markers: Vec::new(),
            questions: Questions::default(),
        }
    }
}

/// What may be given in characters or in tokens.
const LIMITS: [&str; 3] = ["max-question", "max-answer", "max-conversation"];

impl Settings {
    /// Returns whether a limit is in tokens of the base model.
    pub(super) fn counts_tokens(&self) -> bool {
        [self.max_question_tokens, self.max_answer_tokens, self.max_conversation_tokens].iter().any(Option::is_some)
    }

    /// Returns the most that a question may have.
    pub(super) fn max_question(&self) -> Limit {
        limit(self.max_question_tokens, self.max_question_characters)
    }

    /// Returns the most that an answer may have.
    pub(super) fn max_answer(&self) -> Limit {
        limit(self.max_answer_tokens, self.max_answer_characters)
    }

    /// Returns the most that a dialogue may have.
    pub(super) fn max_conversation(&self) -> Limit {
        limit(self.max_conversation_tokens, self.max_conversation_characters)
    }

    /// Returns the user's noise sentences.
    pub(super) fn noise(&self) -> Result<RegexSet, regex::Error> {
        RegexSetBuilder::new(self.noise.iter().map(|pattern| whole(pattern))).case_insensitive(true).build()
    }

    /// Returns everything that is wrong; `written` is what the manifest says.
    pub(super) fn problems(&self, written: &Value) -> Vec<SettingProblem> {
        let mut problems = self.questions.problems();
        problems.extend(LIMITS.iter().filter_map(|name| given_twice(name, written)));
        problems.extend(self.zero_limits());
        if !(1..=6).contains(&self.section_depth) {
            problems.push(SettingProblem {
                help: Some("give a whole number from 1 to 6: the level of a heading".into()),
                ..problem("section-depth", "settings::out_of_range", "`section-depth` is out of its range")
            });
        }
        for (index, pattern) in self.noise.iter().enumerate() {
            if let Err(error) = regex::Regex::new(&whole(pattern)) {
                let why = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                let mut problem = problem("noise", "settings::wrong_pattern", "it is no regular expression");
                problem.path.push(index.to_string());
                problems.push(SettingProblem {
                    label: why,
                    help: Some("see docs.rs/regex for its syntax".into()),
                    ..problem
                });
            }
        }
        #[cfg(not(feature = "train"))]
        problems.extend(
            LIMITS.iter().map(|name| format!("{name}-tokens")).filter(|key| written.get(key).is_some()).map(|key| {
                SettingProblem {
                    help: Some("use the program with the feature `train`, or give the limit in characters".into()),
                    ..problem(&key, "settings::needs_training", "this program was built without tokenizers")
                }
            }),
        );
        problems
    }

    fn zero_limits(&self) -> impl Iterator<Item = SettingProblem> {
        let limits = [self.max_question(), self.max_answer(), self.max_conversation()];
        LIMITS.iter().zip(limits).filter(|(_, limit)| limit.most() == 0).map(|(name, limit)| {
            let unit = if matches!(limit, Limit::Tokens(_)) { "tokens" } else { "characters" };
            let key = format!("{name}-{unit}");
            SettingProblem {
                help: Some("give a whole number from 1".into()),
                ..problem(&key, "settings::out_of_range", &format!("`{key}` is out of its range"))
            }
        })
    }
}

fn limit(tokens: Option<usize>, characters: usize) -> Limit {
    tokens.map_or(Limit::Characters(characters), Limit::Tokens)
}

/// Returns the pattern that must fit a whole sentence.
fn whole(pattern: &str) -> String {
    format!(r"^(?:{pattern})[.!?:)\s]*$")
}

/// Which of two limits holds would be a guess.
fn given_twice(name: &str, written: &Value) -> Option<SettingProblem> {
    let keys = [format!("{name}-characters"), format!("{name}-tokens")];
    keys.iter().all(|key| written.get(key).is_some()).then(|| SettingProblem {
        label: format!("`{}` is there as well", keys[0]),
        help: Some("keep one of them".into()),
        ..problem(&keys[1], "settings::contradiction", &format!("`{}` and `{}` limit the same", keys[0], keys[1]))
    })
}

fn problem(key: &str, code: &'static str, message: &str) -> SettingProblem {
    SettingProblem { path: vec![key.to_owned()], code, message: message.to_owned(), label: "here".into(), help: None }
}
