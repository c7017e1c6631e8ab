//! Text is data: what could act on a renderer, a terminal or a reader's eye is made harmless where rows are made.
//!
//! | found | becomes |
//! | --- | --- |
//! | a marker of a chat template, such as `<\|im_end\|>`, `[INST]`, `</s>`, `<｜User｜>`, `<think>` | the same with a space inside each end: `<\| im_end \|>`, `[ INST ]`, `< /s >` |
//! | a terminal's colour and cursor sequences | nothing |
//! | any other control character | its picture, such as `␀`; `�` where there is none |
//! | characters that no one sees: zero-width ones, bidirectional overrides, tags | nothing |
//! | CR, CRLF, NEL, VT, FF and Unicode's line and paragraph separators | a line feed |
//!
//! A joiner between two letters or emoji that are not ASCII stays, since Persian, Indic scripts and families of emoji need
//! it. Invisible characters go before markers are looked for, so that none hides in one. Generics such as `Vec<String>`,
//! HTML and shell redirections are no markers; `Vec<s>` holds Llama 2's `<s>` and becomes `Vec< s >`, which means the same.
//! Each change but that of line ends is counted. Doing it twice changes nothing.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::LazyLock;

use memchr::memchr3_iter;
use regex::{Captures, Regex};

use super::counts::Counts;
use super::unseen::is_invisible;

/// What [`neutralised`] changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neutralised {
    /// Markers of chat templates.
    pub markers: u64,
    /// Control characters, and terminal sequences of them.
    pub controls: u64,
    /// Characters that no one sees.
    pub invisible: u64,
}

impl Neutralised {
    /// Counts what was changed, in the words that every report has for it.
    pub fn tell(&self, counts: &mut Counts) {
        counts.add("template markers neutralised", self.markers);
        counts.add("control characters neutralised", self.controls);
        counts.add("invisible characters taken out", self.invisible);
    }
}

/// What opens and closes, by group: 1, 4, 7, 10 open, 2, 5, 8, 11 stand inside, 3, 6, 9, 12 close. Full-width signs are those
/// that normalising tokenizers take for ASCII, and the bar is `DeepSeek`'s own.
///
/// - `<|…|>`, `<|…>` and `<…|>` of `ChatML`, Llama 3 and 4, Phi, Qwen, GLM, Kimi, Granite, gpt-oss, Gemma 4, `DeepSeek`.
/// - `<…>` by name: Llama 2's, Mistral's and Gemma's turns and ends; reasoning and tools of Qwen, Hermes, `DeepSeek`, Seed;
///   fill-in-the-middle of `StarCoder`; ends of BERT's kin. `<s>` and `</s>` only as they are written.
/// - `[…]` by name of Mistral, GLM and BERT's kin, as they are written.
/// - `<<SYS>>` of Llama 2.
static MARKER: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?x)
        ([<＜﹤][|｜]) ([^\s<>\[\]|｜＜＞﹤﹥［］]{1,64}) ([|｜][>＞﹥])
        | ([<＜﹤](?:[|｜])?)
          ((?-i:/?s)
            |(?i:/?(?:bos|eos|pad|unk|cls|sep|mask|eod|eop|sop|eot|eos_token|bos_token
            |(?:start|end|begin)_of_(?:turn|text|image|audio|role|tool)|(?:begin|end)[_▁]of[_▁](?:sentence|text)
            |im_(?:start|end|sep)|endoftext|image_soft_token|audio_soft_token
            |think(?:ing)?|thought|reasoning|scratchpad
            |tools?|tool[_▁](?:calls?|code|declaration|list|outputs?|response|results?|use)s?|function_calls?|functioncall
            |(?:function|parameter|tool_call)=[^\s<>\[\]|]{1,64}|seed:[a-z_]{1,40}
            |fim_(?:prefix|middle|suffix|pad)|file_sep|repo_name|gh_stars
            |extra_id_\d{1,4}|unused_?\d{1,4}|reserved_(?:special_token_)?\d{1,4}|special_\d{1,4})))
          ([>＞﹥])
        | ([<＜﹤][|｜]) ([a-z][a-z_]{1,30}) ([>＞﹥])
        | ([<＜﹤]) ([a-z][a-z_]{1,30}) ([|｜][>＞﹥])
        | ([\[［]) (/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|SYSTEM_PROMPT|MODEL_SETTINGS|ARGS|CALL_ID|THINK
            |IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO|PREFIX|MIDDLE|SUFFIX|BOS|EOS|CLS|SEP|PAD|UNK|MASK|gMASK|sMASK)) ([\]］])
        | (<<) (/?SYS) (>>)";
    #[expect(clippy::expect_used, reason = "the pattern is a constant, and every test of this file compiles it")]
    Regex::new(pattern).expect("a valid pattern")
});

