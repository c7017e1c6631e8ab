//! The settings of an endpoint: where it is, and how it is asked. All kinds that ask one read them as one group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Request;
use crate::net::Url;
use crate::node::{SettingProblem, settings};

/// Where an endpoint is, and how it is asked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct EndpointSettings {
    /// The base address of an API like `OpenAI`'s, with `/v1`: `http://127.0.0.1:8080/v1`. Another address is no other
    /// result: what answers there is told by `model`.
    #[serde(rename = "endpoint")]
    pub(crate) address: String,
    /// The model's name at the endpoint.
    pub(crate) model: String,
    /// Where the endpoint's token is, as `env:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// Tokens of an answer with the thoughts before it; one that needs more is left out.
    #[serde(default = "default_max_tokens")]
    #[schemars(range(min = 16))]
    pub(crate) max_tokens: u32,
    /// From 0, always the likeliest word, to 2.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 2.0))]
    pub(crate) temperature: f64,
    /// Another number gives other answers where the temperature is above 0.
    #[serde(default)]
    pub(crate) seed: u32,
    /// How the endpoint is told to answer in JSON.
    #[serde(default)]
    pub(crate) response_format: ResponseFormat,
    /// Requests at a time, from 1 to 256.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 256))]
    pub(crate) parallel: usize,
    /// How long one answer may take, such as `10m`.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: String,
}

/// How an endpoint is told to answer in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

const fn default_max_tokens() -> u32 {
    1_024
}

const fn default_parallel() -> usize {
    4
}

fn default_timeout() -> String {
    "10m".into()
}

impl EndpointSettings {
    /// The settings that say nothing of what is answered.
    pub(crate) const OUTSIDE_KEY: &[&str] = &["endpoint", "token", "parallel", "timeout"];

    /// Returns what is wrong with the settings.
    pub(crate) fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: String, help: &str| {
            problems.push(SettingProblem::new(&[key], "settings::wrong_value", message, help));
        };
        if let Err(error) = Url::parse(&self.address) {
            wrong("endpoint", error.to_string(), "write it as `http://HOST:PORT/v1`");
        }
        if self.model.trim().is_empty() {
            wrong("model", "`model` is empty".into(), "`ENDPOINT/models` lists what the endpoint has");
        }
        if humantime::parse_duration(&self.timeout).is_err() {
            wrong("timeout", format!("`{}` is no length of time", self.timeout), "write it as `90s` or `10m`");
        }
        if self.token.as_deref().is_some_and(|token| settings::environment_name(token).is_none()) {
            problems.push(settings::literal_secret("env:NAME"));
        }
        let mut bounds = |key: &str, is_within: bool, range: &str| {
            if !is_within {
                problems.push(settings::out_of_range(&[key], &format!("a number {range}")));
            }
        };
        bounds("max-tokens", self.max_tokens >= 16, "from 16");
        bounds("temperature", (0.0..=2.0).contains(&self.temperature), "from 0 to 2");
        bounds("parallel", (1..=256).contains(&self.parallel), "from 1 to 256");
        problems
    }

    /// Makes the request of a prompt; `name` and `schema` are those of its answer.
    pub(crate) fn request(&self, prompt: &str, name: &str, schema: impl FnOnce() -> Value) -> Request {
        let mut body = json!({
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "stream": false,
        });
        match self.response_format {
            ResponseFormat::JsonSchema => {
                let schema = json!({"name": name, "strict": true, "schema": schema()});
                body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
            }
            ResponseFormat::JsonObject => body["response_format"] = json!({"type": "json_object"}),
            ResponseFormat::None => {}
        }
        Request::new(body)
    }
}
