//! How much memory a record's text may take, so that it is not moved while it grows.

use super::types::{Comment, Correction, Record};

/// Returns how many bytes a record may take when it is written: enough for nearly all.
pub(super) fn room<S: AsRef<str>>(record: &Record<S>) -> usize {
    /// The keys and short values of a thread or a comment.
    const FRAME: usize = 320;
    let comments =
        |comments: &[Comment<S>]| comments.iter().map(|comment| FRAME + escaped(comment.body.as_ref())).sum::<usize>();
    match record {
        Record::Issue(thread) | Record::Pull(thread) | Record::Discussion(thread) => {
            let reviews = thread.reviews.iter().map(|review| comments(review)).sum::<usize>();
            2 * FRAME
                + escaped(thread.title.as_ref())
                + escaped(thread.body.as_ref())
                + comments(&thread.comments)
                + reviews
        }
        Record::Document(document) => FRAME + escaped(&document.content),
        Record::Row(row) | Record::Correction(Correction { conversation: row, .. }) => {
            let sources = row.sources.iter().map(|source| 104 + source.id.len()).sum::<usize>();
            let turns = row.turns.iter().map(|turn| 32 + escaped(&turn.text)).sum::<usize>();
            80 + row.id.len() + row.thread.len() + sources + turns
        }
    }
}

/// Line feeds and quotes lengthen common texts by less than an eighth.
const fn escaped(text: &str) -> usize {
    text.len() + text.len() / 8
}
