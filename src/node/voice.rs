//! How a model is spoken to: conversations by its own tokenizer and chat template.

use crate::model::rows::{OverLength, Remark, RowMaker, TokenRow, messages};
use crate::model::template::{ChatTemplate, Ending, Message};
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Base, WeightFiles};
use crate::node::{JobInput, NodeError, Run};
use crate::record::{Conversation, Record, RecordSet, Role};
use crate::store::{Artifact, Digest};

/// The template and the tokenizer of a model.
pub(crate) struct Voice {
    pub(crate) tokenizer: Tokenizer,
    template: ChatTemplate,
}

impl Voice {
    /// Reads both from a model's files.
    pub(crate) fn of(files: &WeightFiles) -> Result<Self, NodeError> {
        let base = Base::open(files)?;
        Ok(Self { tokenizer: base.tokenizer()?, template: base.template()? })
    }

    /// Returns the conversation as the tokens of a training, or why there are none.
    pub(crate) fn row(
        &self,
        conversation: &Conversation,
        max_tokens: usize,
    ) -> Result<(Option<TokenRow>, Option<Remark>), NodeError> {
        let over_length = OverLength::Truncate;
        let (tokenizer, template) = (&self.tokenizer, &self.template);
        Ok(RowMaker { tokenizer, template, max_tokens, over_length }.row(conversation)?)
    }

    /// Returns the text that a question is asked with.
    pub(crate) fn question(&self, system: &str, ask: &str) -> Result<String, NodeError> {
        let system = (!system.is_empty()).then(|| Message { role: "system", content: system.into() });
        let user = Message { role: "user", content: ask.into() };
        let messages: Vec<Message> = system.into_iter().chain([user]).collect();
        Ok(self.template.render(&messages, Ending::GenerationPrompt)?)
    }

    /// Returns the text that asks for a conversation's last answer.
    pub(crate) fn last_question(&self, conversation: &Conversation) -> Result<String, NodeError> {
        Ok(self.template.render(&before_answer(conversation), Ending::GenerationPrompt)?)
    }
}

/// Returns all messages before a conversation's last answer.
pub(crate) fn before_answer(conversation: &Conversation) -> Vec<Message> {
    let answer = conversation.turns.iter().rposition(|turn| turn.role == Role::Assistant);
    let mut before = messages(conversation);
    before.truncate(answer.unwrap_or(before.len()));
    before
}

/// Reads the conversations of inputs that have some, in their order.
pub(crate) fn conversations<'i>(
    run: &Run<'_>,
    inputs: impl Iterator<Item = &'i JobInput>,
) -> Result<Vec<Conversation>, NodeError> {
    let mut conversations = Vec::new();
    for input in inputs {
        let Artifact::Records(records) = &input.artifact else { continue };
        for record in RecordSet::open(run.store, records)?.records() {
            run.check_cancelled()?;
            match record? {
                Record::Row(conversation) => conversations.push(conversation),
                Record::Correction(correction) => conversations.push(correction.conversation),
                other => return Err(run.bad_job(format!("`{}` of `{}` is no row", other.id(), input.node))),
            }
        }
    }
    Ok(conversations)
}

/// Brings conversations into an order that mixes their sources and is always the same, for when only the first are taken.
pub(crate) fn mixed(mut conversations: Vec<Conversation>) -> Vec<Conversation> {
    conversations.sort_by_cached_key(|conversation| Digest::of(conversation.id.as_bytes()));
    conversations
}
