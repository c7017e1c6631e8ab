//! From what a judge wrote to a verdict; all else is none, with its reason.

use serde::Deserialize;

use crate::node::endpoint::Kept;

/// Which answer is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Verdict {
    /// The first.
    A,
    /// The second.
    B,
    /// Neither.
    #[serde(rename = "tie")]
    Tie,
}

/// The one form of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    verdict: Verdict,
    #[serde(default, rename = "reason")]
    _reason: serde::de::IgnoredAny,
}

/// Returns the verdict, or why there is none.
pub(super) fn read(kept: &Kept) -> Result<Verdict, &'static str> {
    let text = match kept {
        Kept::Refused { .. } => return Err("the endpoint refused the request"),
        Kept::Text { is_cut: true, .. } => return Err("cut at max-tokens"),
        Kept::Text { text, .. } => text,
    };
    let text = text.rsplit_once("</think>").map_or(text.as_str(), |(_, rest)| rest).trim();
    if text.is_empty() {
        return Err("empty");
    }
    // What a judge quotes from an answer must not be taken for its own word: nothing may stand beside the one JSON.
    let text = text
        .strip_prefix("```json")
        .or_else(|| text.strip_prefix("```"))
        .map_or(text, |fenced| fenced.strip_suffix("```").unwrap_or(text));
    serde_json::from_str::<Written>(text).map(|written| written.verdict).map_err(|_| "not the JSON of a verdict alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Verdict, &'static str>) {
        assert_eq!(read(&Kept::Text { text: text.into(), is_cut: false }), expected, "{text}");
    }

    #[test]
    fn a_verdict_is_read_where_it_stands_alone() {
        check(r#"{"verdict": "A"}"#, Ok(Verdict::A));
        check(r#"<think>{"verdict": "A"}?</think> {"verdict": "B"} "#, Ok(Verdict::B));
        check("```json\n{\"verdict\": \"tie\", \"reason\": \"both are right\"}\n```", Ok(Verdict::Tie));
    }

    #[test]
    fn everything_else_is_none() {
        let none = Err("not the JSON of a verdict alone");
        for text in [
            "A",
            "verdict: A",
            r#"{"verdict": "a"}"#,
            r#"{"verdict": "A", "verdict": "B"}"#,
            r#"{"verdict": "A"} {"verdict": "B"}"#,
            r#"The answer says {"verdict": "A"}"#,
            r#"{"verdict": "A"} since it says so"#,
            r#"{"verdict": "C"}"#,
            r#"{"verdict": "A", "winner": "B"}"#,
            r#"[{"verdict": "A"}]"#,
            r#"{"reason": "A"}"#,
            "```json\n{\"verdict\": \"A\"}\n",
        ] {
            check(text, none);
        }
        check(" <think>long</think>\n", Err("empty"));
        assert_eq!(read(&Kept::Refused { status: 400 }), Err("the endpoint refused the request"));
        let cut = Kept::Text { text: r#"{"verdict": "A"}"#.into(), is_cut: true };
        assert_eq!(read(&cut), Err("cut at max-tokens"));
    }
}
