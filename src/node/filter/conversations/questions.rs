//! How questions are worded where nobody asked one.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use memchr::memmem;
use regex::Regex;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::text::pattern;
use crate::node::SettingProblem;
use crate::store::Digest;

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\{[A-Za-z_-]*\}"));

/// Ways to word one kind of question: a string, or an array of them. Which one a row gets follows from what the question is
/// about, so that rows vary, copies of a document stay copies, and none changes its wording when others come; one more
/// template moves only its share of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(super) struct Templates(#[schemars(with = "OneOrMany")] Vec<String>);

/// For the schema alone.
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is read")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Templates {
    fn of(templates: &[&str]) -> Self {
        Self(templates.iter().map(|template| (*template).to_owned()).collect())
    }

    /// Returns the wording of the question about `topic`: of all templates the one whose hash with it is the greatest.
    pub(super) fn pick(&self, topic: &str) -> &str {
        if let [one] = self.0.as_slice() {
            return one;
        }
        let mut text = [topic, "\n"].concat();
        let start = text.len();
        let rank = |template: &&String| {
            text.truncate(start);
            text.push_str(template);
            *Digest::of(text.as_bytes()).as_bytes()
        };
        self.0.iter().max_by_key(rank).map_or("", String::as_str)
    }
}

/// Puts a value where a template has its placeholder.
pub(super) fn filled(template: &str, placeholder: &str, value: &str) -> String {
    // The standard library's `replace` makes ready for long texts, and lets the result grow.
    let mut text = String::with_capacity(template.len() + value.len());
    let mut from = 0;
    for at in memmem::find_iter(template.as_bytes(), placeholder) {
        text.push_str(&template[from..at]);
        text.push_str(value);
        from = at + placeholder.len();
    }
    text.push_str(&template[from..]);
    text
}

impl<'de> Deserialize<'de> for Templates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Templates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Templates, E> {
                Ok(Templates::of(&[text]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Templates, A::Error> {
                let mut templates = Vec::new();
                while let Some(template) = items.next_element::<Cow<'_, str>>()? {
                    templates.push(template.into_owned());
                }
                if templates.is_empty() { Err(A::Error::invalid_length(0, &self)) } else { Ok(Templates(templates)) }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Templates of questions; `{title}`, `{heading}` and `{remark}` stand for the record's.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Questions {
    /// For a pull request.
    pub(super) pull: Templates,
    /// For a review thread of a pull request; `{remark}` is what its first comment says.
    pub(super) review: Templates,
    /// For a document's text before its first heading, and under a heading such as `Overview` or one that repeats the title.
    pub(super) page: Templates,
    /// For a section.
    pub(super) section: Templates,
    /// For a section whose heading is a version, such as `stable-2.11.0` in a list of changes.
    pub(super) release: Templates,
    /// For a section whose heading says what to do, such as `How to install the CLI` or `Install the CLI`; `{heading}` is
    /// then `install the CLI`.
    pub(super) how_to: Templates,
    /// For a section whose heading starts with a verb in `-ing`, such as `Installing the CLI`; `{heading}` is then
    /// `installing the CLI`.
    pub(super) task: Templates,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            pull: Templates::of(&[
                "Explain the motivation and changes of this pull request: {title}",
                "What does the pull request \"{title}\" change, and why?",
                "Why was this change made? {title}",
            ]),
            review: Templates::of(&["In a review of \"{title}\", somebody remarks:\n\n{remark}"]),
            page: Templates::of(&[
                "Can you explain \"{title}\"?",
                "What should I know about \"{title}\"?",
                "Give me an overview of \"{title}\".",
            ]),
            section: Templates::of(&[
                "Can you explain \"{heading}\" in the context of \"{title}\"?",
                "What should I know about \"{heading}\" when it comes to \"{title}\"?",
                "I am reading about \"{title}\". What is there to say about \"{heading}\"?",
            ]),
            release: Templates::of(&[
                "What changed in {heading}?",
                "What is new in {heading}?",
                "Which changes came with {heading}?",
            ]),
            how_to: Templates::of(&[
                "How do I {heading}? (\"{title}\")",
                "How can I {heading}? It is about \"{title}\".",
                "What do I have to do to {heading}? (\"{title}\")",
            ]),
            task: Templates::of(&[
                "How do I go about {heading}? (\"{title}\")",
                "What are the steps for {heading}? (\"{title}\")",
                "What do I need to know about {heading}? (\"{title}\")",
            ]),
        }
    }
}

impl Questions {
    /// Returns every placeholder that stands for nothing.
    pub(super) fn problems(&self) -> Vec<SettingProblem> {
        let templates: [(&str, &Templates, &[&str]); 7] = [
            ("pull", &self.pull, &["{title}"]),
            ("review", &self.review, &["{title}", "{remark}"]),
            ("page", &self.page, &["{title}"]),
            ("section", &self.section, &["{heading}", "{title}"]),
            ("release", &self.release, &["{heading}", "{title}"]),
            ("how-to", &self.how_to, &["{heading}", "{title}"]),
            ("task", &self.task, &["{heading}", "{title}"]),
        ];
        let mut problems = Vec::new();
        for (key, Templates(templates), known) in templates {
            for (index, template) in templates.iter().enumerate() {
                let found = PLACEHOLDER.find_iter(template).map(|found| found.as_str());
                let at = (templates.len() > 1).then_some(index);
                problems
                    .extend(found.filter(|found| !known.contains(found)).map(|found| unknown(key, at, found, known)));
            }
        }
        problems
    }
}

fn unknown(key: &str, index: Option<usize>, found: &str, known: &[&str]) -> SettingProblem {
    let path = ["questions".to_owned(), key.to_owned()].into_iter().chain(index.map(|index| index.to_string()));
    SettingProblem {
        path: path.collect(),
        code: "settings::unknown_placeholder",
        message: format!("`{found}` stands for nothing here"),
        label: "no such placeholder".into(),
        help: Some(format!("there is {}", known.join(" and "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_as_the_standard_library_replaces() {
        let long = "a word ".repeat(40);
        for template in
            ["", "{title}", "a {title} b {title}", "{titl {title", "é{title}é", "{{title}}", &(long + "{title}.")]
        {
            for value in ["", "x", "{title}"] {
                assert_eq!(filled(template, "{title}", value), template.replace("{title}", value));
            }
        }
    }
}
