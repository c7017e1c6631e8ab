//! A file of questions, and whether an answer holds what it must: what evaluations ask, and what rows must not hold.
//!
//! ```toml
//! [[question]]
//! ask = "Which exit code says that a gate was not met?"
//! expect = ["3"]                  # all of these must be in the answer…
//! any = ["gate", "condition"]     # …and one of these…
//! forbid = ["1", "2"]             # …and none of these
//! regex = "exit code\\s+3"        # …and this must match
//! reference = "It is exit code 3." # the right answer as a whole, which similarity is measured to and a judge is shown
//! similar = 0.6                   # …and the answer must be as similar to it
//! ```
//!
//! Texts are compared as whole words, without regard to case, to runs of white space, or to Markdown's `*` and backticks.

use std::path::Path;

use miette::Diagnostic;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// What can be wrong with a file of questions.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum QuestionsError {
    /// It cannot be used.
    #[error("the questions in `{file}` cannot be used: {what}")]
    #[diagnostic(
        code(eval::bad_questions),
        help("a question is `[[question]]` with `ask = \"…\"` and `expect = [\"…\"]`; see the README")
    )]
    Bad {
        /// The file's name.
        file: String,
        /// Why, and where in it.
        what: String,
    },

    /// It cannot be read.
    #[error(transparent)]
    #[diagnostic(code(eval::io), help("check that the file can be read"))]
    Io(#[from] std::io::Error),
}

/// One question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Question {
    /// What is asked.
    pub ask: String,
    /// All of these must be in the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<String>,
    /// One of these must be in the answer, where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
    /// None of these may be in the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbid: Vec<String>,
    /// This must match the answer as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// The right answer as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How similar to the reference the answer must be, by chrF: above 0, to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similar: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(default)]
    question: Vec<Question>,
}

/// Reads a file of questions, which `name` stands for in messages.
///
/// # Errors
/// What is no TOML of this form, an empty file, a pattern that does not compile.
pub(crate) fn read(name: &str, path: &Path) -> Result<Vec<Question>, QuestionsError> {
    let text = fs_err::read_to_string(path)?;
    let bad = |what: String| QuestionsError::Bad { file: name.into(), what };
    let file: File = toml::from_str(&text).map_err(|error| bad(error.to_string().trim().to_owned()))?;
    if file.question.is_empty() {
        return Err(bad("it asks nothing".into()));
    }
    for (number, question) in (1..).zip(&file.question) {
        let bad = |what: &str| bad(format!("question {number} (`{}`) {what}", question.ask));
        if question.ask.trim().is_empty() {
            return Err(bad("asks nothing"));
        }
        if question.similar.is_some_and(|similar| !(similar > 0.0 && similar <= 1.0)) {
            return Err(bad("asks for a similarity that is not above 0 and up to 1"));
        }
        if question.similar.is_some() && question.reference.is_none() {
            return Err(bad("has `similar` without a `reference` that answers are to be similar to"));
        }
        let texts = question.expect.iter().chain(&question.any).chain(&question.forbid).chain(&question.reference);
        if texts.map(|text| normal(text)).any(|text| text.is_empty()) {
            return Err(bad("expects or forbids an empty text"));
        }
        if let Some(Err(error)) = question.pattern() {
            return Err(bad(&format!("has a bad pattern: {error}")));
        }
    }
    Ok(file.question)
}

/// Refuses questions by which no answer can be right or wrong.
///
/// # Errors
/// [`QuestionsError::Bad`] with the first of them.
#[cfg(any(feature = "llama", test))]
pub(crate) fn check_expectations(name: &str, questions: &[Question]) -> Result<(), QuestionsError> {
    match (1..).zip(questions).find(|(_, question)| !question.expects()) {
        None => Ok(()),
        Some((number, question)) => {
            let what = "expects nothing: give it `expect`, `any`, `regex` or `similar`, or name a judge";
            Err(QuestionsError::Bad {
                file: name.into(),
                what: format!("question {number} (`{}`) {what}", question.ask),
            })
        }
    }
}

impl Question {
    /// Returns whether it says which answers are right.
    #[cfg(any(feature = "llama", test))]
    pub(crate) fn expects(&self) -> bool {
        let has_pattern = self.regex.is_some() || self.similar.is_some();
        has_pattern || !self.expect.is_empty() || !self.any.is_empty() || !self.forbid.is_empty()
    }

