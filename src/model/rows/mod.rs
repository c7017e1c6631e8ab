//! Conversations as token ids, with a mask of what is trained.
//!
//! A conversation is rendered by the model's own template turn by turn: what a turn adds to the render before it are
//! that turn's tokens. The assistant's turns are trained whole, the token that ends a turn included, so that the model
//! learns to stop. The mask goes by place, never by token id.

mod audit;

use super::Result;
use super::template::{ChatTemplate, Ending, Message};
use super::tokenizer::Tokenizer;
use crate::record::{Conversation, Role};

pub use audit::Audit;

/// One conversation as the transformer reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRow {
    /// Token ids, as many as `trained`.
    pub ids: Vec<u32>,
    /// Whether predicting this token from those before it is trained; never true for the first.
    pub trained: Vec<bool>,
}

impl TokenRow {
    /// Returns the number of tokens whose prediction is trained.
    pub fn trained_tokens(&self) -> usize {
        self.trained.iter().filter(|trained| **trained).count()
    }
}

/// What happens to a row of more than the allowed tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OverLength {
    /// It is cut at its end.
    Truncate,
    /// It is left out.
    Drop,
    /// The training does not begin, and the row is shown.
    Fail,
}

/// Why a row is not trained as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// Cut at its end.
    Truncated,
    /// Only its last answer is trained: the template renders earlier ones otherwise once later ones follow.
    LastAnswer,
    /// Left out: too long.
    TooLong,
    /// Left out: no token of it would be trained.
    NothingTrained,
    /// Left out: a text holds a token of the template, which could open a role.
    Marker(String),
    /// Left out: the template renders even the question otherwise when its answer follows.
    NotByTurns,
    /// Left out: the template refuses its roles or their order.
    Refused(String),
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated: longer than max-tokens"),
            Self::LastAnswer => f.write_str("trained by its last answer alone: the chat template renders it so"),
            Self::TooLong => f.write_str("dropped: longer than max-tokens"),
            Self::NothingTrained => f.write_str("dropped: no token of an answer within max-tokens"),
            Self::Marker(marker) => write!(f, "dropped: its text holds the template's token {marker}"),
            Self::NotByTurns => {
                f.write_str("dropped: the chat template renders its question otherwise with the answer")
            }
            Self::Refused(why) => write!(f, "dropped: the chat template refuses it: {why}"),
        }
    }
}

/// Turns conversations into token rows.
#[derive(Clone, Copy, Debug)]
pub struct RowMaker<'a> {
    /// The base model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The base model's template.
    pub template: &'a ChatTemplate,
    /// The longest row, in tokens.
    pub max_tokens: usize,
    /// What happens to longer ones.
    pub over_length: OverLength,
}

impl RowMaker<'_> {
    /// Starts an audit of rows that this maker makes.
    pub fn audit(&self) -> Audit {
        Audit::new(self.template.eos().and_then(|end| self.tokenizer.id(end)))
    }

    /// Returns the row of one conversation, and the remark that it was cut; or the remark why there is none.
    ///
    /// # Errors
    /// [`super::ModelError::Tokenizer`] when the tokenizer itself fails.
    pub fn row(&self, conversation: &Conversation) -> Result<(Option<TokenRow>, Option<Remark>)> {
        let marker = conversation.turns.iter().find_map(|turn| self.tokenizer.marker_in(&turn.text));
        if let Some(marker) = marker {
            return Ok((None, Some(Remark::Marker(marker.to_owned()))));
        }
        let messages = messages(conversation);
        let (mut row, mut remark) = match self.by_turns(&messages)? {
            Ok(row) => (row, None),
            Err(Remark::NotByTurns) => match self.by_last_answer(&messages)? {
                Ok(row) => (row, Some(Remark::LastAnswer)),
                Err(remark) => return Ok((None, Some(remark))),
            },
            Err(remark) => return Ok((None, Some(remark))),
        };
        if row.ids.len() > self.max_tokens {
            if self.over_length != OverLength::Truncate {
                return Ok((None, Some(Remark::TooLong)));
            }
            row.ids.truncate(self.max_tokens);
            row.trained.truncate(self.max_tokens);
            remark = Some(Remark::Truncated);
        }
        if row.trained_tokens() == 0 {
            return Ok((None, Some(Remark::NothingTrained)));
        }
        Ok((Some(row), remark))
    }

    /// Renders turn by turn.
    fn by_turns(&self, messages: &[Message]) -> Result<Result<TokenRow, Remark>> {
        let mut row = TokenRow::default();
        for count in 1..=messages.len() {
            let text = match self.template.render(&messages[..count], Ending::Closed) {
                Ok(text) => text,
                Err(error) => return Ok(Err(refused(&error))),
            };
            let ids = self.tokenizer.encode(&text)?;
            let Some(added) = ids.strip_prefix(row.ids.as_slice()) else { return Ok(Err(Remark::NotByTurns)) };
            let trained = messages[count - 1].role == "assistant";
            row.trained.extend(added.iter().map(|_| trained));
            row.ids = ids;
        }
        if let Some(first) = row.trained.first_mut() {
            *first = false;
        }
        Ok(Ok(row))
    }

    /// Renders all turns at once, and trains what comes after the opening of the last one: some templates, such as Qwen 3's,
    /// leave out of earlier answers what the model is to write in them.
    fn by_last_answer(&self, messages: &[Message]) -> Result<Result<TokenRow, Remark>> {
        let Some((_, before)) = messages.split_last().filter(|(last, _)| last.role == "assistant") else {
            return Ok(Err(Remark::NotByTurns));
        };
        let renders = [(before, Ending::GenerationPrompt), (messages, Ending::Closed)];
        let [question, whole] = match renders.map(|(messages, ending)| self.template.render(messages, ending)) {
            [Ok(question), Ok(whole)] => [question, whole],
            [Err(error), _] | [_, Err(error)] => return Ok(Err(refused(&error))),
        };
        let (question, ids) = (self.tokenizer.encode(&question)?, self.tokenizer.encode(&whole)?);
        if question.is_empty() || !ids.starts_with(&question) {
            return Ok(Err(Remark::NotByTurns));
        }
        let trained = (0..ids.len()).map(|at| at >= question.len()).collect();
        Ok(Ok(TokenRow { ids, trained }))
    }
}

/// Returns a conversation as templates expect it.
pub fn messages(conversation: &Conversation) -> Vec<Message> {
    let role = |role| match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    conversation.turns.iter().map(|turn| Message { role: role(turn.role), content: turn.text.clone() }).collect()
}

/// Makes the remark for a conversation that the template refuses: the first line of its reason.
fn refused(error: &super::ModelError) -> Remark {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    Remark::Refused(cause.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
