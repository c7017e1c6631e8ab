//! Arguments that `chat` and `serve` share: how answers are generated.

use crate::llama::Generation;

/// Tokens of question and answer together, where the command line does not say.
const USUAL_CONTEXT: u32 = 4096;

/// How answers are generated.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Sampling {
    /// 0 takes the likeliest token each time; more makes unlikely ones likelier
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,
    /// Pick among the likeliest tokens that have this share of the probability together
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    top_p: f32,
    /// What chance starts from; the same seed gives the same answer
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// The longest answer in tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    max_answer_tokens: u32,
    /// Tokens of question and answer together; by default 4096, or what the model was made for where that is less
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(16..))]
    context: Option<u32>,
}

impl Sampling {
    /// Returns how answers are generated.
    pub(super) fn generation(&self) -> Generation {
        Generation {
            tokens: self.max_answer_tokens as usize,
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.seed,
            stop: Vec::new(),
        }
    }

    /// Returns the tokens of question and answer together, for a model that was made for `most`.
    pub(super) fn context(&self, most: u32) -> u32 {
        self.context.unwrap_or(USUAL_CONTEXT).min(most)
    }
}

fn temperature(text: &str) -> Result<f32, &'static str> {
    between(text, 10.0).ok_or("a temperature is between 0 and 10")
}

fn share(text: &str) -> Result<f32, &'static str> {
    between(text, 1.0).ok_or("a share is between 0 and 1")
}

fn between(text: &str, most: f32) -> Option<f32> {
    text.parse().ok().filter(|number| (0.0..=most).contains(number))
}
