//! What training would see of rows, in numbers.

use std::collections::BTreeMap;

use super::{Remark, TokenRow};

/// Counts over rows, before anything is trained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// The token that ends an answer.
    end: Option<u32>,
    /// Rows that can be trained.
    pub rows: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Those of their tokens whose prediction is trained.
    pub trained: u64,
    /// Rows whose last answer is trained without the token that ends it: such rows teach not to stop.
    pub endless: u64,
    /// Rows that are cut or left out, by why.
    pub remarks: BTreeMap<Remark, u64>,
}

impl Audit {
    /// Starts to count; `end` is the token that ends an answer, where the model has one.
    pub fn new(end: Option<u32>) -> Self {
        Self { end, ..Self::default() }
    }

    /// Counts one conversation: its row, where it has one, and the remark on it.
    pub fn add(&mut self, row: Option<&TokenRow>, remark: Option<&Remark>) {
        if let Some(row) = row {
            self.rows += 1;
            self.tokens += row.ids.len() as u64;
            self.trained += row.trained_tokens() as u64;
            self.endless += u64::from(!self.has_end(row));
        }
        if let Some(remark) = remark {
            *self.remarks.entry(remark.clone()).or_insert(0) += 1;
        }
    }

    /// Returns whether the last answer of a row is trained up to the token that ends it. Templates may write more after
    /// that, such as a line break.
    pub fn has_end(&self, row: &TokenRow) -> bool {
        let Some(end) = self.end else { return false };
        let tail = row.ids.iter().zip(&row.trained).rev().skip_while(|(_, trained)| !**trained);
        tail.take_while(|(_, trained)| **trained).any(|(id, _)| *id == end)
    }

    /// Returns the share of tokens whose prediction is trained, from 0 to 1.
    pub fn share(&self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.trained as f64 / self.tokens as f64 }
    }

    /// Returns everything as counted remarks.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let remarks = self.remarks.iter().map(|(remark, count)| (remark.to_string(), *count));
        let endless = ("trained without an end of turn".to_owned(), self.endless);
        let tokens = [("tokens".to_owned(), self.tokens), ("tokens trained".to_owned(), self.trained)];
        remarks.chain([endless].into_iter().filter(|(_, count)| *count > 0)).chain(tokens).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tokens: &[(u32, bool)]) -> TokenRow {
        TokenRow {
            ids: tokens.iter().map(|(id, _)| *id).collect(),
            trained: tokens.iter().map(|(_, trained)| *trained).collect(),
        }
    }

    #[test]
    fn a_row_ends_where_its_last_answer_has_the_end_of_turn() {
        let audit = Audit::new(Some(2));
        assert!(audit.has_end(&row(&[(5, false), (6, true), (2, true), (9, true)])));
        assert!(audit.has_end(&row(&[(5, false), (6, true), (2, true), (7, false)])));
        // The end of an earlier answer, and one that is not trained, are none of this answer.
        assert!(!audit.has_end(&row(&[(6, true), (2, true), (7, false), (6, true)])));
        assert!(!audit.has_end(&row(&[(5, true), (6, true), (2, false)])));
        assert!(!Audit::new(None).has_end(&row(&[(6, true), (2, true)])));
    }

    #[test]
    fn rows_tokens_and_remarks_are_counted() {
        let mut audit = Audit::new(Some(2));
        audit.add(Some(&row(&[(5, false), (6, true), (2, true), (7, false)])), None);
        audit.add(Some(&row(&[(5, false), (6, true)])), Some(&Remark::Truncated));
        audit.add(None, Some(&Remark::TooLong));
        assert_eq!((audit.rows, audit.tokens, audit.trained, audit.endless), (2, 6, 3, 1));
        assert!((audit.share() - 0.5).abs() < 1e-9);
        let counts: Vec<String> = audit.counts().iter().map(|(what, count)| format!("{what}: {count}")).collect();
        assert_eq!(
            counts,
            [
                "truncated: longer than max-tokens: 1",
                "dropped: longer than max-tokens: 1",
                "trained without an end of turn: 1",
                "tokens: 6",
                "tokens trained: 3",
            ]
        );
    }
}
