//! From text to token ids and back: from `tokenizer.json`, or rebuilt from a GGUF's metadata.
//!
//! Nothing is added to what is tokenised: beginning-of-text tokens are the chat template's business.

mod sentence_piece;
mod split;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::BPE;
#[cfg(feature = "llama")]
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{AddedToken, Tokenizer as Inner};

use super::{ModelError, Result};
use sentence_piece::SentencePiece;
use split::{KNOWN, pre_tokenizer};

pub(super) use sentence_piece::SentencePieceParts;
#[cfg(feature = "llama")]
pub(super) use split::split_name;

/// What a token is, as far as text is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    /// Made of merges.
    Normal,
    /// Opens or closes a part of the conversation; never meant to come from text.
    Control,
    /// Stands for its own text as a whole.
    UserDefined,
    /// Stands for what no token stands for.
    Unknown,
}

/// A byte-level BPE tokenizer in parts, as a GGUF has it.
#[derive(Debug)]
pub(super) struct BpeParts<'a> {
    /// How text is split before merging.
    pub(super) pre: &'a str,
    /// The tokens by id.
    pub(super) tokens: Vec<&'a str>,
    /// What each token is.
    pub(super) types: Vec<TokenType>,
    /// Pairs, parted by a space, from the first merge to the last.
    pub(super) merges: Vec<&'a str>,
}

/// A tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    engine: Engine,
    /// Texts of the tokens that must not come from a record's text.
    markers: Vec<String>,
}

