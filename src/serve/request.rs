//! What clients ask: the body of `POST /v1/chat/completions`, read strictly where it would change the answer.

use serde::Deserialize;
use serde_json::Value;

use super::reply::ApiError;
use crate::llama::Generation;
use crate::model::template::Message;

/// Texts that may end an answer, as OpenAI has it.
const MOST_STOPS: usize = 4;
/// Bytes of one of them.
const LONGEST_STOP: usize = 1_000;

/// A request for an answer; what else OpenAI's clients send changes nothing in it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) messages: Vec<Message>,
    pub(super) how: Generation,
    /// Whether the answer is sent as it comes.
    pub(super) streams: bool,
    /// Whether the counts of tokens are sent at the end of a stream.
    pub(super) counts: bool,
}

/// As it is sent. Content and stop texts have several forms, which are told apart by hand for the sake of messages.
#[derive(Deserialize)]
struct Body {
    model: String,
    messages: Vec<Turn>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<i64>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    stop: Option<Value>,
    n: Option<u64>,
    logprobs: Option<bool>,
    logit_bias: Option<Value>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    response_format: Option<Value>,
    tools: Option<Value>,
    functions: Option<Value>,
    modalities: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: Option<Value>,
    tool_calls: Option<Value>,
}

/// Reads a request for the model `name`; `usual` says what it leaves out.
pub(super) fn read(body: &[u8], name: &str, usual: Generation) -> Result<Asked, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let body: Body = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let param = if path == "." { None } else { Some(path) };
        ApiError::wrong(param.as_deref(), format!("the body is no such request: {}", error.inner()))
    })?;
    json.end().map_err(|error| ApiError::wrong(None, format!("the body is no such request: {error}")))?;
    if body.model != name {
        return Err(ApiError::unknown_model(&body.model, name));
    }
    body.refuse_what_is_not_done()?;
    if body.messages.is_empty() {
        return Err(ApiError::wrong(Some("messages"), "a conversation has one message at the least"));
    }
    let messages = body.messages.iter().enumerate().map(|(at, turn)| turn.message(at)).collect::<Result<_, _>>()?;
    Ok(Asked {
        messages,
        streams: body.stream == Some(true),
        counts: body.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true)),
        how: body.generation(usual)?,
    })
}

impl Body {
    /// Refuses what would change the answer and cannot be done, rather than to leave it out in silence.
    fn refuse_what_is_not_done(&self) -> Result<(), ApiError> {
        let is_empty = |value: &Option<Value>| match value {
            None | Some(Value::Null) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(items)) => items.is_empty(),
            Some(_) => false,
        };
        let is_zero = |number: Option<f64>| number.is_none_or(|number| number == 0.0);
        let is_text = |format: &Option<Value>| format.as_ref().is_none_or(|it| it.is_null() || it["type"] == "text");
        let is_only_text = |kinds: &Option<Vec<String>>| kinds.as_ref().is_none_or(|kinds| kinds == &["text"]);
        for (param, is_fine) in [
            ("n", self.n.is_none_or(|count| count == 1)),
            ("logprobs", self.logprobs != Some(true)),
            ("logit_bias", is_empty(&self.logit_bias)),
            ("presence_penalty", is_zero(self.presence_penalty)),
            ("frequency_penalty", is_zero(self.frequency_penalty)),
            ("response_format", is_text(&self.response_format)),
            ("tools", is_empty(&self.tools)),
            ("functions", is_empty(&self.functions)),
            ("modalities", is_only_text(&self.modalities)),
        ] {
            if !is_fine {
                return Err(ApiError::unsupported(param));
            }
        }
        Ok(())
    }

    fn generation(&self, usual: Generation) -> Result<Generation, ApiError> {
        let between = |param: &str, value: Option<f32>, most: f32, usual: f32| match value {
            Some(value) if !(0.0..=most).contains(&value) => {
                Err(ApiError::wrong(Some(param), format!("`{param}` is between 0 and {most}, not {value}")))
            }
            value => Ok(value.unwrap_or(usual)),
        };
        let tokens = self.max_completion_tokens.or(self.max_tokens);
        if tokens == Some(0) {
            return Err(ApiError::wrong(Some("max_tokens"), "an answer has one token at the least"));
        }
        Ok(Generation {
            tokens: tokens.unwrap_or(usual.tokens),
            temperature: between("temperature", self.temperature, 2.0, usual.temperature)?,
            top_p: between("top_p", self.top_p, 1.0, usual.top_p)?,
            seed: self.seed.map_or(usual.seed, i64::cast_unsigned),
            stop: self.stops()?,
        })
    }

    fn stops(&self) -> Result<Vec<String>, ApiError> {
        let wrong = |what: String| ApiError::wrong(Some("stop"), what);
        let texts = match &self.stop {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
            Some(text) => vec![text.as_str()],
        };
        let texts: Option<Vec<&str>> = texts.into_iter().collect();
        let texts = texts.ok_or_else(|| wrong("`stop` is a text or an array of texts".into()))?;
        if texts.len() > MOST_STOPS || texts.iter().any(|text| text.is_empty() || text.len() > LONGEST_STOP) {
            return Err(wrong(format!("`stop` has at most {MOST_STOPS} texts of 1 to {LONGEST_STOP} bytes")));
        }
        Ok(texts.into_iter().map(str::to_owned).collect())
    }
}

impl Turn {
    fn message(&self, at: usize) -> Result<Message, ApiError> {
        let wrong = |key: &str, what: String| ApiError::wrong(Some(&format!("messages[{at}].{key}")), what);
        let role = match self.role.as_str() {
            "system" | "developer" => "system",
            "user" => "user",
            "assistant" => "assistant",
            other => {
                let roles = "`system`, `developer`, `user` and `assistant`";
                return Err(wrong("role", format!("there is no role {other:?} here: {roles} are known")));
            }
        };
        if self.tool_calls.as_ref().is_some_and(|calls| !calls.is_null() && *calls != Value::Array(Vec::new())) {
            return Err(ApiError::unsupported(&format!("messages[{at}].tool_calls")));
        }
        let content = match &self.content {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                let whole: Option<Vec<&str>> = parts.iter().map(text_of).collect();
                let parts = whole.ok_or_else(|| wrong("content", "only parts of the type `text` are read".into()))?;
                parts.concat()
            }
            _ => return Err(wrong("content", "it is a text, or an array of parts".into())),
        };
        Ok(Message { role, content })
    }
}

/// Returns the text of a part of a message.
fn text_of(part: &Value) -> Option<&str> {
    if part["type"] == "text" { part["text"].as_str() } else { None }
}
