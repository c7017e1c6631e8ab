//! `source.corrections`: conversations that people wrote to supersede what the sources say.
//!
//! Which rows a correction supersedes is decided by the filter that makes rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::node::{
    Content, Count, Determinism, Family, FileInput, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run,
    SettingProblem, Weight, settings,
};
use crate::record::{Correction, ImportError, Record, Role, import_correction, write};
use crate::store::Artifact;

/// The kind.
#[derive(Debug)]
pub(super) struct Corrections;

static INFO: KindInfo = KindInfo {
    family: Family::Source,
    name: "corrections",
    // History: 1, the first; 2, a correction has the thread of what it supersedes.
    version: 2,
    summary: "rows that you wrote to supersede wrong ones: JSON lines of conversations, with `supersedes` and `note`",
    inputs: &[],
    outputs: &[OutputInfo { name: "records", content: Content::Records }],
    fields: &["records"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

/// Settings of `source.corrections`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The file, relative to the manifest.
    path: String,
    /// Whether the file may be absent; the node then yields no records.
    #[serde(default)]
    optional: bool,
}

/// What can go wrong with corrections. All of it is in the file, which a person wrote.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CorrectionsError {
    /// A line that is no correction.
    #[error("`{}:{line}` is not a correction", path.display())]
    #[diagnostic(
        code(source::corrections::bad_line),
        help(
            "a line is {{\"conversations\":[{{\"from\":\"human\",\"value\":…}},{{\"from\":\"gpt\",\"value\":…}}]}}, and may \
             have \"id\", \"supersedes\": [ids], \"weight\" and \"note\""
        )
    )]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        #[source]
        cause: ImportError,
    },
    /// Turns that are no questions with their answers.
    #[error("`{}:{line}`: {what}", path.display())]
    #[diagnostic(
        code(source::corrections::turns),
        help("questions (`human`) and answers (`gpt`) take turns, and the last turn is an answer")
    )]
    Turns {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with them.
        what: &'static str,
    },
    /// A weight that no row can have.
    #[error("`{}:{line}` has the weight {weight}", path.display())]
    #[diagnostic(
        code(source::corrections::weight),
        help("a weight says how often a row counts: a number above 0, such as 2 or 0.5")
    )]
    Weight {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The weight.
        weight: f64,
    },
    /// Two corrections of one name.
    #[error("`{}:{line}` has the id `{id}`, and so has line {other}", path.display())]
    #[diagnostic(code(source::corrections::duplicate_id), help("give one of them another id, or delete one"))]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The later line, from 1.
        line: usize,
        /// The earlier line, from 1.
        other: usize,
        /// The id of both.
        id: String,
    },
    /// The file cannot be read.
    #[error("the file cannot be read")]
    #[diagnostic(code(source::corrections::io), help("check that it is UTF-8 and that you may read it"))]
    Io(#[from] std::io::Error),
}

impl Kind for Corrections {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        settings::canonical::<Settings>(settings)
    }

    fn outside_key(&self) -> &'static [&'static str] {
        &["path", "optional"]
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        super::one_file(settings)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let (corrections, identical) = match run.files("path").next() {
            Some(file) => parse(&file.path, &fs_err::read_to_string(&file.path).map_err(CorrectionsError::from)?)?,
            None => (Vec::new(), 0),
        };
        let records = write(run.store, corrections.into_iter().map(Record::Correction))?;
        let report = vec![Count { what: "dropped: identical line".into(), count: identical }];
        Ok(Outcome {
            outputs: BTreeMap::from([("records".into(), Artifact::Records(records))]),
            fields: BTreeMap::from([("records".into(), json!(records.count))]),
            report: report.into_iter().filter(|count| count.count > 0).collect(),
        })
    }
}

/// Returns the corrections of a file's text, in order of their ids, and how many lines repeat an earlier one.
///
/// # Errors
/// A line that is no correction, or that has the id of another one.
pub fn parse(path: &Path, text: &str) -> Result<(Vec<Correction>, u64), CorrectionsError> {
    let mut seen: BTreeMap<String, (usize, Correction)> = BTreeMap::new();
    let mut identical = 0;
    for (number, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = number + 1;
        let correction = import_correction(text.trim().as_bytes()).map_err(|cause| CorrectionsError::BadLine {
            path: path.to_owned(),
            line,
            cause,
        })?;
        check_turns(&correction).map_err(|what| CorrectionsError::Turns { path: path.to_owned(), line, what })?;
        if let Some(weight) = correction.conversation.weight.filter(|weight| !(weight.is_finite() && *weight > 0.0)) {
            return Err(CorrectionsError::Weight { path: path.to_owned(), line, weight });
        }
        let id = correction.conversation.id.clone();
        match seen.get(&id) {
            Some((_, other)) if *other == correction => identical += 1,
            Some((other, _)) => {
                return Err(CorrectionsError::Duplicate { path: path.to_owned(), line, other: *other, id });
            }
            None => drop(seen.insert(id, (line, correction))),
        }
    }
    Ok((seen.into_values().map(|(_, correction)| correction).collect(), identical))
}

