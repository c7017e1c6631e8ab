//! Which modules are trained: names, a regular expression, or all, as PEFT's `target_modules` has them.

use std::borrow::Cow;
use std::fmt;

use fancy_regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LoraError;

/// PEFT's word for all projections of the blocks.
const ALL_LINEAR: &str = "all-linear";

/// Which modules are trained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TargetModules {
    /// All projections of the blocks: `all-linear`.
    #[default]
    AllLinear,
    /// Those whose whole path a regular expression matches.
    Pattern(String),
    /// Those whose path is one of these, or ends with one behind a dot.
    Names(Vec<String>),
}

impl TargetModules {
    /// Returns what tells whether a module is meant.
    ///
    /// # Errors
    /// [`LoraError::BadPattern`].
    pub(super) fn matcher(&self) -> Result<Matcher<'_>, LoraError> {
        Ok(match self {
            Self::AllLinear => Matcher::All,
            Self::Pattern(pattern) => Matcher::Pattern(pattern, Box::new(whole(pattern, "")?)),
            Self::Names(names) => Matcher::Names(names),
        })
    }

    /// Returns why the pattern cannot be used, if it cannot.
    pub fn problem(&self) -> Option<LoraError> {
        self.matcher().err()
    }
}

/// Tells whether a module is meant.
pub(super) enum Matcher<'a> {
    All,
    Pattern(&'a str, Box<Regex>),
    Names(&'a [String]),
}

impl Matcher<'_> {
    /// Returns whether the module of this path is meant.
    ///
    /// # Errors
    /// [`LoraError::BadPattern`] when the match takes too many steps.
    pub(super) fn matches(&self, path: &str) -> Result<bool, LoraError> {
        match self {
            Self::All => Ok(true),
            Self::Pattern(pattern, regex) => is_match(regex, pattern, path),
            Self::Names(names) => Ok(names.iter().any(|name| ends_with(path, name))),
        }
    }
}

/// Returns whether a path is `name`, or ends with it behind a dot.
pub(super) fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Values by regular expressions over the ends of paths, as PEFT's `rank_pattern` and `alpha_pattern`.
pub(super) struct Patterns<'a, V>(Vec<(&'a str, Regex, V)>);

impl<'a, V: Copy> Patterns<'a, V> {
    pub(super) fn new(patterns: impl IntoIterator<Item = (&'a str, V)>) -> Result<Self, LoraError> {
        let patterns = patterns.into_iter().map(|(pattern, value)| Ok((pattern, whole(pattern, r"(?:.*\.)?")?, value)));
        Ok(Self(patterns.collect::<Result<_, LoraError>>()?))
    }

    /// Returns the patterns that match a path, with their values, in the order in which they were given.
    pub(super) fn of(&self, path: &str) -> Result<Vec<(&'a str, V)>, LoraError> {
        let mut found = Vec::new();
        for (pattern, regex, value) in &self.0 {
            if is_match(regex, pattern, path)? {
                found.push((*pattern, *value));
            }
        }
        Ok(found)
    }
}

/// Compiles a pattern that is to match as a whole, behind `before`.
fn whole(pattern: &str, before: &str) -> Result<Regex, LoraError> {
    Regex::new(&format!(r"\A{before}(?:{pattern})\z")).map_err(|cause| bad(pattern, cause))
}

fn is_match(regex: &Regex, pattern: &str, path: &str) -> Result<bool, LoraError> {
    regex.is_match(path).map_err(|cause| bad(pattern, cause))
}

fn bad(pattern: &str, cause: fancy_regex::Error) -> LoraError {
    LoraError::BadPattern { pattern: pattern.to_owned(), cause: Box::new(cause) }
}

impl Serialize for TargetModules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AllLinear => serializer.serialize_str(ALL_LINEAR),
            Self::Pattern(pattern) => serializer.serialize_str(pattern),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TargetModules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

/// Reads targets.
struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = TargetModules;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of names, a regular expression, or \"all-linear\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TargetModules, E> {
        Ok(if text.eq_ignore_ascii_case(ALL_LINEAR) {
            TargetModules::AllLinear
        } else {
            TargetModules::Pattern(text.to_owned())
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<TargetModules, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = names.next_element()? {
            all.push(name);
        }
        Ok(TargetModules::Names(all))
    }
}

impl JsonSchema for TargetModules {
    fn schema_name() -> Cow<'static, str> {
        "TargetModules".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which of four paths are meant.
    #[track_caller]
    fn check(targets: &TargetModules, expected: [bool; 4]) {
        let matcher = targets.matcher().unwrap();
        let paths = [
            "model.layers.0.self_attn.q_proj",
            "model.layers.1.self_attn.q_proj",
            "model.layers.10.self_attn.q_proj",
            "model.layers.1.mlp.up_proj",
        ];
        assert_eq!(paths.map(|path| matcher.matches(path).unwrap()), expected, "{targets:?}");
    }

    #[test]
    fn names_match_ends_of_paths_and_patterns_match_whole_paths() {
        let pattern = |text: &str| TargetModules::Pattern(text.to_owned());
        let names = |name: &str| TargetModules::Names(vec![name.to_owned()]);
        check(&TargetModules::AllLinear, [true; 4]);
        check(&names("q_proj"), [true, true, true, false]);
        check(&names("proj"), [false; 4]);
        check(&names("1.self_attn.q_proj"), [false, true, false, false]);
        check(&names("model.layers.1.mlp.up_proj"), [false, false, false, true]);
        check(&pattern("q_proj"), [false; 4]);
        check(&pattern(r".*\.(q|k)_proj"), [true, true, true, false]);
        check(&pattern(r"model\.layers\.1\..*"), [false, true, false, true]);
        // PEFT's patterns are Python's: they may look ahead.
        check(&pattern(r"(?!.*layers\.0\.).*q_proj"), [false, true, true, false]);
        check(&pattern("a|.*up_proj"), [false, false, false, true]);
    }

    #[test]
    fn patterns_for_values_match_ends_of_paths() {
        let patterns = Patterns::new([("q_proj", 8), (r"layers\.1\..*", 16)]).unwrap();
        let of = |path: &str| patterns.of(path).unwrap().into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(of("model.layers.1.self_attn.q_proj"), [8, 16]);
        assert_eq!(of("model.layers.10.self_attn.q_proj"), [8]);
        assert_eq!(of("model.layers.0.self_attn.kq_proj"), [0; 0]);
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let error = TargetModules::Pattern("(q".into()).problem().unwrap();
        assert_eq!(error.to_string(), "`(q` is no regular expression");
    }

    #[test]
    fn targets_are_read_from_text_and_lists_and_written_alike() {
        for json in [r#""all-linear""#, r#"".*q_proj""#, r#"["q_proj","v_proj"]"#] {
            let targets: TargetModules = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&targets).unwrap(), json);
        }
        let error = serde_json::from_str::<TargetModules>("3").unwrap_err().to_string();
        assert!(error.contains("expected an array of names, a regular expression, or \"all-linear\""), "{error}");
    }
}
