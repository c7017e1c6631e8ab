//! From lists of threads and lists of comments to whole threads.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{GithubError, Result};
use super::fetch::Fetch;
use super::subject::Subject;
use super::wire::{Listed, Posted};
use crate::net::NetError;
use crate::record::{Comment, Thread};

/// Threads and comments of one repository on their way to each other.
pub(super) struct Join<'j, 'a, 'r> {
    pub(super) fetch: &'j Fetch<'a, 'r>,
    pub(super) repo: &'j str,
    pub(super) threads: BTreeMap<u64, Thread>,
    /// Numbers of what is not the subject, and of what is gone.
    pub(super) others: BTreeSet<u64>,
    /// How many comments GitHub counts, for the threads whose number of comments is to be right.
    pub(super) counts: BTreeMap<u64, u64>,
    /// Comments on the subject that were read, known ones among them.
    pub(super) comments: u64,
    /// Comments of reviews that were read.
    pub(super) reviews: u64,
}

impl<'j, 'a, 'r> Join<'j, 'a, 'r> {
    pub(super) fn new(fetch: &'j Fetch<'a, 'r>, repo: &'j str) -> Self {
        let (threads, others, counts) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { fetch, repo, threads, others, counts, comments: 0, reviews: 0 }
    }

    /// Takes a listed thread, with the comments that are known already.
    pub(super) fn add_thread(&mut self, listed: Listed) -> Result<()> {
        let Some(mut thread) = listed.thread else {
            self.others.insert(listed.number);
            return Ok(());
        };
        let earlier = match self.threads.remove(&listed.number) {
            Some(earlier) => Some(earlier),
            None => self.fetch.base.thread(self.repo, listed.number)?,
        };
        if let Some(earlier) = earlier {
            (thread.comments, thread.reviews) = (earlier.comments, earlier.reviews);
        }
        self.counts.insert(listed.number, listed.comments);
        self.threads.insert(listed.number, thread);
        Ok(())
    }

    /// Takes a comment, in the place of its earlier version where there is one.
    pub(super) fn add_comment(&mut self, posted: Posted) -> Result<()> {
        let number = self.number(&posted)?;
        let is_on_pull = self.fetch.subject == Subject::Pulls;
        if posted.on_pull == Some(!is_on_pull) || self.others.contains(&number) {
            return Ok(());
        }
        if !self.threads.contains_key(&number) && !self.find(number)? {
            return Ok(());
        }
        self.comments += 1;
        if let Some(thread) = self.threads.get_mut(&number) {
            replace(&mut thread.comments, posted.comment);
            in_order(&mut thread.comments);
        }
        Ok(())
    }

    /// Takes a comment of a review, in the place of its earlier version where there is one.
    pub(super) fn add_review(&mut self, posted: Posted) -> Result<()> {
        let number = self.number(&posted)?;
        if !self.threads.contains_key(&number) && (self.others.contains(&number) || !self.find(number)?) {
            return Ok(());
        }
        self.reviews += 1;
        if let Some(thread) = self.threads.get_mut(&number) {
            let mut comments: Vec<Comment> = std::mem::take(&mut thread.reviews).into_iter().flatten().collect();
            replace(&mut comments, posted.comment);
            thread.reviews = review_threads(comments);
        }
        Ok(())
    }

    fn number(&self, posted: &Posted) -> Result<u64> {
        posted.number().ok_or_else(|| GithubError::NoThread {
            repo: self.repo.to_owned(),
            comment: posted.id,
            address: posted.address.clone(),
        })
    }

    /// Finds a thread that the list did not name: in the last snapshot, or, for one that was opened after the list was
    /// read, upstream.
    pub(super) fn find(&mut self, number: u64) -> Result<bool> {
        if let Some(thread) = self.fetch.base.thread(self.repo, number)? {
            self.threads.insert(number, thread);
            return Ok(true);
        }
        match self.fetch.single(self.repo, number)? {
            Some(listed) => self.add_thread(listed)?,
            // Deleted, or somewhere else: its further comments must not ask again.
            None => drop(self.others.insert(number)),
        }
        Ok(self.threads.contains_key(&number))
    }