    /// Returns how similar an answer is to the reference, where there is one: chrF of both as texts are compared here.
    #[cfg(any(feature = "llama", test))]
    pub(crate) fn similarity(&self, answer: &str) -> Option<f64> {
        let reference = self.reference.as_deref()?;
        Some(super::chrf::chrf(&normal(answer), &normal(reference)))
    }

    /// Returns whether `answer` is right.
    #[cfg(any(feature = "llama", test))]
    pub(crate) fn passes(&self, answer: &str) -> bool {
        let text = normal(answer);
        let has = |wanted: &String| holds(&text, &normal(wanted));
        self.expect.iter().all(has)
            && (self.any.is_empty() || self.any.iter().any(has))
            && !self.forbid.iter().any(has)
            && self.pattern().is_none_or(|pattern| pattern.is_ok_and(|pattern| pattern.is_match(answer)))
            && self.similar.is_none_or(|least| self.similarity(answer).is_some_and(|found| found >= least))
    }

    /// Returns whether repeating the question would be a right answer.
    #[cfg(feature = "llama")]
    pub(crate) fn gives_itself_away(&self) -> bool {
        self.expects() && self.passes(&self.ask)
    }

    fn pattern(&self) -> Option<Result<Regex, regex::Error>> {
        self.regex.as_ref().map(|pattern| RegexBuilder::new(pattern).case_insensitive(true).build())
    }
}

/// Returns a text in lower case, without Markdown's marks, with single spaces.
fn normal(text: &str) -> String {
    let text = text.to_lowercase().replace(['`', '*'], "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns whether `wanted` stands in `text` as whole words: `3` is not in `30`.
#[cfg(any(feature = "llama", test))]
fn holds(text: &str, wanted: &str) -> bool {
    let joined =
        |a: Option<char>, b: Option<char>| a.is_some_and(char::is_alphanumeric) && b.is_some_and(char::is_alphanumeric);
    text.match_indices(wanted).any(|(start, found)| {
        !joined(text[..start].chars().next_back(), found.chars().next())
            && !joined(found.chars().next_back(), text[start + found.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(toml: &str) -> Question {
        toml::from_str(&format!("ask = \"?\"\n{toml}")).unwrap()
    }

    #[test]
    fn whole_facts_count_and_fragments_do_not() {
        let check = |toml: &str, answer: &str, right: bool| {
            assert_eq!(question(toml).passes(answer), right, "{toml}: {answer}");
        };
        check(r#"expect = ["exit code 3"]"#, "It ends with **Exit\n code `3`**.", true);
        check(r#"expect = ["exit code 3"]"#, "exit code 30", false);
        check(r#"expect = ["3", "gate"]"#, "3: a gate", true);
        check(r#"expect = ["3", "gate"]"#, "3", false);
        check(r#"any = ["a", "b"]"#, "it is b", true);
        check(r#"any = ["a", "b"]"#, "ab", false);
        check("expect = [\"3\"]\nforbid = [\"4\"]", "3 or 4", false);
        check(r#"regex = "codes? +3\\b""#, "Code 3", true);
        check(r#"expect = ["--locked"]"#, "use `--locked`", true);
        let similar = "reference = \"It ends with exit code 3.\"\nsimilar = 0.7";
        check(similar, "It ends with **exit code 3**", true);
        check(similar, "It never ends.", false);
        check("reference = \"It ends with exit code 3.\"", "It never ends.", true);
    }

    #[test]
    fn files_that_cannot_be_scored_are_refused_with_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.toml");
        let fault = |text: &str| {
            fs_err::write(&path, text).unwrap();
            read("q.toml", &path).unwrap_err().to_string()
        };
        assert!(fault("[[question]]\nask = 3").contains("line 2"), "{}", fault("[[question]]\nask = 3"));
        assert!(fault("").contains("asks nothing"));
        assert!(fault("[[question]]\nask = \"a\"\nsimilar = 0.5").contains("without a `reference`"));
        assert!(fault("[[question]]\nask = \"a\"\nreference = \"b\"\nsimilar = 50").contains("up to 1"));
        let question = |toml: &str| vec![question("expect = [\"b\"]"), question(toml)];
        let nothing = check_expectations("q.toml", &question("reference = \"b\"")).unwrap_err().to_string();
        assert!(nothing.contains("question 2 (`?`) expects nothing"), "{nothing}");
        check_expectations("q.toml", &question("forbid = [\"b\"]")).unwrap();
        assert!(fault("[[question]]\nask = \"a\"\nregex = \"(\"").contains("bad pattern"));
        assert!(fault("[[question]]\nask = \"a\"\nexpct = [\"b\"]").contains("expct"));
    }
}
