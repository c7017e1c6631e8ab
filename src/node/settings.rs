//! Settings from the manifest's values to their canonical form, with every problem found in one go.

use globset::Glob;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::SettingProblem;
pub use crate::secret::environment_name;
use crate::suggest;

/// What is often written on a node and belongs to how a build is run.
const RUN_OPTIONS: [&str; 6] = ["retries", "timeout", "threads", "memory", "device", "rehearse"];

/// More problems of one node are not looked for: the settings are read once for each.
const MOST_PROBLEMS: usize = 100;

/// Reads `settings` as `S` and returns them with every default filled in.
///
/// Serde stops at the first problem; so that a user sees all of them, a refused value is taken out and the rest is
/// read again.
///
/// # Errors
/// Every unknown key, wrong type, value out of range and missing setting, each with its path.
pub fn canonical<S: Serialize + DeserializeOwned>(settings: &Value) -> Result<Value, Vec<SettingProblem>> {
    let written =
        |settings: S| serde_json::to_value(settings).map_err(|error| vec![problem(Vec::new(), error.to_string())]);
    if let Ok(right) = S::deserialize(settings) {
        return written(right);
    }
    let mut rest = settings.clone();
    let mut problems: Vec<SettingProblem> = Vec::new();
    let mut removed: Vec<Vec<String>> = Vec::new();
    loop {
        match serde_path_to_error::deserialize::<_, S>(&rest) {
            Ok(settings) if problems.is_empty() => return written(settings),
            Ok(_) => return Err(problems),
            Err(error) => {
                let mut path: Vec<String> = path_of(error.path());
                let message = error.into_inner().to_string();
                if let Some(key) = between(&message, "unknown field `", '`')
                    && path.last().is_none_or(|last| last != key)
                {
                    path.push(key.to_owned());
                }
                if let Some(key) = between(&message, "missing field `", '`') {
                    let whole: Vec<String> = path.iter().cloned().chain([key.to_owned()]).collect();
                    // Its value was wrong, or its name: that is said already.
                    let said = removed.contains(&whole) || problems.iter().any(|problem| suggests(problem, key));
                    if !said {
                        problems.push(missing_problem(path, key));
                    }
                    if !stand_in::<S>(&mut rest, &whole) {
                        return Err(problems);
                    }
                    continue;
                }
                problems.push(described(&rest, path.clone(), &message));
                if !remove(&mut rest, &path) {
                    return Err(problems);
                }
                removed.push(path);
                if problems.len() >= MOST_PROBLEMS {
                    return Err(problems);
                }
            }
        }
    }
}

/// Returns canonical settings in which a kind found these problems, beyond what their types say.
///
/// # Errors
/// All of them, when there is one.
pub fn accepted(canonical: Value, problems: Vec<SettingProblem>) -> Result<Value, Vec<SettingProblem>> {
    if problems.is_empty() { Ok(canonical) } else { Err(problems) }
}

/// Returns what is wrong by serde's words about the value at `path`.
fn described(settings: &Value, path: Vec<String>, message: &str) -> SettingProblem {
    let key = path.iter().rev().find(|step| step.parse::<usize>().is_err()).cloned().unwrap_or_default();
    if let Some(key) = between(message, "unknown field `", '`') {
        return unknown_problem(path, key, message);
    }
    if let Some(found) = between(message, "unknown variant `", '`') {
        let values: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        let help = closest(found, &values).map_or_else(
            || {
                format!(
                    "write one of {}",
                    values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
                )
            },
            |value| format!("did you mean `{value}`?"),
        );
        let message = format!("`{key}` cannot be `{found}`");
        return SettingProblem { help: Some(help), label: "no such value".into(), ..problem(path, message) };
    }
    let Some((found, expected)) =
        message.strip_prefix("invalid ").and_then(|rest| rest.split_once(": ")?.1.rsplit_once(", expected "))
    else {
        return problem(path, message.to_owned());
    };
    let expected = in_toml(expected);
    let message = format!("`{key}` must be {expected}, not {}", found_in_toml(found));
    let help = value_at(settings, &path).and_then(|value| quotes(&key, value, &expected));
    SettingProblem { label: format!("expected {expected}"), help, ..problem(path, message) }
}

/// Returns the problem of a value out of its range; `range` says which values are in it.
pub fn out_of_range(path: &[&str], range: &str) -> SettingProblem {
    let message = format!("`{}` is out of its range", path.last().unwrap_or(&""));
    SettingProblem::new(path, "settings::out_of_range", message, format!("give {range}"))
}

/// Returns the problem of a `token` that is no reference such as `example`. Its value may be a real token, so it stands
/// in no message.
pub fn literal_secret(example: &str) -> SettingProblem {
    let message = "the token is no reference to an environment variable";
    let help = format!("write `token = \"{example}\"` and set that variable; revoke a token that was committed");
    SettingProblem::new(&["token"], "settings::literal_secret", message, help)
}

/// Returns the problems of a list of globs under `key`, the first hundred.
pub fn glob_problems(key: &str, globs: &Value) -> Vec<SettingProblem> {
    let globs = globs.as_array().into_iter().flatten().filter_map(Value::as_str).enumerate();
    globs
        .filter_map(|(at, glob)| glob_problem(vec![key.to_owned(), at.to_string()], glob))
        .take(MOST_PROBLEMS)
        .collect()
}

