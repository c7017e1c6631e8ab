//! Issues: a question, and what others answered.

use super::Settings;
use super::people::{Speaker, is_bot, is_maintainer, speaker};
use super::row::Rows;
use super::text::{characters, clean, parts, sentences, without_noise};
use crate::record::{Comment, Role, Thread, Turn};

/// A title that is shorter says nothing without a body.
const TITLE: usize = 10;
/// With a body of this length a short title does not matter.
const BODY: usize = 80;

/// A comment that may be an answer.
struct Answer<'a> {
    comment: &'a Comment,
    text: String,
    score: f64,
}

/// Makes rows of an issue: `ID:answer` with the best answer, and `ID:thread` when the asker came back and was answered
/// again.
pub(super) fn rows(thread: &Thread, settings: &Settings, rows: &mut Rows<'_>) {
    if is_bot(&thread.author, &settings.bots) {
        return rows.dropped("issue: opened by a bot");
    }
    let (title, body) = (thread.title.trim(), clean(&thread.body));
    if characters(title) < TITLE && characters(&body) < BODY {
        return rows.dropped("issue: title and body too short to be a question");
    }
    if thread.comments.is_empty() {
        return rows.dropped("issue: no comments");
    }
    let question = question(title, &body, settings, rows);
    let speakers: Vec<Speaker> =
        thread.comments.iter().map(|comment| speaker(thread, comment, &settings.bots)).collect();
    match best(thread, &speakers, settings) {
        Ok(answer) => {
            let answer = shortened(&answer.text, settings.max_answer_characters, "answer", rows);
            rows.pair("answer", question.clone(), answer);
        }
        Err(reason) => return rows.dropped(reason),
    }
    if let Some(turns) = dialogue(thread, &speakers, question, settings) {
        rows.conversation("thread", turns);
    }
}

/// Returns title and body, cut between paragraphs when they are too long.
fn question(title: &str, body: &str, settings: &Settings, rows: &mut Rows<'_>) -> String {
    let body = shortened(body, settings.max_question_characters, "question", rows);
    if body.is_empty() { title.to_owned() } else { format!("{title}\n\n{body}") }
}

/// Returns the first paragraphs of a text that is too long.
pub(super) fn shortened(text: &str, limit: usize, what: &str, rows: &mut Rows<'_>) -> String {
    let mut parts = parts(text, limit).into_iter();
    let first = parts.next().unwrap_or_default();
    if parts.next().is_some() {
        rows.count(&format!("{what} cut between paragraphs: longer than {limit} characters"), 1);
    }
    first
}

/// Returns the best answer, or why there is none. What was marked as the answer comes first, then maintainers, then the
/// score, then the earlier one.
fn best<'a>(thread: &'a Thread, speakers: &[Speaker], settings: &Settings) -> Result<Answer<'a>, &'static str> {
    let of = |wanted: Speaker| speakers.iter().filter(|speaker| **speaker == wanted).count();
    if of(Speaker::Other) == 0 {
        return Err(if of(Speaker::Unknown) > 0 {
            "issue: answer's author cannot be told from the asker"
        } else if of(Speaker::FellowAsker) > 0 {
            "issue: only askers commented"
        } else if of(Speaker::Asker) > 0 {
            "issue: only the asker commented"
        } else {
            "issue: only bots commented"
        });
    }
    let answers = thread.comments.iter().zip(speakers).filter(|(_, speaker)| **speaker == Speaker::Other);
    let answers: Vec<Answer<'_>> = answers
        .map(|(comment, _)| {
            let text = without_noise(&clean(&comment.body));
            Answer { comment, score: score(&text, comment), text }
        })
        .collect();
    let long: Vec<Answer<'_>> =
        answers.into_iter().filter(|answer| characters(&answer.text) >= settings.min_answer_characters).collect();
    if long.is_empty() {
        return Err("issue: every answer is too short");
    }
    let mut best: Option<Answer<'_>> = None;
    for answer in long.into_iter().filter(|answer| !only_asks(&answer.text)) {
        let rank = |answer: &Answer<'_>| (answer.comment.accepted, is_maintainer(&answer.comment.author), answer.score);
        if best.as_ref().is_none_or(|best| rank(&answer) > rank(best)) {
            best = Some(answer);
        }
    }
    best.ok_or("issue: every answer only asks back")
}

/// Returns how much a comment explains: its length up to 1,600 characters, code, commands in the text, reactions.
fn score(text: &str, comment: &Comment) -> f64 {
    let length = (characters(text) as f64 / 200.0).min(8.0);
    let fences = text.lines().filter(|line| line.trim_start().starts_with("```")).count() / 2;
    let spans = text.matches('`').count().saturating_sub(fences * 6) / 2;
    length + 1.5 * fences.min(3) as f64 + 0.3 * spans.min(10) as f64 + (1.0 + comment.reactions as f64).ln()
}

/// Returns whether at least half of a comment's sentences are questions, such as for logs; code and quotes do not count.
fn only_asks(text: &str) -> bool {
    let mut in_fence = false;
    let mut asked = 0;
    let mut all = 0;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence && !line.starts_with('>') {
            for sentence in sentences(line).into_iter().map(str::trim).filter(|sentence| !sentence.is_empty()) {
                all += 1;
                asked += usize::from(sentence.trim_end_matches([')', '*', '_']).ends_with('?'));
            }
        }
    }
    asked * 2 >= all
}

/// Returns the thread as a dialogue in order of time: the asker's turns and those of all others, merged where one side
/// speaks twice. Nothing when the asker did not come back, or when somebody is unknown.
fn dialogue(thread: &Thread, speakers: &[Speaker], question: String, settings: &Settings) -> Option<Vec<Turn>> {
    if speakers.contains(&Speaker::Unknown) {
        return None;
    }
    let mut turns = vec![Turn { role: Role::User, text: question }];
    for (comment, speaker) in thread.comments.iter().zip(speakers) {
        let role = match speaker {
            Speaker::Asker => Role::User,
            Speaker::Other => Role::Assistant,
            Speaker::FellowAsker | Speaker::Bot | Speaker::Unknown => continue,
        };
        let text = without_noise(&clean(&comment.body));
        let length: usize = turns.iter().map(|turn| characters(&turn.text)).sum();
        if text.is_empty() {
            continue;
        }
        if length + characters(&text) > settings.max_question_characters + settings.max_answer_characters {
            break;
        }
        match turns.last_mut() {
            Some(last) if last.role == role => {
                last.text.push_str("\n\n");
                last.text.push_str(&text);
            }
            _ => turns.push(Turn { role, text }),
        }
    }
    while turns.last().is_some_and(|turn| {
        turn.role == Role::User || characters(&turn.text) < settings.min_answer_characters || only_asks(&turn.text)
    }) {
        turns.pop();
    }
    (turns.len() >= 4).then_some(turns)
}
