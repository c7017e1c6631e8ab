//! Values to Rust types, with a problem for each that does not fit.

use std::time::Duration;

use miette::SourceSpan;

use super::Family;
use super::error::ManifestError;
use super::problems::Gathered;
use super::run::Device;
use super::value::{Data, Spanned, Table, Value};

/// Where problems go.
pub(super) type Sink = Gathered<ManifestError>;

/// Returns the value as a string.
pub(super) fn string(key: &str, value: &Value, problems: &mut Sink) -> Option<Spanned<String>> {
    match value.as_str() {
        Some(text) => Some(Spanned { value: text.to_owned(), span: value.span }),
        None => wrong_type(key, value, "a string", None, problems),
    }
}

/// Returns the value as a string with something in it and no control characters.
pub(super) fn plain_string(key: &str, value: &Value, problems: &mut Sink) -> Option<Spanned<String>> {
    let text = string(key, value, problems)?;
    if text.value.is_empty() {
        return wrong_value(key, text.span, "it is empty", None, problems);
    }
    if text.value.contains(char::is_control) {
        return wrong_value(key, text.span, "it has control characters", None, problems);
    }
    Some(text)
}

/// Says how a table is written that people write otherwise.
fn table_help(key: &str) -> Option<String> {
    let is_family = Family::NAMED.iter().any(|family| family.as_str() == key);
    let is_matrix = key == "matrix";
    is_family.then(|| format!("a node is a table: `[{key}.NAME]`")).or_else(|| {
        is_matrix.then(|| "write `matrix = { rank = [8, 16] }`: a setting and the values that it takes".into())
    })
}

/// Returns the value as a table.
pub(super) fn table<'a>(key: &str, value: &'a Value, problems: &mut Sink) -> Option<&'a Table> {
    match value.as_table() {
        Some(table) => Some(table),
        None => wrong_type(key, value, "a table", table_help(key), problems),
    }
}

/// Returns the value as a boolean.
pub(super) fn boolean(key: &str, value: &Value, problems: &mut Sink) -> Option<bool> {
    match value.data {
        Data::Boolean(flag) => Some(flag),
        _ => wrong_type(key, value, "`true` or `false`", None, problems),
    }
}

/// Returns the value as a count of at least `least`.
pub(super) fn count(key: &str, value: &Value, least: u32, problems: &mut Sink) -> Option<u32> {
    let Data::Integer(number) = value.data else {
        return wrong_type(key, value, "an integer", None, problems);
    };
    match u32::try_from(number) {
        Ok(number) if number >= least => Some(number),
        _ => wrong_value(key, value.span, &format!("it must be {least} or more, and fit 32 bits"), None, problems),
    }
}

/// Returns the value as a time span, such as `"90s"` or `"2h 30m"`.
pub(super) fn duration(key: &str, value: &Value, problems: &mut Sink) -> Option<Duration> {
    let help = || Some(format!("write a time with its unit, such as `{key} = \"2h 30m\"`"));
    let Some(text) = value.as_str() else {
        return wrong_type(key, value, "a time in a string", help(), problems);
    };
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Some(time),
        _ => wrong_value(key, value.span, "not a time above zero", help(), problems),
    }
}

/// Returns the value as a device: `"cpu"`, `"cuda"` or `"cuda:1"`.
pub(super) fn device(key: &str, value: &Value, problems: &mut Sink) -> Option<Device> {
    let help = || Some(format!("write `{key} = \"cpu\"`, `\"cuda\"`, or `\"cuda:1\"` for the second GPU"));
    let Some(text) = value.as_str() else {
        return wrong_type(key, value, "a device in a string", help(), problems);
    };
    let found = match text {
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        _ => text.strip_prefix("cuda:").and_then(|number| number.parse().ok()).map(Device::Cuda),
    };
    found.or_else(|| wrong_value(key, value.span, "no device has this name", help(), problems))
}

/// Returns the value as a number of bytes, such as `"24 GiB"` or `8_000_000_000`.
pub(super) fn bytes(key: &str, value: &Value, problems: &mut Sink) -> Option<u64> {
    let help = || {
        Some(format!("write a size with its unit, such as `{key} = \"24 GiB\"`; units: B kB MB GB TB KiB MiB GiB TiB"))
    };
    let found = match &value.data {
        Data::Integer(number) => u64::try_from(*number).ok(),
        Data::String(text) => parse_bytes(text),
        _ => return wrong_type(key, value, "a size", help(), problems),
    };
    match found {
        Some(bytes) if bytes > 0 => Some(bytes),
        _ => wrong_value(key, value.span, "not a size above zero", help(), problems),
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Reports a value of the wrong type.
pub(super) fn wrong_type<T>(
    key: &str,
    value: &Value,
    expected: &'static str,
    help: Option<String>,
    problems: &mut Sink,
) -> Option<T> {
    let found = value.data.type_name();
    problems.push(ManifestError::WrongType { key: key.to_owned(), found, expected, at: value.span, help });
    None
}

/// Reports a value that says nothing valid.
pub(super) fn wrong_value<T>(
    key: &str,
    at: SourceSpan,
    why: &str,
    help: Option<String>,
    problems: &mut Sink,
) -> Option<T> {
    problems.push(ManifestError::WrongValue { key: key.to_owned(), why: why.to_owned(), at, help });
    None
}