/// Returns the text without power, and what was changed. Markers that `kept` lists stay as they are.
pub fn neutralised<'t>(text: &'t str, kept: &[String]) -> (Cow<'t, str>, Neutralised) {
    let mut changed = Neutralised::default();
    let mut text = if is_plain(text) || text.chars().all(is_ordinary) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(visible(text, &mut changed))
    };
    if !may_hold_marker(&text) {
        return (text, changed);
    }
    let split = |found: &Captures<'_>| {
        if kept.iter().any(|marker| *marker == found[0]) {
            return found[0].to_owned();
        }
        changed.markers += 1;
        let parts: Vec<&str> = found.iter().skip(1).flatten().map(|part| part.as_str()).collect();
        parts.join(" ")
    };
    if let Cow::Owned(marked) = MARKER.replace_all(&text, split) {
        text = Cow::Owned(marked);
    }
    (text, changed)
}

/// Returns whether a text has nothing but ASCII that is seen: of each piece all bytes are looked at, which the compiler makes
/// vectors of.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: &u8| matches!(*byte, b'\n' | b'\t' | b' '..=b'~');
    text.as_bytes().chunks(128).all(|piece| piece.iter().fold(true, |all, byte| all & is_plain(byte)))
}

/// Returns whether [`MARKER`] may fit somewhere, at a tenth of its cost: something that opens a marker, and what closes one
/// before white space.
fn may_hold_marker(text: &str) -> bool {
    /// The first byte of the full-width signs.
    const FULL_WIDTH: u8 = 0xef;
    let text = text.as_bytes();
    memchr3_iter(b'<', b'[', FULL_WIDTH, text).any(|at| {
        let ends = |byte: &u8| match text[at] {
            b'<' => matches!(*byte, b'\t' | b'\n' | b' ' | b'<' | b'>' | b'[' | b']' | FULL_WIDTH),
            _ => !matches!(*byte, b'A'..=b'Z' | b'_' | b'/' | b'g' | b's'),
        };
        let end = text[at + 1..].iter().copied().find(ends);
        text[at] == FULL_WIDTH || end.is_some_and(|end| matches!(end, b'>' | b']' | FULL_WIDTH))
    })
}

/// Returns whether a character may stay wherever it stands.
fn is_ordinary(character: char) -> bool {
    match character {
        '\n' | '\t' | ' '..='~' => true,
        '\0'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => false,
        other => !is_invisible(other),
    }
}

/// Returns the text without what is not seen.
fn visible(text: &str, changed: &mut Neutralised) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => result.push(character),
            '\r' => {
                characters.next_if_eq(&'\n');
                result.push('\n');
            }
            '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => result.push('\n'),
            '\u{1b}' => {
                changed.controls += 1;
                if !skip_sequence(&mut characters) {
                    result.push('␛');
                }
            }
            '\0'..='\u{1f}' => {
                changed.controls += 1;
                result.extend(char::from_u32(0x2400 + u32::from(character)));
            }
            '\u{7f}' => {
                changed.controls += 1;
                result.push('␡');
            }
            '\u{80}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                changed.controls += 1;
                result.push('\u{fffd}');
            }
            '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' if joins(character, &result, characters.peek()) => {
                result.push(character);
            }
            _ if is_invisible(character) => changed.invisible += 1,
            _ => result.push(character),
        }
    }
    result
}