/// Returns what is wrong with a glob, which stands at `path`.
pub fn glob_problem(path: Vec<String>, glob: &str) -> Option<SettingProblem> {
    let error = Glob::new(glob).err()?;
    let message = format!("`{glob}` is not a glob: {}", error.kind());
    let help = "globs are like `**/*.md`, `docs/{a,b}/*.md`";
    Some(SettingProblem { path, ..SettingProblem::new(&[], "settings::bad_glob", message, help) })
}

/// Returns serde's words for a type in the manifest's.
fn in_toml(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "an array",
        "a map" => "a table",
        table if table.starts_with("struct ") => "a table",
        other => other,
    }
    .to_owned()
}

fn found_in_toml(found: &str) -> String {
    match found {
        "sequence" => "an array".to_owned(),
        "map" => "a table".to_owned(),
        other => format!("the {}", other.replace("floating point", "number").replace("integer", "number")),
    }
}

/// Says when the quotes alone are wrong.
fn quotes(key: &str, value: &Value, expected: &str) -> Option<String> {
    match value {
        Value::String(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
            Some(format!("write `{key} = {text}`, without quotes"))
        }
        Value::Number(number) if expected == "a string" => Some(format!("write `{key} = \"{number}\"`")),
        Value::String(text) if expected == "an array" => Some(format!("write `{key} = [\"{}\"]`", text.escape_debug())),
        _ => None,
    }
}

fn problem(path: Vec<String>, message: String) -> SettingProblem {
    SettingProblem { path, code: "settings::wrong_value", message, label: "here".into(), help: None }
}

fn missing_problem(path: Vec<String>, key: &str) -> SettingProblem {
    SettingProblem {
        path,
        code: "settings::missing",
        message: format!("setting `{key}` is missing"),
        label: format!("has no `{key}`"),
        help: Some(format!("add `{key} = …`")),
    }
}

/// Returns whether a problem is of a missing setting of which one of `others` says that its name is misspelt.
pub(super) fn is_misspelt(problem: &SettingProblem, others: &[SettingProblem]) -> bool {
    let key = between(&problem.message, "setting `", '`').filter(|_| problem.code == "settings::missing");
    key.is_some_and(|key| others.iter().any(|other| suggests(other, key)))
}

/// Returns whether a problem says already that `key` was meant.
fn suggests(problem: &SettingProblem, key: &str) -> bool {
    problem.help.as_deref() == Some(&format!("did you mean `{key}`?"))
}

/// Returns what stands in `message` between `start`, its beginning, and `end`.
fn between<'m>(message: &'m str, start: &str, end: char) -> Option<&'m str> {
    message.strip_prefix(start)?.split(end).next()
}

/// Returns the candidate that `word` is likeliest meant to be.
fn closest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    suggest::nearest(word, candidates.iter().copied()).first().copied()
}

fn path_of(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        })
        .collect()
}

fn unknown_problem(path: Vec<String>, key: &str, message: &str) -> SettingProblem {
    let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
    SettingProblem { path, ..unknown_key(key, &known) }
}

/// Returns the problem of a setting at the top that is none of the `known` ones.
pub fn unknown_key(key: &str, known: &[&str]) -> SettingProblem {
    let help = match closest(key, known) {
        // Whatever it resembles: the word is that of an option of runs.
        _ if RUN_OPTIONS.contains(&key) => {
            format!("how a node is run stands in `[run]`, or in `[run.node.NAME]`: `{key} = …`")
        }
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "this kind takes no settings here".to_owned(),
        None => format!("settings here: {}", known.join(", ")),
    };
    SettingProblem {
        path: vec![key.to_owned()],
        code: "settings::unknown_key",
        message: format!("unknown setting `{key}`"),
        label: "no setting has this name".into(),
        help: Some(help),
    }
}

/// Returns the value at `path`.
fn value_at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Object(map) => map.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Returns the value at `path`, to change it.
fn value_at_mut<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Object(map) => map.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Puts something into the place of a missing setting, so that the next missing one is found as well; `false` when
/// nothing fits there.
fn stand_in<S: DeserializeOwned>(settings: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    if value_at(settings, path).is_some() {
        return false;
    }
    [json!(""), json!([]), json!({}), json!(0), json!(false)].into_iter().any(|value| {
        let Some(Value::Object(map)) = value_at_mut(settings, parents) else { return false };
        map.insert(last.clone(), value);
        match serde_path_to_error::deserialize::<_, S>(&*settings) {
            Ok(_) => true,
            Err(error) => !path_of(error.path()).starts_with(path),
        }
    })
}

/// Takes the value at `path` out; `false` when there is none.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    match value_at_mut(value, parents) {
        Some(Value::Object(map)) => map.remove(last).is_some(),
        Some(Value::Array(items)) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Settings {
        path: String,
        repos: Vec<String>,
        rank: u32,
        inner: Inner,
    }

    #[derive(Serialize, Deserialize)]
    struct Inner {
        on: bool,
    }

    fn said(settings: &Value) -> Vec<String> {
        let problems = canonical::<Settings>(settings).unwrap_err();
        problems.into_iter().map(|problem| format!("{} {}", problem.path.join("."), problem.message)).collect()
    }

    #[test]
    fn every_missing_setting_is_told() {
        let missing = |key: &str| format!(" setting `{key}` is missing");
        assert_eq!(said(&json!({})), ["path", "repos", "rank", "inner"].map(missing));
        let some = json!({"path": 1, "rank": 8, "inner": {}});
        assert_eq!(
            said(&some),
            [
                "inner setting `on` is missing",
                "path `path` must be a string, not the number `1`",
                " setting `repos` is missing"
            ]
        );
    }
}
