//! The text of an answer while its tokens come: told as soon as its characters are whole and can begin no stop text.

/// An answer that grows.
pub(super) struct Answer<'a> {
    stop: &'a [String],
    /// All that was told.
    text: String,
    /// Whole characters that may begin a stop text.
    open: String,
    /// Bytes of a character that is not whole yet.
    held: Vec<u8>,
}

impl<'a> Answer<'a> {
    /// Makes an empty answer that one of these texts ends; empty ones end nothing.
    pub(super) fn new(stop: &'a [String]) -> Self {
        Self { stop, text: String::new(), open: String::new(), held: Vec::new() }
    }

    /// Takes a token's bytes. Returns what can be told now, and whether a stop text has come: it is cut off, with all
    /// that is behind it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (&str, bool) {
        self.held.extend(bytes);
        self.take_characters();
        let stop = self.stop.iter().filter(|stop| !stop.is_empty());
        match stop.filter_map(|stop| self.open.find(stop.as_str())).min() {
            Some(cut) => {
                self.open.truncate(cut);
                self.held.clear();
                (self.tell(cut), true)
            }
            None => (self.tell(self.open.len() - self.may_begin_stop()), false),
        }
    }

    /// Returns what is left to tell when no token comes any more.
    pub(super) fn finish(&mut self) -> &str {
        let held = std::mem::take(&mut self.held);
        self.open.push_str(&String::from_utf8_lossy(&held));
        self.tell(self.open.len())
    }

    /// Returns all that was told.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn tell(&mut self, length: usize) -> &str {
        let start = self.text.len();
        self.text.extend(self.open.drain(..length));
        &self.text[start..]
    }

    /// Makes characters of the bytes, but for a last one that is only begun; what is none becomes `�`.
    fn take_characters(&mut self) {
        let mut taken = 0;
        for chunk in self.held.utf8_chunks() {
            self.open.push_str(chunk.valid());
            taken += chunk.valid().len();
            let invalid = chunk.invalid();
            let is_last = taken + invalid.len() == self.held.len();
            let is_begun = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if invalid.is_empty() || (is_last && is_begun) {
                break;
            }
            self.open.push(char::REPLACEMENT_CHARACTER);
            taken += invalid.len();
        }
        self.held.drain(..taken);
    }

    /// Returns how many bytes at the end could be the beginning of a stop text.
    fn may_begin_stop(&self) -> usize {
        let longest = |stop: &String| {
            let begins = |length: &usize| stop.is_char_boundary(*length) && self.open.ends_with(&stop[..*length]);
            (1..stop.len()).rev().find(begins)
        };
        self.stop.iter().filter_map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is told of these tokens, piece by piece, and whether a stop text ended it.
    fn told(stop: &[&str], tokens: &[&[u8]]) -> (Vec<String>, bool) {
        let stop: Vec<String> = stop.iter().map(|&stop| stop.to_owned()).collect();
        let mut answer = Answer::new(&stop);
        let mut pieces = Vec::new();
        for token in tokens {
            let (piece, is_stopped) = answer.push(token);
            pieces.push(piece.to_owned());
            if is_stopped {
                assert_eq!(answer.finish(), "");
                assert_eq!(answer.into_text(), pieces.concat());
                return (pieces, true);
            }
        }
        pieces.push(answer.finish().to_owned());
        assert_eq!(answer.into_text(), pieces.concat());
        (pieces, false)
    }

    #[test]
    fn characters_are_told_when_they_are_whole() {
        assert_eq!(told(&[], &[b"a\xf0\x9f", b"\xa6\x99b"]).0, ["a", "🦙b", ""]);
        assert_eq!(told(&[], &[b"\xe2\x82", b"a"]).0, ["", "\u{fffd}a", ""]);
        assert_eq!(told(&[], &[b"a\xffb\xc3"]).0, ["a\u{fffd}b", "\u{fffd}"]);
    }

    #[test]
    fn a_stop_text_is_never_told_however_it_is_cut_into_tokens() {
        assert_eq!(told(&["END"], &[b"one E", b"ND two"]), (vec!["one ".into(), String::new()], true));
        assert_eq!(told(&["END"], &[b"one E", b"N"]), (vec!["one ".into(), String::new(), "EN".into()], false));
        assert_eq!(told(&["END"], &[b"EEN", b"D"]), (vec!["E".into(), String::new()], true));
        assert_eq!(told(&["b", "ab"], &[b"xa", b"b"]), (vec!["x".into(), String::new()], true));
        assert_eq!(told(&["\u{fc}x", ""], &[b"\xc3", b"\xbcx"]), (vec![String::new(), String::new()], true));
    }
}
