//! How long to wait and how often to try, decided from a reply's status and headers alone.

use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;

use super::request::REDIRECTS;

/// What a request may cost. The defaults suit GitHub's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Tries of a request that gets no answer or a server's failure.
    pub attempts: u32,
    /// The pause before the second try; it doubles with each further one.
    pub backoff: Duration,
    /// What one try may take, from connecting to the last byte.
    pub deadline: Duration,
    /// What a request may take with all its tries, without the waits that servers ask for; one try's time at least.
    pub total: Duration,
    /// What connecting may take.
    pub connect: Duration,
    /// All that a request may wait for rate limits.
    pub max_wait: Duration,
    /// The pause where a server limits requests and does not say how long; GitHub asks for a minute. It doubles.
    pub unnamed_wait: Duration,
    /// Bytes of a body, after decompression.
    pub max_bytes: u64,
    /// Redirects of one request.
    pub max_redirects: u32,
    /// Pages of one listing.
    pub max_pages: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Duration::from_secs(1),
            deadline: Duration::from_mins(2),
            total: Duration::from_mins(10),
            connect: Duration::from_secs(15),
            max_wait: Duration::from_mins(65),
            unnamed_wait: Duration::from_mins(1),
            max_bytes: 64 << 20,
            max_redirects: 5,
            max_pages: 20_000,
        }
    }
}

/// What to do about a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is an answer.
    Accept,
    /// It names another address.
    Redirect,
    /// The earlier reply holds.
    NotModified,
    /// The server failed; another try may succeed, after the pause it names, if any.
    Failed(Option<Duration>),
    /// The server limits requests, for the time it names, if any.
    Limited(Option<Duration>),
    /// It says no.
    Refuse,
}

/// Judges a reply; `body` is how it begins. `now` serves where the server does not tell the time.
pub(super) fn judge(status: u16, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Verdict {
    let now = date(headers, "date").unwrap_or(now);
    match status {
        200..=299 => Verdict::Accept,
        304 => Verdict::NotModified,
        status if REDIRECTS.contains(&status) => Verdict::Redirect,
        403 | 429 => limited(status, headers, body, now),
        408 | 500..=599 => Verdict::Failed(retry_after(headers, now)),
        _ => Verdict::Refuse,
    }
}

/// GitHub's order: `retry-after`, then `x-ratelimit-reset` where nothing remains, else a minute. A secondary limit may
/// be told by the body's text alone.
pub(super) fn limited(status: u16, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Verdict {
    if let Some(wait) = retry_after(headers, now) {
        return Verdict::Limited(Some(wait));
    }
    let none_left = text(headers, "x-ratelimit-remaining").is_some_and(|left| left.trim() == "0");
    if none_left && let Some(reset) = text(headers, "x-ratelimit-reset").and_then(seconds) {
        let wait = match SystemTime::UNIX_EPOCH.checked_add(reset) {
            // One second more: the header is cut to whole seconds.
            Some(reset) => reset.duration_since(now).unwrap_or_default().saturating_add(Duration::from_secs(1)),
            None => reset,
        };
        return Verdict::Limited(Some(wait));
    }
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    let told = ["rate limit", "abuse detection"].iter().any(|words| body.contains(words));
    if status == 429 || none_left || told { Verdict::Limited(None) } else { Verdict::Refuse }
}

/// Reads `retry-after`, which is seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, "retry-after")?.trim();
    if let Some(wait) = seconds(value) {
        return Some(wait);
    }
    Some(date(headers, "retry-after")?.duration_since(now).unwrap_or_default())
}

/// Reads a number of seconds; one that is too large for a number is as long as any can be.
fn seconds(value: &str) -> Option<Duration> {
    let digits = value.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

/// Reads a header that is a date.
pub(super) fn date(headers: &HeaderMap, name: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, name)?.trim()).ok()
}

/// Reads a header that is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl Policy {
    /// Returns the pause before try `attempt + 1`. Many clients that failed together must not come back together, so
    /// up to half of it is spread by `seed`, which is the request's own and not a clock's.
    pub(super) fn pause(&self, attempt: u32, seed: &str) -> Duration {
        let whole = self.backoff.saturating_mul(1 << attempt.saturating_sub(1).min(6));
        let hash = blake3::hash(format!("{attempt} {seed}").as_bytes());
        let share = u32::from(hash.as_bytes()[0]);
        whole.saturating_sub(whole / 2 * share / 255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &str)], body: &str) -> Verdict {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        judge(status, &headers, body.as_bytes(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000))
    }

    fn limited_for(seconds: u64) -> Verdict {
        Verdict::Limited(Some(Duration::from_secs(seconds)))
    }

    #[test]
    fn a_used_up_limit_waits_for_its_reset() {
        let reset = ("x-ratelimit-reset", "1030");
        assert_eq!(judged(403, &[("x-ratelimit-remaining", "0"), reset], "{}"), limited_for(31));
        assert_eq!(judged(429, &[("x-ratelimit-remaining", "0"), reset], "{}"), limited_for(31));
        assert_eq!(judged(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], "{}"), limited_for(1));
        assert_eq!(judged(403, &[("x-ratelimit-remaining", "12"), reset], "{}"), Verdict::Refuse);
    }

    #[test]
    fn the_servers_clock_is_the_one_that_counts() {
        let headers =
            [("date", "Thu, 01 Jan 1970 00:17:00 GMT"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1030")];
        assert_eq!(judged(403, &headers, ""), limited_for(11));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_comes_first() {
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9999"), ("retry-after", "7")];
        assert_eq!(judged(403, &used_up, ""), limited_for(7));
        assert_eq!(judged(429, &[("retry-after", "Thu, 01 Jan 1970 00:16:50 GMT")], ""), limited_for(10));
        assert_eq!(judged(503, &[("retry-after", "3")], ""), Verdict::Failed(Some(Duration::from_secs(3))));
    }

    #[test]
    fn numbers_beyond_all_time_are_read_as_the_longest_waits() {
        for (reset, wait) in [
            ("1795000000000", 1_794_999_999_001),
            ("18446744073709551615", u64::MAX),
            ("99999999999999999999", u64::MAX),
        ] {
            let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)];
            assert_eq!(judged(403, &headers, ""), limited_for(wait), "{reset}");
        }
        assert_eq!(judged(429, &[("retry-after", "99999999999999999999")], ""), limited_for(u64::MAX));
        assert_eq!(judged(429, &[("retry-after", "-5")], ""), Verdict::Limited(None));
    }

    #[test]
    fn a_secondary_limit_is_known_by_its_text() {
        let text = r#"{"message": "You have exceeded a secondary rate limit."}"#;
        assert_eq!(judged(403, &[("x-ratelimit-remaining", "4000")], text), Verdict::Limited(None));
        assert_eq!(judged(403, &[], r#"{"message": "Resource not accessible"}"#), Verdict::Refuse);
        assert_eq!(judged(429, &[], ""), Verdict::Limited(None));
    }

    #[test]
    fn pauses_grow_and_differ_between_requests() {
        let policy = Policy::default();
        let whole = |attempt: u32| policy.backoff * (1 << (attempt - 1));
        for attempt in 1..=5 {
            let pause = policy.pause(attempt, "a");
            assert!(pause <= whole(attempt) && pause >= whole(attempt) / 2, "{attempt}: {pause:?}");
        }
        assert_ne!(policy.pause(3, "a"), policy.pause(3, "b"));
        assert_eq!(policy.pause(3, "a"), policy.pause(3, "a"));
    }
}