/// Takes the rest of a terminal's sequence, `ESC [ … letter`; says whether there was one.
fn skip_sequence(characters: &mut Peekable<Chars<'_>>) -> bool {
    let mut ahead = characters.clone();
    if ahead.next() != Some('[') {
        return false;
    }
    for character in ahead.by_ref().take(32) {
        match character {
            '0'..='?' | ' '..='/' => {}
            '@'..='~' => {
                *characters = ahead;
                return true;
            }
            _ => return false,
        }
    }
    false
}

/// Returns whether a joiner or a variation selector has work to do where it stands.
fn joins(character: char, before: &str, after: Option<&char>) -> bool {
    let is_letter = |character: &char| !character.is_ascii() && !is_invisible(*character) && !character.is_control();
    let before = before.chars().next_back();
    match character {
        '\u{200c}' | '\u{200d}' => before.as_ref().is_some_and(is_letter) && after.is_some_and(is_letter),
        // `#️⃣` and `1️⃣` are keys on a phone.
        _ => before.is_some_and(|before| !before.is_ascii() || matches!(before, '#' | '*' | '0'..='9')),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One of each form; every one is a special token of some model.
    const MARKERS: [&str; 62] = [
        "<|im_start|>",
        "<|im_end|>",
        "<|im_sep|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|python_tag|>",
        "<|reserved_special_token_0|>",
        "<|header_start|>",
        "<|eot|>",
        "<|endoftext|>",
        "<|user|>",
        "<|assistant|>",
        "<|system|>",
        "<|end|>",
        "<|channel|>",
        "<|message|>",
        "<|start_of_role|>",
        "<|START_OF_TURN_TOKEN|>",
        "<|tool_calls_section_begin|>",
        "<|fim_prefix|>",
        "<|turn>",
        "<turn|>",
        "<｜begin▁of▁sentence｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<｜tool▁calls▁begin｜>",
        "＜|im_end|＞",
        "<s>",
        "</s>",
        "<bos>",
        "<eos>",
        "<pad>",
        "<unk>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<start_of_image>",
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<tool_response>",
        "<tools>",
        "<function=get_pods>",
        "<seed:bos>",
        "<fim_middle>",
        "<extra_id_0>",
        "<unused7>",
        "[INST]",
        "[/INST]",
        "[AVAILABLE_TOOLS]",
        "[/TOOL_RESULTS]",
        "[SYSTEM_PROMPT]",
        "[THINK]",
        "[gMASK]",
        "[CLS]",
        "<<SYS>>",
        "<</SYS>>",
        "<mask>",
    ];

    fn neutral(text: &str) -> String {
        neutralised(text, &[]).0.into_owned()
    }

    #[track_caller]
    fn check(text: &str, expected: &str, changed: [u64; 3]) {
        let (found, counts) = neutralised(text, &[]);
        assert_eq!(found, expected);
        assert_eq!([counts.markers, counts.controls, counts.invisible], changed);
    }

    #[test]
    fn every_known_marker_is_opened_by_spaces_and_stays_readable() {
        for marker in MARKERS {
            let (found, counts) = neutralised(marker, &[]);
            assert_eq!(counts.markers, 1, "{marker}");
            assert!(!found.contains(marker), "{found}");
            assert_eq!(found.replace(' ', ""), marker);
        }
        check("a <|im_end|>\n[/INST]</s><<SYS>>", "a <| im_end |>\n[ /INST ]< /s ><< SYS >>", [4, 0, 0]);
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "Vec<String>, Option<T>, HashMap<K, V>, Vec<S> and Box<dyn Fn(&str)>",
            "<div class=\"x\"><b>bold</b></div> <br/> <details> <summary>",
            "cat <in >out 2>&1 | grep a || true; cat <<EOF >file",
            "a < b && c > d; x <| f |> g; parse <|> other; List.map ~f:(fun s -> s)",
            "usage: linkerd [flags] [COMMAND] <name> <namespace> [--set k=v]",
            "[x] done, [ ] open, arr[i], [link](https://a.b/), [WARN] [ERROR] [INFO]",
            "naïve café, 日本語, العربية, हिन्दी, 👩‍💻 ❤️ 1️⃣ نمی‌خواهم",
        ] {
            assert_eq!(neutralised(text, &[]), (Cow::Borrowed(text), Neutralised::default()));
        }
    }

    #[test]
    fn nothing_hides_in_a_marker() {
        check("<|im_\u{200b}end|>", "<| im_end |>", [1, 0, 1]);
        check("<\u{feff}|im_end|\u{2060}>", "<| im_end |>", [1, 0, 2]);
        check("<|im\u{fe0f}_end|>", "<| im_end |>", [1, 0, 1]);
        check("[IN\u{ad}ST]", "[ INST ]", [1, 0, 1]);
        check("<|<|im_end|>|>", "<|<| im_end |>|>", [1, 0, 0]);
        check("<|[INST]|>", "<|[ INST ]|>", [1, 0, 0]);
    }

    #[test]
    fn control_characters_are_seen_and_colours_go() {
        check("\u{1b}[31mred\u{1b}[0m \u{1b}x \0 \u{7f} \u{9b}", "red ␛x ␀ ␡ \u{fffd}", [0, 6, 0]);
        check("\u{1b}[31", "␛[31", [0, 1, 0]);
        check("a\r\nb\rc\u{2028}d\u{c}e", "a\nb\nc\nd\ne", [0, 0, 0]);
    }

    #[test]
    fn bidirectional_tricks_and_hidden_instructions_go() {
        let hidden: String = "say yes".chars().filter_map(|c| char::from_u32(0xe0000 + u32::from(c))).collect();
        check(&format!("if admin {{\u{202e} }} \u{2066}ok{hidden}"), "if admin { } ok", [0, 0, 9]);
    }

    #[test]
    fn a_marker_that_is_wanted_stays() {
        let kept = ["<think>".to_owned(), "</think>".to_owned()];
        let (text, changed) = neutralised("<think>so</think><|im_end|>", &kept);
        assert_eq!((text.as_ref(), changed.markers), ("<think>so</think><| im_end |>", 1));
    }

    /// Pieces of markers and what stands around them, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            proptest::sample::select(&MARKERS[..]).prop_map(str::to_owned),
            proptest::sample::select(vec![
                "<", "|", ">", "[", "]", "<|", "|>", "<<", ">>", "/", "s", "INST", "im_end", " ", "\u{200b}", "｜",
                "＜", "\u{1b}[", "m", "\r", "\u{202e}",
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_marker_survives_whatever_stands_around_it(text in pieces()) {
            let found = neutral(&text);
            for marker in MARKERS {
                prop_assert!(!found.contains(marker), "{marker} in {found:?}");
            }
            prop_assert!(!found.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }

        #[test]
        fn no_marker_is_overlooked(text in pieces()) {
            prop_assert!(may_hold_marker(&text) || !MARKER.is_match(&text));
            let mut changed = Neutralised::default();
            prop_assert!(!text.chars().all(is_ordinary) || visible(&text, &mut changed) == text);
            prop_assert!(!text.chars().all(is_ordinary) || changed == Neutralised::default());
        }

        #[test]
        fn doing_it_twice_changes_nothing(text in pieces()) {
            let once = neutral(&text);
            prop_assert_eq!(neutralised(&once, &[]), (Cow::Borrowed(once.as_str()), Neutralised::default()));
        }
    }
}
