//! GraphQL over HTTP: what differs from other requests. A used-up limit comes as a success with an error in it.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;
use ureq::http::HeaderMap;

use super::policy::{Verdict, date, limited};
use super::{Request, Url};

impl Request<'_> {
    /// Asks a GraphQL question.
    pub fn graphql(url: Url, query: &str, variables: &serde_json::Value) -> Self {
        let mut request = Self::post_json(url, &json!({"query": query, "variables": variables})).json();
        request.is_graphql = true;
        request
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
}

/// Judges the body of an answer with a good status.
pub(super) fn judge(headers: &HeaderMap, body: &[u8], now: SystemTime) -> Verdict {
    let answer = serde_json::from_slice::<Answer>(body).unwrap_or(Answer { errors: Vec::new() });
    // A secondary limit is known by its text alone.
    let is_limit = |problem: &Problem| {
        matches!(problem.kind.as_deref(), Some("RATE_LIMITED" | "RATE_LIMIT"))
            || problem.message.to_ascii_lowercase().contains("secondary rate limit")
    };
    if answer.errors.iter().any(is_limit) {
        return limited(429, headers, body, date(headers, "date").unwrap_or(now));
    }
    Verdict::Accept
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_inside_a_success_is_a_limit() {
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")];
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let judged = |body: &str| judge(&headers, body.as_bytes(), SystemTime::UNIX_EPOCH + Duration::from_secs(20));
        let told = r#"{"data": null, "errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}"#;
        assert_eq!(judged(told), Verdict::Limited(Some(Duration::from_secs(11))));
        assert_eq!(judged(r#"{"data": {"body": "RATE_LIMITED"}}"#), Verdict::Accept);
        assert_eq!(judged(r#"{"errors": [{"type": "NOT_FOUND"}]}"#), Verdict::Accept);
        let secondary = r#"{"errors": [{"message": "You have exceeded a secondary rate limit."}]}"#;
        assert_eq!(judged(secondary), Verdict::Limited(Some(Duration::from_secs(11))));
    }
}
