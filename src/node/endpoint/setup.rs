//! The settings that nodes share which ask an endpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::net::Url;
use crate::node::{SettingProblem, settings};

/// How an endpoint is told to answer in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ResponseFormat {
    /// By a schema of the answer: llama.cpp, `vLLM`, Ollama and `OpenAI` hold the model to it.
    #[default]
    JsonSchema,
    /// As any JSON object, for endpoints without schemas.
    JsonObject,
    /// By the prompt alone.
    None,
}

impl ResponseFormat {
    /// Adds to a request's body what asks for an answer of this schema.
    pub(crate) fn ask_for(self, body: &mut Value, name: &str, schema: impl FnOnce() -> Value) {
        match self {
            Self::JsonSchema => {
                let schema = json!({"name": name, "strict": true, "schema": schema()});
                body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
            }
            Self::JsonObject => body["response_format"] = json!({"type": "json_object"}),
            Self::None => {}
        }
    }
}

/// Requests at a time where nothing else is set.
pub(crate) const fn default_parallel() -> usize {
    4
}

/// How long one answer may take where nothing else is set.
pub(crate) fn default_timeout() -> String {
    "10m".into()
}

/// Where an endpoint is and how it is asked, as settings say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'s> {
    pub(crate) endpoint: &'s str,
    pub(crate) model: &'s str,
    pub(crate) token: Option<&'s str>,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: f64,
    pub(crate) parallel: usize,
    pub(crate) timeout: &'s str,
}

/// Returns what is wrong with the settings that reach an endpoint.
pub(crate) fn problems(reach: &Reach<'_>) -> Vec<SettingProblem> {
    let mut problems = Vec::new();
    let mut wrong = |key: &str, message: String, help: &str| {
        problems.push(SettingProblem::new(&[key], "settings::wrong_value", message, help));
    };
    if let Err(error) = Url::parse(reach.endpoint) {
        wrong("endpoint", error.to_string(), "write it as `http://HOST:PORT/v1`");
    }
    if reach.model.trim().is_empty() {
        wrong("model", "`model` is empty".into(), "`ENDPOINT/models` lists what the endpoint has");
    }
    if humantime::parse_duration(reach.timeout).is_err() {
        wrong("timeout", format!("`{}` is no length of time", reach.timeout), "write it as `90s` or `10m`");
    }
    if reach.token.is_some_and(|token| settings::environment_name(token).is_none()) {
        problems.push(settings::literal_secret("env:NAME"));
    }
    let mut bounds = |key: &str, is_within: bool, range: &str| {
        if !is_within {
            problems.push(settings::out_of_range(&[key], &format!("a number {range}")));
        }
    };
    bounds("max-tokens", reach.max_tokens >= 16, "from 16");
    bounds("temperature", (0.0..=2.0).contains(&reach.temperature), "from 0 to 2");
    bounds("parallel", (1..=256).contains(&reach.parallel), "from 1 to 256");
    problems
}
