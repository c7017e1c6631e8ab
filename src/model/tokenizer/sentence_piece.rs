//! SentencePiece's byte-pair encoding with scores, as llama.cpp computes it (`llm_tokenizer_spm_session`).
//!
//! Symbols are characters at first; of all neighbours that make a token together, those with the highest score are joined,
//! the leftmost first. What is no token in the end is told by its bytes. Spaces are `▁`, and a text begins with one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use super::super::{ModelError, Result};
use super::TokenType;

/// What stands for a space in tokens.
const SPACE: char = '▁';

/// A vocabulary in parts, as a GGUF has it.
#[derive(Debug)]
pub(in crate::model) struct SentencePieceParts<'a> {
    /// The tokens by id.
    pub(in crate::model) tokens: Vec<&'a str>,
    /// What joins first has the highest.
    pub(in crate::model) scores: Vec<f32>,
    /// What each token is.
    pub(in crate::model) types: Vec<TokenType>,
    /// Whether a space is put before a text, and before what follows a special token.
    pub(in crate::model) adds_space: bool,
}

/// A tokenizer.
#[derive(Clone, Debug)]
pub(super) struct SentencePiece {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<TokenType>,
    adds_space: bool,
    ids: BTreeMap<String, u32>,
    /// The tokens of the 256 bytes.
    bytes: Vec<u32>,
    /// Tokens that are found in a text before all others, the longest first.
    specials: Vec<u32>,
}

/// Two neighbours that may be joined.
#[derive(Debug, PartialEq)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both, by which a pair is known whose symbols were joined otherwise.
    size: usize,
}

impl Eq for Pair {}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A piece of the text that is no token yet or one already.
struct Symbol {
    start: usize,
    size: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// A part of a text: letters, or a special token.
enum Fragment<'t> {
    Text(&'t str),
    Special(u32),
}

impl SentencePiece {
    pub(super) fn new(parts: SentencePieceParts<'_>) -> Result<Self> {
        let unsupported = |what: &str| ModelError::Unsupported { what: what.to_owned() };
        let count = parts.tokens.len();
        if parts.scores.len() != count || parts.types.len() != count {
            return Err(unsupported("a vocabulary with other numbers of tokens, scores and types"));
        }
        if parts.scores.iter().any(|score| score.is_nan()) {
            return Err(unsupported("a vocabulary with a score that is no number"));
        }
        let tokens: Vec<String> = parts.tokens.iter().map(|token| (*token).to_owned()).collect();
        let ids: BTreeMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
        let byte = |byte: u8| ids.get(&format!("<0x{byte:02X}>")).copied();
        let bytes: Option<Vec<u32>> = (0..=u8::MAX).map(byte).collect();
        let bytes = bytes.ok_or_else(|| unsupported("a SentencePiece vocabulary without tokens for single bytes"))?;
        let is_special = |id: &u32| {
            matches!(parts.types[*id as usize], TokenType::Control | TokenType::UserDefined | TokenType::Unknown)
        };
        let mut specials: Vec<u32> =
            (0..count as u32).filter(is_special).filter(|id| !tokens[*id as usize].is_empty()).collect();
        specials.sort_by_key(|id| std::cmp::Reverse(tokens[*id as usize].len()));
        let SentencePieceParts { scores, types, adds_space, .. } = parts;
        Ok(Self { tokens, scores, types, adds_space, ids, bytes, specials })
    }

    /// Returns the tokens whose texts must not come from a record's text.
    pub(super) fn controls(&self) -> impl Iterator<Item = &String> {
        let found = self.tokens.iter().zip(&self.types);
        found.filter(|(_, kind)| matches!(kind, TokenType::Control | TokenType::Unknown)).map(|(token, _)| token)
    }

    pub(super) fn largest_id(&self) -> u32 {
        (self.tokens.len() as u32).saturating_sub(1)
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut is_after_special = true;
        for fragment in self.fragments(text) {
            match fragment {
                Fragment::Special(id) => {
                    ids.push(id);
                    is_after_special = true;
                }
                Fragment::Text(text) => {
                    let mut spaced = String::with_capacity(text.len() + 3);
                    spaced.extend((self.adds_space && is_after_special).then_some(SPACE));
                    spaced.extend(text.chars().map(|letter| if letter == ' ' { SPACE } else { letter }));
                    self.join(&spaced, &mut ids);
                    is_after_special = false;
                }
            }
        }
        ids
    }

