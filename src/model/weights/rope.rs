//! How a GGUF says that its rotary embedding is stretched.

use super::super::config::{KNOWN_ROPE_SCALINGS, RopeScaling};
use super::super::gguf::{Header, Value};
use super::super::{ModelError, Result};

/// Returns the rotary scaling that the metadata tells, as llama.cpp understands it: a factor alone is linear, 0 is none.
/// Llama 3's is told by a tensor instead.
///
/// # Errors
/// [`ModelError::RopeScaling`] for a type that is not computed, [`ModelError::MissingKey`] for one without its factor.
pub(in super::super) fn scaling(header: &Header, architecture: &str) -> Result<RopeScaling> {
    let key = |end: &str| format!("{architecture}.rope.{end}");
    // The second is the key's name in files of 2023.
    let factor = ["scaling.factor", "scale_linear"].into_iter().find_map(|end| header.get(&key(end)));
    let factor = match factor {
        Some(Value::F32(factor)) => Some(f64::from(*factor)),
        Some(Value::F64(factor)) => Some(*factor),
        _ => None,
    };
    let factor = factor.filter(|factor| factor.is_finite() && *factor > 0.0);
    let linear = |factor| RopeScaling::Linear { factor };
    match header.get(&key("scaling.type")).map(|kind| kind.as_str().unwrap_or("unknown")) {
        None => Ok(factor.map_or(RopeScaling::None, linear)),
        Some("none") => Ok(RopeScaling::None),
        Some("linear") => factor.map(linear).ok_or_else(|| ModelError::MissingKey { key: key("scaling.factor") }),
        Some(other) => Err(ModelError::RopeScaling { found: other.to_owned(), known: KNOWN_ROPE_SCALINGS }),
    }
}