    /// Fetches the comments of each thread whose number of comments is not the one that GitHub counts: some were
    /// deleted, or the list lacks some.
    pub(super) fn complete(&mut self) -> Result<()> {
        let differs = |(number, count): (&u64, &u64)| {
            self.threads.get(number).filter(|thread| thread.comments.len() as u64 != *count).map(|_| *number)
        };
        let incomplete: Vec<u64> = self.counts.iter().filter_map(differs).collect();
        for number in incomplete {
            self.refetch(number)?;
        }
        Ok(())
    }

    /// Fetches the comments of one thread alone.
    pub(super) fn refetch(&mut self, number: u64) -> Result<()> {
        self.fetch.run.check_cancelled().map_err(|_| NetError::Cancelled)?;
        let Some(mut comments) = self.fetch.comments_of(self.repo, "issues", number)? else { return Ok(()) };
        self.comments += comments.len() as u64;
        in_order(&mut comments);
        if let Some(thread) = self.threads.get_mut(&number) {
            thread.comments = comments;
        }
        Ok(())
    }

    /// Fetches the reviews of one pull request alone.
    pub(super) fn refetch_reviews(&mut self, number: u64) -> Result<()> {
        self.fetch.run.check_cancelled().map_err(|_| NetError::Cancelled)?;
        let Some(comments) = self.fetch.comments_of(self.repo, "pulls", number)? else { return Ok(()) };
        self.reviews += comments.len() as u64;
        if let Some(thread) = self.threads.get_mut(&number) {
            thread.reviews = review_threads(comments);
        }
        Ok(())
    }

    /// Returns the threads that are new or not what they were, by id.
    pub(super) fn changed(self) -> Result<BTreeMap<String, Thread>> {
        let mut changed = BTreeMap::new();
        for thread in self.threads.into_values() {
            if self.fetch.base.thread(self.repo, thread.number)?.as_ref() != Some(&thread) {
                changed.insert(thread.id.clone(), thread);
            }
        }
        Ok(changed)
    }
}

/// Puts a comment in the place of its earlier version. Comments of a user's own file have no id: who wrote them when names
/// them.
fn replace(comments: &mut Vec<Comment>, comment: Comment) {
    let is_same = |other: &Comment| match other.id {
        Some(id) => Some(id) == comment.id,
        None => other.created_at == comment.created_at && other.author.login == comment.author.login,
    };
    comments.retain(|other| !is_same(other));
    comments.push(comment);
}

/// Sorts comments by their time.
pub(super) fn in_order(comments: &mut [Comment]) {
    comments.sort_by(|a, b| (&a.created_at, a.id).cmp(&(&b.created_at, b.id)));
}

/// Parts the comments of reviews into threads: a comment belongs to the one that it replies to.
fn review_threads(mut comments: Vec<Comment>) -> Vec<Vec<Comment>> {
    in_order(&mut comments);
    let parents: BTreeMap<u64, u64> =
        comments.iter().filter_map(|comment| Some((comment.id?, comment.reply_to?))).collect();
    let root = |comment: &Comment| {
        let mut at = comment.id;
        // No deeper than there are comments: replies in a circle end, too.
        for _ in 0..parents.len() {
            match at.and_then(|id| parents.get(&id)) {
                Some(parent) => at = Some(*parent),
                None => break,
            }
        }
        at
    };
    let mut threads: Vec<(Option<u64>, Vec<Comment>)> = Vec::new();
    for comment in comments {
        let root = root(&comment);
        match threads.iter_mut().find(|(other, _)| root.is_some() && *other == root) {
            Some((_, thread)) => thread.push(comment),
            None => threads.push((root, vec![comment])),
        }
    }
    threads.into_iter().map(|(_, thread)| thread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_join_their_thread_even_where_its_first_comment_is_gone() {
        let comment = |id: u64, reply_to: Option<u64>| Comment {
            id: Some(id),
            created_at: Some(format!("2024-01-01T00:00:{id:02}Z")),
            reply_to,
            ..Comment::default()
        };
        let comments = vec![
            comment(5, Some(1)),
            comment(2, None),
            comment(1, None),
            comment(3, Some(1)),
            comment(6, Some(4)),
            comment(7, Some(4)),
            comment(8, Some(9)),
            comment(9, Some(8)),
        ];
        let threads = review_threads(comments);
        let ids: Vec<Vec<u64>> =
            threads.iter().map(|thread| thread.iter().filter_map(|comment| comment.id).collect()).collect();
        assert_eq!(ids[..3], [vec![1, 3, 5], vec![2], vec![6, 7]]);
        assert_eq!(ids.concat().len(), 8);
    }
}
