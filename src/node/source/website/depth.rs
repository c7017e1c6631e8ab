//! How deep the elements of a page are nested, told before a tree is made of them: a tree costs the square of its depth,
//! and what walks it later the stack.

use std::cell::{Cell, RefCell};

use html5ever::LocalName;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// Elements that have no content.
const VOID: [&str; 16] = [
    "area", "base", "br", "col", "embed", "frame", "hr", "img", "input", "keygen", "link", "meta", "param", "source",
    "track", "wbr",
];

/// Elements whose ends are often left out, and which the next one of their kind ends.
const ENDED_BY_THE_NEXT: [&str; 18] = [
    "body", "colgroup", "dd", "dt", "head", "html", "li", "optgroup", "option", "p", "rb", "rp", "rt", "rtc", "tbody",
    "td", "th", "tr",
];

/// Elements through which an end tag does not reach.
const BARRIERS: [&str; 9] = ["applet", "button", "caption", "marquee", "math", "object", "svg", "table", "template"];

/// Returns whether elements are nested deeper than `limit`.
pub(super) fn is_deeper(html: &str, limit: usize) -> bool {
    let tokenizer = Tokenizer::new(Depth::new(limit), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    // Nothing here stops the tokenizer before the end.
    drop(tokenizer.feed(&input));
    tokenizer.sink.too_deep.get()
}

/// The elements that are open, as far as they nest.
struct Depth {
    open: RefCell<Vec<LocalName>>,
    limit: usize,
    too_deep: Cell<bool>,
}

impl Depth {
    fn new(limit: usize) -> Self {
        Self { open: RefCell::new(Vec::new()), limit, too_deep: Cell::new(false) }
    }

    fn start(&self, name: &LocalName, self_closing: bool) {
        let mut open = self.open.borrow_mut();
        let is_foreign = open.iter().any(|name| matches!(&**name, "svg" | "math"));
        let nests =
            if is_foreign { !self_closing } else { !VOID.contains(&&**name) && !ENDED_BY_THE_NEXT.contains(&&**name) };
        if nests {
            open.push(name.clone());
        }
        self.too_deep.set(self.too_deep.get() || open.len() > self.limit);
    }

    fn end(&self, name: &LocalName) {
        let mut open = self.open.borrow_mut();
        for at in (0..open.len()).rev() {
            if open[at] == *name {
                open.truncate(at);
                return;
            }
            if BARRIERS.contains(&&*open[at]) {
                return;
            }
        }
    }
}

impl TokenSink for Depth {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else { return TokenSinkResult::Continue };
        // What comes behind is no matter any more.
        if self.too_deep.get() {
            return TokenSinkResult::Plaintext;
        }
        if tag.kind == TagKind::EndTag {
            self.end(&tag.name);
            return TokenSinkResult::Continue;
        }
        match &*tag.name {
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" | "noscript" => {
                TokenSinkResult::RawData(RawKind::Rawtext)
            }
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "plaintext" => TokenSinkResult::Plaintext,
            _ => {
                self.start(&tag.name, tag.self_closing);
                TokenSinkResult::Continue
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_is_told_from_what_only_looks_so() {
        let deep = |html: &str, is: bool| assert_eq!(is_deeper(html, 100), is, "{html:.60}");
        deep(&"<div>".repeat(100), false);
        deep(&"<div>".repeat(101), true);
        deep(&"<div></div>".repeat(1_000), false);
        deep(&"<p>text<br><img>".repeat(1_000), false);
        deep(&format!("<ul>{}</ul>", "<li>one".repeat(1_000)), false);
        deep(&"<div></x><b></b></div>".repeat(1_000), false);
        deep(&"<div></x>".repeat(1_000), true);
        deep(&"<div><object></div></object>".repeat(1_000), true);
        deep(&format!("<svg>{}", "<option>".repeat(1_000)), true);
        deep(&format!("<script>{}</script><!-- {} -->", "<div>".repeat(1_000), "<div>".repeat(1_000)), false);
        deep(&format!("<p title='{}'>", "<div>".repeat(1_000)), false);
        deep(&"<div>".repeat(1_000_000), true);
    }
}
