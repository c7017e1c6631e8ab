//! Text as the filters compare and measure it: sentences, characters, words.

use regex::Regex;

/// Compiles a pattern of this program's own.
pub(super) fn pattern(text: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are constants, and a test compiles each")]
    Regex::new(text).expect("a valid pattern")
}

/// Returns the length in characters, by which all limits count; four make about one token of English.
pub(super) fn characters(text: &str) -> usize {
    text.chars().count()
}

/// Returns whether a text has fewer characters than `least`; most texts tell by their bytes, of which a character has up to
/// four.
pub(super) fn is_shorter(text: &str, least: usize) -> bool {
    text.len() < least || (text.len() < least.saturating_mul(4) && characters(text) < least)
}

/// Cuts a line after `.`, `!` and `?` that white space follows; the pieces together are the line.
pub(super) fn sentences(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let ends =
            matches!(character, '.' | '!' | '?') && characters.peek().is_some_and(|(_, next)| next.is_whitespace());
        if ends {
            let mut end = at + character.len_utf8();
            while let Some((space, character)) = characters.next_if(|(_, next)| next.is_whitespace()) {
                end = space + character.len_utf8();
            }
            pieces.push(&line[from..end]);
            from = end;
        }
    }
    if from < line.len() {
        pieces.push(&line[from..]);
    }
    pieces
}

/// Returns a hash of each word of a text. Words are the runs of letters and digits, in lower case; a character of a script
/// that sets no spaces between words is a word of its own. So punctuation, markup and spacing make no difference.
pub(super) fn words(text: &str) -> Vec<u64> {
    let mut words = Vec::new();
    let mut word: Option<u64> = None;
    for character in text.chars() {
        if !character.is_alphanumeric() {
            words.extend(word.take().map(mixed));
            continue;
        }
        if stands_alone(character) {
            words.extend(word.take().map(mixed));
            words.push(mixed(with(BASIS, character)));
            continue;
        }
        let hash = word.unwrap_or(BASIS);
        word = Some(if character.is_ascii() {
            with(hash, character.to_ascii_lowercase())
        } else {
            character.to_lowercase().fold(hash, with)
        });
    }
    words.extend(word.map(mixed));
    words
}

/// Returns a hash of a run of words.
pub(super) fn run_of(words: &[u64]) -> u64 {
    mixed(words.iter().fold(BASIS, |hash, word| (hash.rotate_left(23) ^ word).wrapping_mul(PRIME)))
}

/// Han, kana, and their relatives.
fn stands_alone(character: char) -> bool {
    matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The basis and the prime of FNV-1a: a hash that is fixed for ever, as signatures in stores need it.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

fn with(hash: u64, character: char) -> u64 {
    (hash ^ u64::from(u32::from(character))).wrapping_mul(PRIME)
}

/// Spreads a hash over all bits: the finaliser of `MurmurHash3`.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_equal_whatever_their_case_punctuation_and_spacing() {
        let same = words("How do I *install* Linkerd-CNI?");
        assert_eq!(same.len(), 6);
        assert_eq!(words("how do i install\n\n`linkerd` (cni)"), same);
        assert_ne!(words("how do i install linkerdcni"), same);
        assert_eq!(words("ÄRGER"), words("ärger"));
        assert_eq!(words("服务网格 mesh").len(), 5);
        assert!(words("… — !").is_empty());
    }

    #[test]
    fn a_length_is_that_in_characters() {
        for text in ["", "abc", "üüü", "服务网", "🦀🦀🦀"] {
            assert!(!is_shorter(text, 0));
            assert_eq!((is_shorter(text, 3), is_shorter(text, 4)), (text.is_empty(), true), "{text}");
        }
        assert!(is_shorter("🦀", 2) && !is_shorter("🦀", 1));
    }

    #[test]
    fn hashes_of_words_are_the_same_for_ever() {
        assert_eq!(words("linkerd"), [0x9075_6cdf_9571_954b]);
        assert_ne!(run_of(&words("a b c")), run_of(&words("c b a")));
        assert_ne!(run_of(&words("a b")), run_of(&words("ab")));
    }
}