#[derive(Clone, Debug)]
enum Engine {
    /// What `tokenizer.json` describes, or byte-level merges.
    Library(Box<Inner>),
    /// SentencePiece with scores, as GGUFs have it.
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when it is not one.
    pub fn from_json(json: &str) -> Result<Self> {
        // The library trusts what it reads to be JSON, and panics in the middle of what is none.
        serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|error| ModelError::Tokenizer(error.into()))?;
        let mut inner = Inner::from_bytes(json).map_err(ModelError::Tokenizer)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(ModelError::Tokenizer)?;
        Ok(Self::new(inner))
    }

    /// Rebuilds a byte-level BPE tokenizer from its parts.
    pub(super) fn from_bpe(parts: &BpeParts<'_>) -> Result<Self> {
        let (pre, ignore_merges) = pre_tokenizer(parts.pre)?;
        let vocabulary: tokenizers::models::bpe::Vocab =
            parts.tokens.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), id)).collect();
        let pair = |merge: &&str| {
            let (left, right) = merge.split_once(' ').unwrap_or((merge, ""));
            (left.to_owned(), right.to_owned())
        };
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, parts.merges.iter().map(pair).collect())
            .ignore_merges(ignore_merges)
            .build()
            .map_err(ModelError::Tokenizer)?;
        let mut inner = Inner::new(model);
        inner.with_pre_tokenizer(Some(pre));
        inner.with_decoder(Some(ByteLevelDecoder::default()));
        let added = |wanted: TokenType, special: bool| {
            let tokens = parts.tokens.iter().zip(&parts.types).filter(move |(_, found)| **found == wanted);
            tokens.map(move |(token, _)| AddedToken::from(*token, special).normalized(false)).collect::<Vec<_>>()
        };
        inner.add_special_tokens(added(TokenType::Control, true)).map_err(ModelError::Tokenizer)?;
        inner.add_tokens(added(TokenType::UserDefined, false)).map_err(ModelError::Tokenizer)?;
        Ok(Self::new(inner))
    }

    /// Makes the error for a tokenizer that cannot be rebuilt.
    pub(super) fn unknown(found: &str) -> ModelError {
        ModelError::UnknownTokenizer { found: found.to_owned(), known: KNOWN }
    }

    fn new(inner: Inner) -> Self {
        let mut markers: Vec<String> = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special)
            .map(|(_, token)| token.content)
            .collect();
        markers.sort();
        Self { engine: Engine::Library(Box::new(inner)), markers }
    }

    /// Rebuilds a SentencePiece tokenizer from its parts.
    pub(super) fn from_sentence_piece(parts: SentencePieceParts<'_>) -> Result<Self> {
        let pieces = SentencePiece::new(parts)?;
        let mut markers: Vec<String> = pieces.controls().cloned().collect();
        markers.sort();
        Ok(Self { engine: Engine::SentencePiece(Box::new(pieces)), markers })
    }

    /// Returns how text is split before merging, where that is told.
    #[cfg(feature = "llama")]
    fn pre_tokenizer(&self) -> Option<&PreTokenizerWrapper> {
        match &self.engine {
            Engine::Library(inner) => inner.get_pre_tokenizer(),
            Engine::SentencePiece(_) => None,
        }
    }

    /// Returns the ids of `text`; special tokens written in it count as such, nothing is added.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] for a text that the tokenizer cannot express.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.engine {
            Engine::Library(inner) => {
                let encoding = inner.encode_fast(text, false).map_err(ModelError::Tokenizer)?;
                Ok(encoding.get_ids().to_vec())
            }
            Engine::SentencePiece(pieces) => Ok(pieces.encode(text)),
        }
    }

    /// Returns the ids of `text` with what `tokenizer.json` puts around it, such as a beginning-of-text token.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] for a text that the tokenizer cannot express.
    #[cfg(feature = "llama")]
    pub(super) fn encode_with_additions(&self, text: &str) -> Result<Vec<u32>> {
        match &self.engine {
            Engine::Library(inner) => {
                let encoding = inner.encode_fast(text, true).map_err(ModelError::Tokenizer)?;
                Ok(encoding.get_ids().to_vec())
            }
            Engine::SentencePiece(pieces) => Ok(pieces.encode(text)),
        }
    }

    /// Returns `tokenizer.json`, where the tokenizer can be told that way.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`], which does not happen.
    #[cfg(feature = "llama")]
    pub(super) fn json(&self) -> Result<Option<String>> {
        match &self.engine {
            Engine::Library(inner) => inner.to_string(false).map(Some).map_err(ModelError::Tokenizer),
            Engine::SentencePiece(_) => Ok(None),
        }
    }

    /// Returns the text of `ids`, special tokens included.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] for ids that are not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        match &self.engine {
            Engine::Library(inner) => inner.decode(ids, false).map_err(ModelError::Tokenizer),
            Engine::SentencePiece(pieces) => {
                pieces.decode(ids).ok_or_else(|| ModelError::Tokenizer("a token that is not in the vocabulary".into()))
            }
        }
    }

    /// Returns the largest id that a text can become.
    pub(super) fn largest_id(&self) -> u32 {
        match &self.engine {
            Engine::Library(inner) => inner.get_vocab(true).into_values().max().unwrap_or(0),
            Engine::SentencePiece(pieces) => pieces.largest_id(),
        }
    }

    /// Returns the id of a token by its text.
    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.engine {
            Engine::Library(inner) => inner.token_to_id(token),
            Engine::SentencePiece(pieces) => pieces.id(token),
        }
    }

    /// Returns the first special token that is written in `text`: in a record's text it could open a role.
    pub fn marker_in(&self, text: &str) -> Option<&str> {
        self.markers.iter().map(String::as_str).find(|marker| text.contains(marker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(pre: &str) -> BpeParts<'_> {
        let tokens = vec!["<|im_start|>", "a", "b", "1", "Ġ", "ab", "Ġab", "11"];
        let mut types = vec![TokenType::Normal; tokens.len()];
        types[0] = TokenType::Control;
        BpeParts { pre, tokens, types, merges: vec!["a b", "Ġ ab", "1 1"] }
    }

    #[test]
    fn smollm_splits_digits_and_gpt_2_merges_them() {
        let ids = |pre| Tokenizer::from_bpe(&parts(pre)).unwrap().encode("ab11 ab<|im_start|>").unwrap();
        assert_eq!(ids("smollm"), [5, 3, 3, 6, 0]);
        assert_eq!(ids("gpt-2"), [5, 7, 6, 0]);
    }

    #[test]
    fn an_unknown_split_is_refused_with_the_way_out() {
        let error = Tokenizer::from_bpe(&parts("viking")).unwrap_err();
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("smollm") && help.contains("tokenizer.json"), "{help}");
    }

    /// Scripts, numbers, spaces and signs on which splits differ; after the text that llama.cpp's converter checks with.
    #[cfg(feature = "llama")]
    const HARD: &str = "\n \n\n \n\n\n \t \t\t \t\n  \n   \n🚀 (normal) 😶\u{200d}🌫️ ✅ 🦙🦙 3 33 333 3333 33333 3.3 3..3 \
                        3...3 កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ ------======= нещо на Български \
                        ```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure \
                        We'Ve a'lL\r\n  <|im_end|>end  \u{301}e\u{301} x²½ ½";

    #[cfg(feature = "llama")]
    #[test]
    fn each_split_gives_the_ids_that_llama_cpp_gives() {
        use super::split::NAMES;
        use crate::llama::{Markers, Model};
        use crate::model::gguf::tiny;
        use crate::model::weights::{Base, WeightFiles};

        let folder = tempfile::tempdir().unwrap();
        for name in NAMES {
            let path = folder.path().join(name);
            tiny::write_with_split(&path, name, HARD).unwrap();
            let ours = Base::open(&WeightFiles::Gguf(path.clone())).unwrap().tokenizer().unwrap();
            let ours: Vec<i32> = ours.encode(HARD).unwrap().into_iter().map(|id| id as i32).collect();
            assert_eq!(ours, Model::load(&path).unwrap().tokenize(HARD, Markers::Parsed).unwrap(), "{name}");
        }
    }

    #[test]
    fn neutralised_text_gives_no_token_that_opens_or_closes_a_part() {
        let markers =
            ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<s>", "</s>", "[INST]", "<start_of_turn>", "<｜User｜>"];
        let tokens: Vec<&str> = markers.iter().copied().chain(["a"]).collect();
        let mut types = vec![TokenType::Control; markers.len()];
        types.push(TokenType::Normal);
        let tokenizer = Tokenizer::from_bpe(&BpeParts { pre: "gpt-2", tokens, types, merges: Vec::new() }).unwrap();
        let control = |text: &str| {
            let ids = tokenizer.encode(text).unwrap();
            ids.into_iter().filter(|id| (*id as usize) < markers.len()).count()
        };
        let text = markers.join("a");
        assert_eq!(control(&text), markers.len());
        let (neutral, _) = crate::record::neutralised(&text, &[]);
        assert_eq!((control(&neutral), tokenizer.marker_in(&neutral)), (0, None));
    }

    #[test]
    fn a_marker_inside_a_text_is_found() {
        let tokenizer = Tokenizer::from_bpe(&parts("gpt-2")).unwrap();
        assert_eq!(tokenizer.marker_in("say <|im_start|>system"), Some("<|im_start|>"));
        assert_eq!(tokenizer.marker_in("say <|im_star"), None);
    }
}
