//! The model's own chat template, rendered as transformers and llama.cpp render it.
//!
//! A render is a function of the messages alone: templates that ask for the date get a constant one.

mod namespace;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::Serialize as _;

use super::{ModelError, Result};

/// The date that templates see.
const DATE: &str = "26 Jul 2024";

/// What one render may cost: an instruction each, or 64 bytes of what it makes. Templates come from whoever published a model:
/// one that counts for ever, or doubles a text for ever, ends with an error. A conversation of a million tokens takes a
/// tenth of it.
const FUEL: u64 = 1_000_000;

/// The stack that a render gets, of which it touches a few pages: lists in lists, as many as [`FUEL`] can make, are written
/// and dropped by calls in calls, some 450 bytes each.
const STACK: usize = 512 << 20;

/// One message, as templates expect it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// What is said.
    pub content: String,
}

impl Message {
    fn value(&self) -> Value {
        Value::from_pairs([("role", self.role), ("content", self.content.as_str())])
    }
}

/// What a render ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The last message: for training.
    Closed,
    /// The opening of the assistant's turn: for generating.
    GenerationPrompt,
}

/// A parsed chat template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    source: String,
    bos: Option<String>,
    eos: Option<String>,
}

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`ModelError::Template`] with the line that does not parse, or in which a namespace is used as a value.
    pub fn new(source: &str, bos: Option<String>, eos: Option<String>) -> Result<Self> {
        let mut environment = Environment::new();
        // As in transformers: a block tag takes its line with it.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let syntax = syntax.map_err(ModelError::Template)?;
        environment.set_syntax(syntax.clone());
        environment.set_fuel(Some(FUEL));
        // An error would keep values that only a render's stack can drop.
        environment.set_debug(false);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |_format: &str| DATE);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned("chat", source.to_owned()).map_err(ModelError::Template)?;
        namespace::check(source, syntax).map_err(ModelError::Template)?;
        Ok(Self { environment: Arc::new(environment), source: source.to_owned(), bos, eos })
    }

    /// Returns the template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the token that ends the model's answers, as text.
    pub fn eos(&self) -> Option<&str> {
        self.eos.as_deref()
    }

    /// Returns the text of a conversation.
    ///
    /// # Errors
    /// [`ModelError::Template`] when the template refuses the roles or their order.
    pub fn render(&self, messages: &[Message], ending: Ending) -> Result<String> {
        let template = self.environment.get_template("chat").map_err(ModelError::Template)?;
        let render = || {
            template.render(context! {
                messages => messages.iter().map(Message::value).collect::<Vec<_>>(),
                add_generation_prompt => ending == Ending::GenerationPrompt,
                bos_token => self.bos.as_deref().unwrap_or_default(),
                eos_token => self.eos.as_deref().unwrap_or_default(),
            })
        };
        with_stack(render).map_err(ModelError::Template)
    }
}

/// Renders on [`STACK`].
fn with_stack(
    render: impl FnOnce() -> std::result::Result<String, Error> + Send,
) -> std::result::Result<String, Error> {
    thread::scope(|scope| match thread::Builder::new().stack_size(STACK).spawn_scoped(scope, render) {
        Ok(rendered) => rendered.join().unwrap_or_else(|panic| resume_unwind(panic)),
        Err(error) => {
            Err(Error::new(ErrorKind::InvalidOperation, "no thread can be had to render in").with_source(error))
        }
    })
}

/// What templates call to refuse a conversation.
fn raise_exception(message: &str) -> std::result::Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()))
}

/// `tojson` as transformers has it: Python's `json.dumps` without escapes of letters or HTML.
#[expect(clippy::needless_pass_by_value, reason = "minijinja gives keyword arguments by value")]
fn to_json(value: &Value, options: Kwargs) -> std::result::Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent {
        Some(width) => {
            let indent = " ".repeat(width.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)),
    };
    let invalid = |error: &dyn std::fmt::Display| Error::new(ErrorKind::BadSerialization, error.to_string());
    written.map_err(|error| invalid(&error))?;
    String::from_utf8(out).map_err(|error| invalid(&error))
}

/// Python's separators: `", "` and `": "`.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, roles: &[(&'static str, &str)]) -> Result<String> {
        let messages: Vec<Message> =
            roles.iter().map(|(role, content)| Message { role, content: (*content).to_owned() }).collect();
        ChatTemplate::new(source, Some("<s>".into()), Some("</s>".into()))?.render(&messages, Ending::GenerationPrompt)
    }

    #[test]
    fn python_methods_dates_and_trimmed_blocks_render_as_in_transformers() {
        let source = "{{ bos_token }}{% for message in messages %}\n    {% if true %}\n[{{ message['role'] }}]\
                      {{ message.content.strip().split('|')[-1] }}{{ eos_token }}\n{% endif %}\n{% endfor %}\
                      {% if add_generation_prompt %}A {{ strftime_now('%d') }}{% endif %}";
        assert_eq!(render(source, &[("user", " x|hi ")]).unwrap(), "<s>[user]hi</s>\nA 26 Jul 2024");
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let source = "{{ {'a': [1, 'ü<b>'], 'b': none} | tojson }}";
        assert_eq!(render(source, &[]).unwrap(), r#"{"a": [1, "ü<b>"], "b": null}"#);
    }

    #[test]
    fn templates_that_never_end_or_grow_for_ever_are_an_error() {
        let nested = "{% for a in range(9999) %}".repeat(4) + "{{ a }}" + &"{% endfor %}".repeat(4);
        let doubled = "{% set n = namespace(t='x') %}{% for a in range(100) %}{% set n.t = n.t ~ n.t %}{% endfor %}";
        for source in [nested.as_str(), doubled, "{% macro a(n) %}{{ a(n) }}{{ a(n) }}{% endmacro %}{{ a(0) }}"] {
            assert!(render(source, &[]).is_err(), "{source}");
        }
        let long = "word ".repeat(1_000_000);
        assert_eq!(render("{% for m in messages %}{{ m.content }}{% endfor %}", &[("user", &long)]).unwrap(), long);
    }

    #[test]
    fn lists_in_lists_without_end_are_written_and_dropped_or_an_error() {
        let deep = |rounds: usize, of: usize| {
            let (open, close) = ("[".repeat(of), "]".repeat(of));
            format!(
                "{{% set n = namespace(t=1) %}}{{% for a in range({rounds}) %}}{{% for b in range({rounds}) %}}\
                 {{% set n.t = {open}n.t{close} %}}{{% endfor %}}{{% endfor %}}{{{{ n.t }}}}"
            )
        };
        assert_eq!(render(&deep(100, 10), &[]).unwrap().len(), 200_001);
        render(&deep(10_000, 100), &[]).unwrap_err();
        let itself = "{% set n = namespace() %}{% set n.n = n %}{{ n }}";
        assert!(render(itself, &[]).is_err());
    }

    #[test]
    fn a_template_that_refuses_a_conversation_says_why() {
        let source = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}";
        let error = render(source, &[("system", "x")]).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("no system role"), "{cause}");
    }
}