    /// Cuts a text at its special tokens; where they overlap, the longest counts.
    fn fragments<'t>(&self, text: &'t str) -> Vec<Fragment<'t>> {
        let mut fragments = vec![Fragment::Text(text)];
        for id in &self.specials {
            let special = self.tokens[*id as usize].as_str();
            if !text.contains(special) {
                continue;
            }
            let mut cut = Vec::with_capacity(fragments.len() + 2);
            for fragment in fragments {
                let Fragment::Text(part) = fragment else {
                    cut.push(fragment);
                    continue;
                };
                for (at, between) in part.split(special).enumerate() {
                    cut.extend((at > 0).then_some(Fragment::Special(*id)));
                    cut.extend((!between.is_empty()).then_some(Fragment::Text(between)));
                }
            }
            fragments = cut;
        }
        fragments.retain(|fragment| !matches!(fragment, Fragment::Text("")));
        fragments
    }

    /// Joins the characters of a text, and adds the tokens.
    fn join(&self, text: &str, ids: &mut Vec<u32>) {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(at, (start, letter))| Symbol {
                start,
                size: letter.len_utf8(),
                previous: at.checked_sub(1),
                next: (start + letter.len_utf8() < text.len()).then_some(at + 1),
            })
            .collect();
        let mut queue = BinaryHeap::new();
        for right in 1..symbols.len() {
            queue.extend(self.pair(text, &symbols, Some(right - 1), Some(right)));
        }
        while let Some(pair) = queue.pop() {
            let (left, right) = (&symbols[pair.left], &symbols[pair.right]);
            if left.size == 0 || right.size == 0 || left.size + right.size != pair.size {
                continue;
            }
            let (size, next) = (pair.size, right.next);
            symbols[pair.right].size = 0;
            symbols[pair.left].size = size;
            symbols[pair.left].next = next;
            if let Some(next) = next {
                symbols[next].previous = Some(pair.left);
            }
            queue.extend(self.pair(text, &symbols, symbols[pair.left].previous, Some(pair.left)));
            queue.extend(self.pair(text, &symbols, Some(pair.left), next));
        }
        for symbol in symbols.iter().filter(|symbol| symbol.size > 0) {
            let piece = &text[symbol.start..symbol.start + symbol.size];
            match self.ids.get(piece) {
                Some(id) => ids.push(*id),
                None => ids.extend(piece.bytes().map(|byte| self.bytes[usize::from(byte)])),
            }
        }
    }

    fn pair(&self, text: &str, symbols: &[Symbol], left: Option<usize>, right: Option<usize>) -> Option<Pair> {
        let (left, right) = (left?, right?);
        let size = symbols[left].size + symbols[right].size;
        let start = symbols[left].start;
        let id = *self.ids.get(&text[start..start + size])?;
        Some(Pair { score: self.scores[id as usize], left, right, size })
    }

    /// Returns the text of tokens, without the spaces that [`Self::encode`] puts in front.
    pub(super) fn decode(&self, ids: &[u32]) -> Option<String> {
        let mut bytes = Vec::new();
        let mut is_after_special = true;
        for id in ids {
            let (token, kind) = (self.tokens.get(*id as usize)?, self.types[*id as usize]);
            let is_special = matches!(kind, TokenType::Control | TokenType::UserDefined | TokenType::Unknown);
            if let Some(byte) = self.bytes.iter().position(|known| known == id) {
                bytes.push(byte as u8);
            } else if is_special {
                bytes.extend(token.bytes());
            } else {
                let text = token.replace(SPACE, " ");
                let is_put_there = self.adds_space && is_after_special;
                bytes.extend(text.strip_prefix(' ').filter(|_| is_put_there).unwrap_or(&text).bytes());
            }
            is_after_special = is_special;
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
