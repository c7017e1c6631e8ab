//! The conversation itself: questions in, answers out.

use std::io::{self, BufRead, IsTerminal as _};

use serde_json::{Value, json};

use super::super::built::Built;
use super::super::interrupt::AnswerStop;
use super::super::session::Session;
use super::super::show::plain;
use super::super::{CliError, Context, Exit, Output, machine};
use super::Chat;
use super::speaker::{Answer, Speaker};
use crate::engine::Mode;
use crate::llama::{self, ContextOptions, Generation};
use crate::node::Cancel;
use crate::serve::{ChatModel, ServeError};

/// Who speaks, and what its answers are headed by.
struct Voice<'m> {
    head: &'static str,
    speaker: Speaker<'m>,
}

/// What a line of the input means.
enum Line {
    Question(String),
    New,
    Nothing,
    End,
}

impl Chat {
    pub(super) fn talk(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let index = session.node(&self.node)?;
        let stop = AnswerStop::listen()?;
        let never = Cancel::default();
        let tuned = Built::of(context, &session, index, &never)?;
        let base = if self.base { Some(Built::base(context, &session, &never)?) } else { None };
        let open = |built: &Built| ChatModel::open(&built.path);
        let models = (base.as_ref().map(open).transpose()?, open(&tuned)?);
        let is_stopped = || stop.is_asked();
        let threads = machine::grant(&session.project.manifest.run.options).threads;
        let voice = |head, model| -> Result<Voice<'_>, ServeError> {
            let length = self.sampling.context(ChatModel::model(model).context_length());
            let options = ContextOptions { length, threads, interrupt: &is_stopped };
            let context = llama::Context::new(model.model(), &options)?;
            Ok(Voice { head, speaker: Speaker::new(model, context, length, &tuned.system) })
        };
        let mut voices = Vec::new();
        if let Some(base) = &models.0 {
            voices.push(voice("base: ", base)?);
        }
        voices.push(voice(if self.base { "tuned: " } else { "" }, &models.1)?);
        let how = self.sampling.generation();
        let mut talk = Talk { voices, how, stop: &stop, is_live: io::stdin().is_terminal() };
        if talk.is_live {
            context.output.note(format_args!(
                "`{}` answers. `/bye` ends, `/new` begins a new conversation, Ctrl-C stops an answer.",
                tuned.node
            ));
        }
        talk.go(&mut io::stdin().lock(), context.output)
    }
}

/// A conversation with one model, or with two beside each other.
struct Talk<'m> {
    voices: Vec<Voice<'m>>,
    how: Generation,
    stop: &'m AnswerStop,
    /// Whether a person types.
    is_live: bool,
}

impl Talk<'_> {
    /// Answers all questions of the input.
    fn go(&mut self, input: &mut dyn BufRead, output: &mut Output) -> Result<Exit, CliError> {
        let mut exit = Exit::Done;
        loop {
            if self.is_live {
                output.note_text("> ");
            }
            match next(input)? {
                Line::End => return Ok(exit),
                Line::Nothing => {}
                Line::New => self.voices.iter_mut().for_each(|voice| voice.speaker.forget()),
                Line::Question(question) => {
                    if let Err(error) = self.ask(&question, output) {
                        output.error(&error);
                        exit = if self.is_live { exit } else { Exit::Failed };
                    }
                }
            }
        }
    }

    /// Has each model answer one question.
    fn ask(&mut self, question: &str, output: &mut Output) -> Result<(), ServeError> {
        let mut told = Vec::new();
        self.stop.begin();
        for Voice { head, speaker } in &mut self.voices {
            if !output.is_json() {
                output.live(head);
            }
            let answer = speaker.answer(question, &self.how, |piece| {
                if !output.is_json() {
                    output.live(&plain(piece));
                }
            });
            if !output.is_json() {
                output.live("\n");
            }
            match answer {
                Ok(answer) => {
                    remark(&answer, output);
                    told.push(object(&answer));
                    if answer.stopped {
                        break;
                    }
                }
                Err(error) => {
                    self.stop.end();
                    return Err(error);
                }
            }
        }
        self.stop.end();
        let Some(mut object) = told.pop() else { return Ok(()) };
        object["question"] = json!(question);
        if let Some(base) = told.pop() {
            object["base"] = base;
        }
        output.json(&json!({ "chat": object }));
        Ok(())
    }
}

/// Says what is not to be seen in the answer itself.
fn remark(answer: &Answer, output: &mut Output) {
    if answer.left_out > 0 {
        let count = answer.left_out;
        output.note(format_args!("the first {count} messages no longer fit into the context and are forgotten"));
    }
    if answer.stopped {
        output.note("stopped");
    } else if !answer.ended {
        let tokens = answer.tokens;
        output.note(format_args!("cut off after {tokens} tokens: `--max-answer-tokens` and `--context` allow more"));
    }
}

fn object(answer: &Answer) -> Value {
    json!({
        "answer": answer.text, "prompt-tokens": answer.prompt_tokens, "tokens": answer.tokens,
        "ended": answer.ended, "left-out": answer.left_out,
    })
}

/// Reads the next line; what is no UTF-8 in it becomes `�`.
fn next(input: &mut dyn BufRead) -> io::Result<Line> {
    let mut bytes = Vec::new();
    if input.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(Line::End);
    }
    Ok(match String::from_utf8_lossy(&bytes).trim() {
        "" => Line::Nothing,
        "/bye" => Line::End,
        "/new" => Line::New,
        question => Line::Question(question.to_owned()),
    })
}
