//! Special tokens: which ids they have, and which are put around a text.
//!
//! This is `SpecialVocab` of llama.cpp's `gguf-py/gguf/vocab.py`: settings say which tokens, the tokenizer's
//! post-processor says which are added, and `config.json` has the ids that the settings leave open.

use serde::Deserialize;
use serde_json::Value as Json;

use super::metadata::number;
use crate::model::Result;
use crate::model::gguf::Value;
use crate::model::weights::Folder;

/// Names of special tokens: in the folder's files, and in a GGUF (whose spelling of "separator" is its own).
pub(super) const NAMES: &[(&str, &str)] = &[
    ("bos", "bos"),
    ("eos", "eos"),
    ("unk", "unknown"),
    ("sep", "seperator"),
    ("pad", "padding"),
    ("cls", "cls"),
    ("mask", "mask"),
    ("eot", "eot"),
    ("eom", "eom"),
];

/// The names that are looked for in any case; the others appear where a token takes another's place.
pub(super) const ALWAYS: usize = 7;

/// The parts of `tokenizer.json` that matter here.
#[derive(Default, Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedJson>,
    post_processor: Option<Json>,
}

#[derive(Deserialize)]
struct AddedJson {
    id: usize,
    content: String,
}

/// The special tokens of a model.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SpecialTokens {
    /// By place in [`NAMES`].
    texts: [Option<String>; NAMES.len()],
    ids: [Option<usize>; NAMES.len()],
    adds: [Option<bool>; NAMES.len()],
    /// How many of [`NAMES`] are looked for.
    known: usize,
}

/// Places in [`NAMES`].
const BOS: usize = 0;
const EOS: usize = 1;
const SEP: usize = 3;
const CLS: usize = 5;

/// Returns the special token that a part of a template is.
fn special(part: &Json) -> Option<String> {
    part.pointer("/SpecialToken/id").and_then(Json::as_str).map(str::to_owned)
}

impl SpecialTokens {
    /// Reads what the folder's files say.
    pub(super) fn of(folder: &Folder) -> Result<Self> {
        let tokenizer: TokenizerJson =
            if folder.has("tokenizer.json") { folder.json("tokenizer.json")? } else { TokenizerJson::default() };
        let mut tokens = Self { known: ALWAYS, ..Self::default() };
        for (text, (name, _)) in tokens.texts.iter_mut().zip(NAMES) {
            *text = folder.special_token(&format!("{name}_token"))?;
        }
        if folder.has("tokenizer.json") {
            for (missing, instead) in [(BOS, CLS), (EOS, SEP)] {
                if tokens.texts[missing].is_none() {
                    let text = tokens.texts[instead].clone();
                    tokens.texts[missing] = text;
                }
            }
            tokens.post_process(tokenizer.post_processor.as_ref());
        }
        let settings: Json = folder.json("tokenizer_config.json")?;
        let config: Json = folder.json("config.json")?;
        for (place, (name, _)) in NAMES.iter().enumerate().take(tokens.known) {
            if let Some(adds) = settings.get(format!("add_{name}_token")).and_then(Json::as_bool) {
                tokens.adds[place] = Some(adds);
            }
            let content = tokens.texts[place].as_ref();
            let added = tokenizer.added_tokens.iter().find(|token| Some(&token.content) == content);
            let declared = || config.get(format!("{name}_token_id"))?.as_u64().map(|id| id as usize);
            tokens.ids[place] = added.map(|token| token.id).or_else(declared);
        }
        Ok(tokens)
    }

    /// Takes in what stands around a single text, as the post-processor's template has it.
    fn post_process(&mut self, processor: Option<&Json>) {
        let Some(processor) = processor else { return };
        let parts = processor.get("processors").and_then(Json::as_array);
        for part in parts.map_or(std::slice::from_ref(processor), Vec::as_slice) {
            let kind = part.get("type").and_then(Json::as_str);
            if kind != Some("TemplateProcessing") {
                continue;
            }
            let parts = |key: &str| part.get(key).and_then(Json::as_array).map_or([].as_slice(), Vec::as_slice);
            let ends =
                if let [first, .., last] = parts("single") { [special(first), special(last)] } else { [None, None] };
            let [first, last] = ends.clone();
            if let Some(first) = first {
                let is_known =
                    |tokens: &Self| [BOS, CLS].iter().any(|place| tokens.texts[*place].as_ref() == Some(&first));
                if !is_known(self) {
                    for place in [BOS, CLS] {
                        self.texts[place].get_or_insert_with(|| first.clone());
                    }
                }
                self.adds[BOS] = Some(is_known(self));
            }
            if let Some(last) = last {
                if self.texts[EOS].as_ref() != Some(&last) {
                    // The settings' own end becomes the end of a turn, then that of a message.
                    if let Some(place) = (self.known < NAMES.len()).then_some(self.known) {
                        let text = self.texts[EOS].clone();
                        self.texts[place] = text;
                        self.known += 1;
                    }
                    self.texts[EOS] = Some(last);
                }
                self.adds[EOS] = Some(true);
            }
            self.separate(parts("pair"), &ends);
        }
    }

    /// Takes in what stands between two texts, without what stands around a single one.
    fn separate(&mut self, pair: &[Json], [first, last]: &[Option<String>; 2]) {
        let is = |part: Option<&Json>, end: &Option<String>| end.is_some() && part.and_then(special) == *end;
        let (start, stop) = (is(pair.first(), first), is(pair.last(), last));
        let within = pair.get(usize::from(start)..pair.len().saturating_sub(usize::from(stop)));
        let Some([a, between @ .., b]) = within else { return };
        let sequence = |part: &Json| part.pointer("/Sequence/id").and_then(Json::as_str).map(str::to_owned);
        if (sequence(a).as_deref(), sequence(b).as_deref()) != (Some("A"), Some("B")) || between.is_empty() {
            return;
        }
        let ends = |part: Option<&Json>| {
            let found = part.and_then(special);
            found.is_some() && [SEP, EOS].iter().any(|place| self.texts[*place] == found)
        };
        let adds = ends(between.first()) && last.is_none() || between.len() == 2 && ends(between.last());
        self.adds[SEP] = Some(adds);
        if adds && self.texts[SEP].is_none() {
            let text = self.texts[EOS].clone();
            self.texts[SEP] = text;
        }
    }

    /// Returns the keys of the GGUF; ids of `size` and more are of no token.
    pub(super) fn keys(&self, size: usize) -> Vec<(String, Value)> {
        let mut keys = Vec::new();
        for (place, (name, key)) in NAMES.iter().enumerate().take(self.known) {
            if let Some(id) = self.ids[place].filter(|id| *id < size) {
                keys.push(number(&format!("tokenizer.ggml.{key}_token_id"), id));
            }
            if let (Some(adds), "bos" | "eos" | "sep") = (self.adds[place], *name) {
                keys.push((format!("tokenizer.ggml.add_{name}_token"), Value::Bool(adds)));
            }
        }
        keys
    }
}