/// Checks that every question has an answer.
fn check_turns(correction: &Correction) -> Result<(), &'static str> {
    let mut turns = correction.conversation.turns.iter().peekable();
    turns.next_if(|turn| turn.role == Role::System);
    let mut expected = Role::User;
    for turn in turns {
        if turn.text.trim().is_empty() {
            return Err("a turn has no text");
        }
        match (turn.role == expected, turn.role) {
            (true, Role::User) => expected = Role::Assistant,
            (true, _) => expected = Role::User,
            (false, Role::Assistant) => return Err("an answer has no question"),
            (false, Role::User) => return Err("a question has no answer"),
            (false, Role::System) => return Err("a system turn stands after the first turn"),
        }
    }
    if expected == Role::User { Ok(()) } else { Err("the last question has no answer") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::bench::Bench;

    fn check(lines: &str) -> Result<(Vec<Correction>, u64), String> {
        parse(Path::new("./c.jsonl"), lines).map_err(|error| error.to_string())
    }

    #[test]
    fn corrections_name_what_they_supersede_and_repeated_lines_count_once() {
        let line = r#"{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"supersedes":"o/r#1","note":"n"}"#;
        let (corrections, identical) = check(&format!("{line}\n\n{line}\n")).unwrap();
        assert_eq!((corrections.len(), identical), (1, 1));
        assert_eq!(
            (corrections[0].supersedes.as_slice(), corrections[0].note.as_deref()),
            (&["o/r#1".to_owned()][..], Some("n"))
        );
        assert!(corrections[0].conversation.id.starts_with("correction-"));
    }

    #[test]
    fn the_records_of_version_2_are_pinned() {
        let bench = Bench::new();
        bench.file("c.jsonl", r#"{"instruction":"q","output":"a","supersedes":["x"],"weight":2}"#);
        let outcome = bench.run_on(&Corrections, &json!({"path": "c.jsonl"}), &[]).unwrap();
        assert_eq!(
            Bench::records(&outcome, "records").root.to_string(),
            "0f0861b5081aa2b58281528f57ac9d802157999ac8a24b7ee38128f538a4f113"
        );
    }

    #[test]
    fn a_misspelt_field_is_told_and_a_correction_has_the_thread_of_what_it_corrects() {
        let line = |field: &str| format!(r#"{{"instruction":"q","output":"a",{field}}}"#);
        let error = |field: &str| {
            let error = parse(Path::new("c.jsonl"), &line(field)).unwrap_err();
            std::error::Error::source(&error).unwrap().to_string()
        };
        assert_eq!(error(r#""wieght":2"#), "unknown field `wieght`, did you mean `weight`?");
        assert_eq!(error(r#""supersede":"x""#), "unknown field `supersede`, did you mean `supersedes`?");
        let thread = |field: &str| check(&line(field)).unwrap().0[0].conversation.thread.clone();
        assert_eq!(thread(r#""supersedes":["o/r#12:answer"],"checked-by":"ann""#), "o/r#12");
        assert_eq!(thread(r#""supersedes":"o/r/a.md#usage","thread":"t""#), "t");
        assert!(thread(r#""note":"n""#).starts_with("correction-"));
    }

    #[test]
    fn every_question_needs_an_answer() {
        let two = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":"q"}]}"#;
        assert_eq!(check(two).unwrap_err(), "`./c.jsonl:1`: the last question has no answer");
        let twice = r#"{"messages":[{"role":"user","content":"q"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
        assert_eq!(check(twice).unwrap_err(), "`./c.jsonl:1`: a question has no answer");
        assert_eq!(check("\n{}").unwrap_err(), "`./c.jsonl:2` is not a correction");
    }

    #[test]
    fn a_weight_is_above_zero() {
        let line = |weight: &str| format!(r#"{{"instruction":"q","output":"a","weight":{weight}}}"#);
        assert_eq!(check(&line("0.5")).unwrap().0[0].conversation.weight, Some(0.5));
        assert_eq!(check(&line("0")).unwrap_err(), "`./c.jsonl:1` has the weight 0");
        assert_eq!(check(&line("-1")).unwrap_err(), "`./c.jsonl:1` has the weight -1");
    }

    #[test]
    fn two_corrections_with_one_id_are_named_by_their_lines() {
        let line = |answer: &str| format!(r#"{{"id":"x","instruction":"q","output":"{answer}"}}"#);
        let error = check(&format!("{}\n{}\n", line("a"), line("b"))).unwrap_err();
        assert_eq!(error, "`./c.jsonl:2` has the id `x`, and so has line 1");
    }
}
