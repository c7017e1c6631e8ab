//! The path of a value, in the words of `helm --set`: `ollama.model`, `models[0].name`, `labels.app\.kubernetes\.io/name`.

use std::fmt;
use std::str::FromStr;

use super::YamlError;

/// The path of a value: at least one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node::export::helm_values) struct ValuePath(pub(super) Vec<Step>);

/// One step into a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key.
    Key(String),
    /// An entry of a list, from 0.
    Index(usize),
}

impl FromStr for ValuePath {
    type Err = YamlError;

    fn from_str(text: &str) -> Result<Self, YamlError> {
        let bad = |why| YamlError::BadPath { path: text.to_owned(), why };
        let mut steps = Vec::new();
        let mut key = String::new();
        let mut is_open = true;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some(escaped @ ('.' | '\\' | '[' | ']')) => key.push(escaped),
                    _ => return Err(bad("`\\` stands before a dot, a bracket or another `\\`")),
                },
                '.' if is_open && key.is_empty() => return Err(bad("a key is empty")),
                '.' => {
                    if is_open {
                        steps.push(Step::Key(std::mem::take(&mut key)));
                    }
                    is_open = true;
                }
                '[' => {
                    if is_open && (!key.is_empty() || !steps.is_empty()) {
                        if key.is_empty() {
                            return Err(bad("a key is empty"));
                        }
                        steps.push(Step::Key(std::mem::take(&mut key)));
                    }
                    is_open = false;
                    let digits: String = characters.by_ref().take_while(|next| *next != ']').collect();
                    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                    let index = digits.parse().ok().filter(|_| is_number);
                    steps.push(Step::Index(index.ok_or_else(|| bad("a number stands in brackets"))?));
                }
                ']' => return Err(bad("a bracket is closed that none opened")),
                _ if !is_open => return Err(bad("a dot stands between an entry and its key")),
                other => key.push(other),
            }
        }
        match (is_open, key.is_empty()) {
            (true, true) => Err(bad("a key is empty")),
            (true, false) => {
                steps.push(Step::Key(key));
                Ok(Self(steps))
            }
            (false, _) if text.ends_with(']') => Ok(Self(steps)),
            (false, _) => Err(bad("a bracket is not closed")),
        }
    }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&written(&self.0))
    }
}

/// Returns steps as they are written; nothing for none.
pub(super) fn written(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                for character in key.chars() {
                    if matches!(character, '.' | '\\' | '[' | ']') {
                        text.push('\\');
                    }
                    text.push(character);
                }
            }
        }
    }
    text
}
