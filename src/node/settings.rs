//! Settings from the manifest's values to their canonical form, with every problem found in one go.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::SettingProblem;

/// Reads `settings` as `S` and returns them with every default filled in.
///
/// Serde stops at the first problem; so that a user sees all of them, a refused value is taken out and the rest is
/// read again.
///
/// # Errors
/// Every unknown key, wrong type, value out of range and missing setting, each with its path.
pub fn canonical<S: Serialize + DeserializeOwned>(settings: &Value) -> Result<Value, Vec<SettingProblem>> {
    let written = |settings: S| {
        serde_json::to_value(settings)
            .map_err(|error| vec![problem(Vec::new(), "settings::unwritable", error.to_string())])
    };
    if let Ok(right) = S::deserialize(settings) {
        return written(right);
    }
    let mut rest = settings.clone();
    let mut problems = Vec::new();
    loop {
        match serde_path_to_error::deserialize::<_, S>(&rest) {
            Ok(settings) if problems.is_empty() => return written(settings),
            Ok(_) => return Err(problems),
            Err(error) => {
                let mut path: Vec<String> = path_of(error.path());
                let message = error.into_inner().to_string();
                let unknown = unknown_key(&message).map(str::to_owned);
                if let Some(key) = &unknown
                    && path.last() != Some(key)
                {
                    path.push(key.clone());
                }
                let removed = remove(&mut rest, &path);
                problems.push(match unknown {
                    Some(key) => unknown_problem(path, &key, &message),
                    None => problem(path, "settings::wrong_value", reworded(&message)),
                });
                if !removed {
                    return Err(problems);
                }
            }
        }
    }
}

fn problem(path: Vec<String>, code: &'static str, message: String) -> SettingProblem {
    SettingProblem { path, code, message, label: "here".into(), help: None }
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

/// Returns the key of serde's ``unknown field `x`, expected …``.
fn unknown_key(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

fn unknown_problem(path: Vec<String>, key: &str, message: &str) -> SettingProblem {
    let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
    let best = known
        .iter()
        .map(|name| (strsim::jaro(key, name), *name))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let help = match best {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "this kind takes no settings here".to_owned(),
        None => format!("settings here: {}", known.join(", ")),
    };
    SettingProblem {
        path,
        code: "settings::unknown_key",
        message: format!("unknown setting `{key}`"),
        label: "no setting has this name".into(),
        help: Some(help),
    }
}

/// Says serde's words in the manifest's: TOML has arrays, tables and integers.
fn reworded(message: &str) -> String {
    message
        .replace("missing field", "missing setting")
        .replace("a sequence", "an array")
        .replace("sequence", "array")
        .replace("unknown variant", "unknown value")
}

/// Takes the value at `path` out; `false` when there is none.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut at = value;
    for key in parents {
        let next = match at {
            Value::Object(map) => map.get_mut(key),
            Value::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    match at {
        Value::Object(map) => map.remove(last).is_some(),
        Value::Array(items) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}
