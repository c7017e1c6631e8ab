//! A row in 300 bytes, from which rows that may be alike are found.
//!
//! The signature is `MinHash`: for each of 128 hash functions the smallest value that a shingle of the row has. Two rows
//! agree in as many places as their sets of shingles overlap. 16 bits a place are kept (b-bit `MinHash`): chance
//! agreement is then 1 in 65,536. It is written here, in 20 lines, since signatures lie in stores: they must be the same
//! for ever, which no library promises.

use globset::GlobSet;
use serde::{Deserialize, Serialize};

use super::{By, Settings};
use crate::node::filter::rows::{question, said_by};
use crate::node::filter::text::{characters, run_of, words};
use crate::record::{Conversation, Role};
use crate::store::Digest;

/// Hash functions of a signature.
pub(super) const PLACES: usize = 128;

/// What is kept of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sketch {
    /// Of the words compared, or of the raw text where it has no words.
    pub(super) text: u64,
    /// The place of the first pattern of `prefer` that the row's id fits; less is better.
    pub(super) rank: u32,
    /// Distinct shingles.
    pub(super) shingles: u32,
    /// Characters of the answers.
    pub(super) length: u32,
    /// Little-endian words of 16 bits.
    signature: Vec<u8>,
}

impl Sketch {
    /// Returns the sketch of a row.
    pub(super) fn of(row: &Conversation, settings: &Settings, preferred: &GlobSet) -> Self {
        let text = compared(row, settings.by);
        let words = words(&text);
        let shingles = shingles_of(&words, settings.shingle_words);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = Digest::of(if words.is_empty() { text.trim().as_bytes() } else { &bytes });
        let mut head = [0; 8];
        head.copy_from_slice(&text.as_bytes()[..8]);
        Self {
            text: u64::from_le_bytes(head),
            rank: preferred.matches(&row.id).first().map_or(u32::MAX, |place| *place as u32),
            shingles: shingles.len() as u32,
            length: characters(&said_by(row, Role::Assistant)) as u32,
            signature: signature(&shingles),
        }
    }

    /// Returns the value at a place.
    pub(super) fn at(&self, place: usize) -> u16 {
        let pair = self.signature.get(2 * place..2 * place + 2);
        pair.and_then(|pair| pair.try_into().ok()).map_or(0, u16::from_le_bytes)
    }

    /// Returns the share of places in which two signatures agree: near the Jaccard similarity of the rows, with a
    /// standard deviation of at most 0.045.
    pub(super) fn agreement(&self, other: &Self) -> f64 {
        let pairs = self.signature.as_chunks::<2>().0.iter().zip(other.signature.as_chunks::<2>().0);
        pairs.filter(|(a, b)| a == b).count() as f64 / PLACES as f64
    }
}

/// Returns the text by which rows are compared.
fn compared(row: &Conversation, by: By) -> String {
    match by {
        By::Question => question(row).to_owned(),
        By::Answer => said_by(row, Role::Assistant),
        By::Conversation => {
            let turns = row.turns.iter().filter(|turn| turn.role != Role::System);
            turns.map(|turn| turn.text.as_str()).collect::<Vec<_>>().join("\n\n")
        }
    }
}

/// Returns the sorted hashes of a row's shingles: every run of `n` words, or all words where there are fewer.
pub(super) fn shingles(row: &Conversation, settings: &Settings) -> Vec<u32> {
    shingles_of(&words(&compared(row, settings.by)), settings.shingle_words)
}

fn shingles_of(words: &[u64], n: usize) -> Vec<u32> {
    if words.is_empty() {
        return Vec::new();
    }
    let mut shingles: Vec<u32> =
        words.windows(n.clamp(1, words.len())).map(|words| (run_of(words) >> 32) as u32).collect();
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

fn signature(shingles: &[u32]) -> Vec<u8> {
    let mut smallest = [u32::MAX; PLACES];
    for shingle in shingles {
        for (smallest, key) in smallest.iter_mut().zip(&KEYS) {
            *smallest = (*smallest).min(mixed(shingle ^ key));
        }
    }
    smallest.iter().flat_map(|value| (*value as u16).to_le_bytes()).collect()
}

/// A permutation of 32-bit words: the finaliser of `MurmurHash3`.
const fn mixed(mut word: u32) -> u32 {
    word = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    word = (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

/// One key a hash function, from a Weyl sequence.
const KEYS: [u32; PLACES] = {
    let mut keys = [0; PLACES];
    let mut n = 0;
    while n < PLACES {
        keys[n] = mixed(0x9e37_79b9_u32.wrapping_mul(n as u32 + 1));
        n += 1;
    }
    keys
};

/// Returns the Jaccard similarity of two sorted sets: the share of all shingles that both have.
pub(super) fn jaccard(a: &[u32], b: &[u32]) -> f64 {
    let (mut at, mut of, mut both) = (0, 0, 0_usize);
    while let (Some(x), Some(y)) = (a.get(at), b.get(of)) {
        both += usize::from(x == y);
        at += usize::from(x <= y);
        of += usize::from(y <= x);
    }
    let all = a.len() + b.len() - both;
    if all == 0 { 1.0 } else { both as f64 / all as f64 }
}
