//! Which comment of a thread is its answer.
//!
//! It is never the asker's, nor said to somebody else, unless it was marked as the answer or the settings take those too. In
//! this order:
//!
//! 1. what was marked as the answer of a discussion,
//! 2. the comment after which the asker says that it worked,
//! 3. a maintainer's,
//! 4. one that says what fixed it ("fixed by #12", "the fix is released"),
//! 5. the one that explains most: its length, code, commands, reactions; of equal ones the first.

use super::noise::substance;
use super::people::{Speaker, confirms, is_maintainer, is_to_another, names_a_fix, tells_a_solution};
use super::rules::Rules;
use super::settings::Answerers;
use super::{Comment, Thread};
use crate::node::filter::text::characters;

/// A comment that may be an answer.
pub(super) struct Answer<'a> {
    pub(super) comment: &'a Comment<'a>,
    /// What it says without noise.
    pub(super) text: String,
    /// It is said to somebody who did not ask, and nobody marked it as the answer.
    is_to_another: bool,
    rank: Rank,
}

/// The greatest is the answer.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Rank {
    mark: Mark,
    maintainer: bool,
    fix: bool,
    score: f64,
}

/// What was said of a comment later.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Mark {
    Nothing,
    /// The asker says that it worked.
    Confirmed,
    /// It is the answer of a discussion.
    Accepted,
}

impl Answer<'_> {
    /// Returns why it was chosen, for the report.
    pub(super) fn reason(&self) -> &'static str {
        match self.rank {
            Rank { mark: Mark::Accepted, .. } => "answers marked as the answer",
            Rank { mark: Mark::Confirmed, .. } => "answers confirmed by the asker",
            Rank { maintainer: true, .. } => "answers by a maintainer",
            Rank { fix: true, .. } => "answers that say what fixed it",
            Rank { .. } => "answers that explain most",
        }
    }
}

/// Returns the answer of a thread, or why there is none.
pub(super) fn best<'a>(
    thread: &'a Thread<'a>,
    speakers: &[Speaker],
    rules: &Rules<'_>,
) -> Result<Answer<'a>, &'static str> {
    let confirmed = confirmed(thread, speakers);
    let answer = |(place, comment): (usize, &'a Comment<'a>)| {
        let text = rules.without_noise(&comment.body);
        let mark = if comment.accepted {
            Mark::Accepted
        } else if confirmed.contains(&place) {
            Mark::Confirmed
        } else {
            Mark::Nothing
        };
        let rank = Rank {
            mark,
            maintainer: is_maintainer(&comment.author),
            fix: names_a_fix(&text),
            score: score(&text, comment),
        };
        let is_to_another = !rules.settings.answers_to_others
            && mark == Mark::Nothing
            && speakers[place] != Speaker::Asker
            && is_to_another(thread, comment);
        Answer { comment, text, is_to_another, rank }
    };
    let comments = || thread.comments.iter().enumerate();
    let others = comments().filter(|(place, comment)| match speakers[*place] {
        Speaker::Other => comment.accepted || rules.may_answer(comment),
        Speaker::Bot => false,
        Speaker::Asker | Speaker::FellowAsker | Speaker::Unknown => comment.accepted,
    });
    let found = chosen(others.map(answer).collect(), rules);
    let (Err(_), true) = (&found, rules.settings.own_solutions) else {
        return found.map_err(|none| none.reason(speakers, rules));
    };
    let own =
        comments().filter(|(place, comment)| speakers[*place] == Speaker::Asker && tells_a_solution(&comment.body));
    chosen(own.map(answer).collect(), rules).or(found).map_err(|none| none.reason(speakers, rules))
}

/// Returns the places of comments after which the asker says that they were right.
fn confirmed(thread: &Thread<'_>, speakers: &[Speaker]) -> Vec<usize> {
    let thanks = thread.comments.iter().enumerate();
    let thanks = thanks.filter(|(place, comment)| speakers[*place] == Speaker::Asker && confirms(&comment.body));
    thanks.filter_map(|(place, _)| speakers[..place].iter().rposition(|speaker| *speaker == Speaker::Other)).collect()
}

/// Why nothing was chosen.
enum NoAnswer {
    NobodyElse,
    TooShort,
    OnlyAsks,
    ToAnother,
}

impl NoAnswer {
    fn reason(&self, speakers: &[Speaker], rules: &Rules<'_>) -> &'static str {
        match self {
            Self::TooShort => "every answer is too short",
            Self::OnlyAsks => "every answer only asks back",
            Self::ToAnother => "every answer is to somebody else",
            Self::NobodyElse
                if speakers.contains(&Speaker::Other) && rules.settings.answerers == Answerers::Maintainers =>
            {
                "no maintainer answered"
            }
            Self::NobodyElse if speakers.contains(&Speaker::Unknown) => "answer's author cannot be told from the asker",
            Self::NobodyElse if speakers.contains(&Speaker::FellowAsker) => "only askers commented",
            Self::NobodyElse if speakers.contains(&Speaker::Asker) => "only the asker commented",
            Self::NobodyElse => "only bots commented",
        }
    }
}

fn chosen<'a>(answers: Vec<Answer<'a>>, rules: &Rules<'_>) -> Result<Answer<'a>, NoAnswer> {
    if answers.is_empty() {
        return Err(NoAnswer::NobodyElse);
    }
    let least = rules.settings.min_answer_characters;
    let long: Vec<Answer<'_>> = answers.into_iter().filter(|answer| substance(&answer.text) >= least).collect();
    if long.is_empty() {
        return Err(NoAnswer::TooShort);
    }
    let to_asker: Vec<Answer<'_>> = long.into_iter().filter(|answer| !answer.is_to_another).collect();
    if to_asker.is_empty() {
        return Err(NoAnswer::ToAnother);
    }
    let explaining = to_asker.into_iter().filter(|answer| answer.comment.accepted || !rules.only_asks(&answer.text));
    let best = explaining.reduce(|best, answer| if answer.rank > best.rank { answer } else { best });
    best.ok_or(NoAnswer::OnlyAsks)
}

/// Returns how much a comment explains: its length up to 1,600 characters, code, commands in the text, reactions.
fn score(text: &str, comment: &Comment<'_>) -> f64 {
    let length = (characters(text) as f64 / 200.0).min(8.0);
    let fences = text.lines().filter(|line| line.trim_start().starts_with("```")).count() / 2;
    let spans = text.matches('`').count().saturating_sub(fences * 6) / 2;
    length + 1.5 * fences.min(3) as f64 + 0.3 * spans.min(10) as f64 + (1.0 + comment.reactions as f64).ln()
}
