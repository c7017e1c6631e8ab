//! One model in a conversation: what was said to it and by it, and its next answer.

use crate::llama::{Context, Generation, LlamaError};
use crate::model::template::Message;
use crate::serve::{ChatModel, ServeError, with_system};

/// One model in a conversation.
pub(super) struct Speaker<'m> {
    model: &'m ChatModel,
    context: Context<'m>,
    length: usize,
    system: String,
    /// Questions and answers in turn, without the system prompt.
    said: Vec<Message>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) prompt_tokens: usize,
    pub(super) tokens: usize,
    /// Whether the model ended it by itself.
    pub(super) ended: bool,
    /// Whether it was stopped from outside.
    pub(super) stopped: bool,
    /// Messages at the beginning of the conversation that no longer fit, and are forgotten.
    pub(super) left_out: usize,
}

impl<'m> Speaker<'m> {
    pub(super) fn new(model: &'m ChatModel, context: Context<'m>, length: u32, system: &str) -> Self {
        Self { model, context, length: length as usize, system: system.to_owned(), said: Vec::new() }
    }

    /// Begins a new conversation.
    pub(super) fn forget(&mut self) {
        self.said.clear();
    }

    /// Answers a question; `each` is given the text as it comes. A question that cannot be asked leaves the conversation
    /// as it was.
    pub(super) fn answer(
        &mut self,
        question: &str,
        how: &Generation,
        mut each: impl FnMut(&str),
    ) -> Result<Answer, ServeError> {
        self.said.push(Message { role: "user", content: question.to_owned() });
        let (prompt, left_out) = match self.prompt(how) {
            Ok(found) => found,
            Err(error) => {
                self.said.pop();
                return Err(error);
            }
        };
        self.said.drain(..left_out);
        let how = Generation { tokens: how.tokens.min(self.length - prompt.len()), ..how.clone() };
        let mut text = String::new();
        let answered = self.context.generate_in_pieces(&prompt, &how, |piece| {
            text.push_str(piece);
            each(piece);
        });
        let (tokens, ended, stopped) = match answered {
            Ok(answer) => (answer.tokens, answer.ended, false),
            Err(LlamaError::Interrupted) => (0, false, true),
            Err(error) => {
                self.said.pop();
                return Err(error.into());
            }
        };
        self.said.push(Message { role: "assistant", content: text.clone() });
        Ok(Answer { text, prompt_tokens: prompt.len(), tokens, ended, stopped, left_out })
    }

    /// Returns the tokens of the conversation, without the oldest messages that leave too little room for an answer, and
    /// how many these are. A question alone may fill the context but for one token.
    fn prompt(&self, how: &Generation) -> Result<(Vec<crate::llama::Token>, usize), ServeError> {
        let room = how.tokens.min(self.length / 4);
        let mut left_out = 0;
        loop {
            let messages = with_system(&self.system, self.said[left_out..].to_vec());
            let is_last = left_out + 1 == self.said.len();
            let length = if is_last { self.length } else { self.length - room };
            match self.model.prompt(&messages, length) {
                Err(ServeError::TooLong { .. }) if !is_last => left_out += 2,
                Err(error) => return Err(error),
                Ok(prompt) => return Ok((prompt, left_out)),
            }
        }
    }
}
