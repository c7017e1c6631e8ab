//! Suggestions for misspelt names.

/// Below this likeness (Jaro, 0 to 1) a name is another name, not a misspelling.
const LIKENESS: f64 = 0.7;
/// A second name is suggested only when it is nearly as like as the first.
const NEARLY: f64 = 0.05;
/// Longer words, and names, are nobody's misspelling, in bytes.
const LONGEST: usize = 256;
/// More names than these are not listed.
const MOST_LISTED: usize = 12;

/// Returns up to two candidates that `word` is likely meant to be, the likeliest first.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    if word.len() > LONGEST {
        return Vec::new();
    }
    let mut scored: Vec<(f64, &str)> = candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (strsim::jaro(word, candidate), candidate))
        .filter(|(score, candidate)| *score > LIKENESS && *candidate != word)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    let best = scored.first().map_or(0.0, |(score, _)| *score);
    scored.retain(|(score, _)| best - score < NEARLY);
    scored.truncate(2);
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Returns ``did you mean `x`?``, or else what there is: `known` introduces the list, such as `node types here`.
pub(crate) fn help<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, known: &str) -> Option<String> {
    let mut candidates: Vec<&str> = candidates.into_iter().collect();
    candidates.dedup();
    match nearest(word, candidates.iter().copied()).as_slice() {
        [] => listed(&candidates, known),
        [one] => Some(format!("did you mean `{one}`?")),
        [first, second, ..] => Some(format!("did you mean `{first}` or `{second}`?")),
    }
}

fn listed(candidates: &[&str], known: &str) -> Option<String> {
    if candidates.is_empty() {
        return None;
    }
    let shown: Vec<String> = candidates.iter().take(MOST_LISTED).map(|name| format!("`{name}`")).collect();
    let more = if candidates.len() > MOST_LISTED { ", …" } else { "" };
    Some(format!("{known}: {}{more}", shown.join(", ")))
}
