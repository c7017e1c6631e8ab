//! How long a text is: in characters, or in tokens of the base model.

use std::fmt;

use super::settings::Settings;
use crate::node::filter::text::characters;
use crate::node::{NodeError, Run};

/// The most that a text may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Unicode's characters; four make about one token of English.
    Characters(usize),
    /// Tokens of the base model.
    Tokens(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Characters(most) => write!(f, "{most} characters"),
            Self::Tokens(most) => write!(f, "{most} tokens"),
        }
    }
}

impl Limit {
    /// Returns the number.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Characters(most) | Self::Tokens(most) => most,
        }
    }

    /// Returns what it leaves beside a text of this length; nothing where that is longer.
    pub(super) fn beside(self, length: usize) -> Option<Self> {
        Some(match self {
            Self::Characters(most) => Self::Characters(most.checked_sub(length)?),
            Self::Tokens(most) => Self::Tokens(most.checked_sub(length)?),
        })
    }
}

/// Counts the tokens of a text.
type Tokens = Box<dyn Fn(&str) -> usize + Send + Sync>;

/// Measures texts.
#[derive(Default)]
pub(super) struct Measure {
    /// There where a limit is in tokens.
    tokens: Option<Tokens>,
}

impl Measure {
    /// Returns what the settings need: the base model's tokenizer only where a limit is in tokens.
    pub(super) fn of(run: &Run<'_>, settings: &Settings) -> Result<Self, NodeError> {
        let tokens = if settings.counts_tokens() { Some(tokens(run)?) } else { None };
        Ok(Self { tokens })
    }

    /// Returns the length of a text in the unit of a limit.
    pub(super) fn length(&self, text: &str, limit: Limit) -> usize {
        match (limit, &self.tokens) {
            (Limit::Tokens(_), Some(tokens)) => tokens(text),
            _ => characters(text),
        }
    }

    /// Returns whether a text is longer than a limit.
    pub(super) fn exceeds(&self, text: &str, limit: Limit) -> bool {
        match limit {
            // No text has more characters than bytes.
            Limit::Characters(most) if text.len() <= most => false,
            _ => self.length(text, limit) > limit.most(),
        }
    }
}

/// Reads the base model's tokenizer.
#[cfg(feature = "train")]
fn tokens(run: &Run<'_>) -> Result<Tokens, NodeError> {
    let tokenizer = crate::model::weights::Base::open(&run.weight_files()?)?.tokenizer()?;
    // A text that the tokenizer cannot express is longer than any limit.
    Ok(Box::new(move |text| tokenizer.encode(text).map_or(usize::MAX, |ids| ids.len())))
}

/// Settings that need it are refused without the feature `train`.
#[cfg(not(feature = "train"))]
fn tokens(run: &Run<'_>) -> Result<Tokens, NodeError> {
    Err(run.bad_job("it counts tokens, and this program was built without the feature `train`".into()))
}
