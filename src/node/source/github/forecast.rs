//! What a fetch or a refresh is going to ask, from the last snapshot alone.

use super::graphql::BATCH;
use super::rest::PAGE;
use super::settings::{Settings, Sweep};
use super::subject::Subject;
use crate::node::source::access::AN_HOUR;
use crate::node::{Forecast, Outlook};
use crate::store::Artifact;

/// Requests in a second, a few of them at once: GitHub takes about half a second for a page.
const A_SECOND: u64 = 4;

/// Forecasts the requests of a run.
pub(super) fn forecast(subject: Subject, settings: &Settings, outlook: &Outlook<'_>) -> Forecast {
    let previous = outlook.previous;
    let advice = settings.access().advice(outlook.secrets);
    let has_token = advice.is_none();
    let advice = advice.unwrap_or_default();
    let join = |parts: [String; 2]| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    let (Some(Artifact::Records(records)), true) = (previous.get("records"), previous.contains_key("cursor")) else {
        let note = join([first(subject, settings, has_token), advice]);
        return Forecast { note, ..Forecast::default() };
    };
    let repos = settings.repos.len() as u64;
    let (lists, page) = match subject {
        Subject::Issues => (2, PAGE),
        Subject::Pulls => (3, PAGE),
        Subject::Discussions => (1, BATCH),
    };
    let sweep = records.count / page + repos;
    let (more, note) = match settings.sweep() {
        Some(Sweep::Always) => (sweep, String::new()),
        Some(Sweep::Every(period)) => {
            (0, format!("every {} about {sweep} more to find what is gone", humantime::format_duration(period)))
        }
        _ => (0, String::new()),
    };
    let requests = repos * lists + more;
    let note = join([format!("one more for each {PAGE} changes"), note]);
    let seconds =
        if has_token { requests.div_ceil(A_SECOND) } else { hours(requests) * 3600 + requests.div_ceil(A_SECOND) };
    let advice = if requests > AN_HOUR { advice } else { String::new() };
    Forecast { requests: Some(requests), seconds: Some(seconds), note: join([note, advice]), ..Forecast::default() }
}

/// Returns what can be said before anything was fetched.
fn first(subject: Subject, settings: &Settings, has_token: bool) -> String {
    let example = "5,000 threads with 20,000 comments";
    if let Some(seed) = settings.seed.as_deref() {
        return format!("one request for each {PAGE} threads, and what `{seed}` lacks");
    }
    match (subject, has_token) {
        (Subject::Discussions, false) => "discussions cannot be read without a token".to_owned(),
        (_, true) => {
            format!("how many requests is known after the first answer: {example} take 100 to 250")
        }
        (_, false) => format!(
            "how many requests is known after the first answer: {example} take 250, about {} hours; stop and go on at \
             any time",
            hours(250)
        ),
    }
}

/// Returns how many hours requests wait without a token: the first sixty do not.
fn hours(requests: u64) -> u64 {
    requests.saturating_sub(1) / AN_HOUR
}
