//! From the bytes of a page to its text in Markdown, and to what it says about itself.

use std::rc::Rc;

use encoding_rs::{Encoding, UTF_8};
use htmd::options::{BulletListMarker, HrStyle, Options};
use htmd::{HtmlToMarkdown, Node};
use url::Url;

use super::tree::{self, attribute, name, walk};
use super::{address, depth, table};
use crate::node::source::foreign::{tidy, visible};

/// Elements within each other; real pages have some forty.
const DEEPEST: usize = 250;

/// Lists and quotes within each other, each of which indents every line within.
const DEEPEST_INDENT: usize = 30;

/// Bytes of a page's text; a list or quote can make it longer than the page.
const LONGEST: usize = 4 << 20;

/// Stack of the thread that reads a page: the conversion goes down into each element.
const STACK: usize = 16 << 20;

/// How much of a page is searched for its encoding, as browsers do.
const ENCODING_WITHIN: usize = 1_024;

/// What a page holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Its heading, or the title of its window.
    pub(super) title: String,
    /// Its text as Markdown, without navigation.
    pub(super) content: String,
    /// The address that it names as its own.
    pub(super) canonical: Option<Url>,
    /// Where its links lead, in their order.
    pub(super) links: Vec<Url>,
    /// Whether it asks not to be listed by search engines.
    pub(super) is_unlisted: bool,
}

/// Why a page cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PageProblem {
    #[error("nested deeper than {DEEPEST} elements")]
    TooDeep,
    #[error("text of more than {LONGEST} bytes")]
    TooLong,
    #[error("HTML that the conversion fails on")]
    Unreadable,
}

/// Reads a page. `kind` is the header `content-type`.
pub(super) fn read(body: &[u8], kind: &str, url: &Url) -> Result<Page, PageProblem> {
    let html = decoded(body, kind);
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("html".into()).stack_size(STACK);
        let reader = reader.spawn_scoped(scope, || read_html(&html, url)).map_err(|_| PageProblem::Unreadable)?;
        reader.join().unwrap_or(Err(PageProblem::Unreadable))
    })
}

/// Returns the text of a page in the encoding that it names; damaged parts become replacement characters.
fn decoded(body: &[u8], kind: &str) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(ENCODING_WITHIN)]).to_ascii_lowercase();
    let encoding = charset(kind).or_else(|| charset(&start)).unwrap_or(UTF_8);
    // A text that declares another encoding and is UTF-8 was served by somebody who never looked.
    let encoding = if std::str::from_utf8(body).is_ok() { UTF_8 } else { encoding };
    encoding.decode(body).0.into_owned()
}

fn charset(text: &str) -> Option<&'static Encoding> {
    let (_, after) = text.split_once("charset=")?;
    let label = after.trim_start_matches(['"', '\'', ' ']);
    let end = label.find(|character: char| !(character.is_ascii_alphanumeric() || "-_:.".contains(character)));
    Encoding::for_label(&label.as_bytes()[..end.unwrap_or(label.len())])
}

fn read_html(html: &str, url: &Url) -> Result<Page, PageProblem> {
    if depth::is_deeper(html, DEEPEST) {
        return Err(PageProblem::TooDeep);
    }
    let options = Options {
        hr_style: HrStyle::Dashes,
        bullet_list_marker: BulletListMarker::Dash,
        ul_bullet_spacing: 1,
        ol_number_spacing: 1,
        ..Options::default()
    };
    let converter = HtmlToMarkdown::builder().options(options).add_handler(vec!["table"], table::table).build();
    let document = converter.html_to_tree(html).map_err(|_| PageProblem::Unreadable)?;
    let nesting = tree::nesting(&document);
    if nesting.nodes > 2 * DEEPEST || nesting.indents > DEEPEST_INDENT {
        return Err(PageProblem::TooDeep);
    }
    let mut page = Page::default();
    let base = about(&document, url, &mut page);
    let root = tree::content_root(&document);
    let window_title = std::mem::take(&mut page.title);
    tree::clean(&root, &base);
    // A heading outside of the content is the site's.
    let heading = first_heading(&root).or_else(|| Some(short(&window_title)).filter(|title| !title.is_empty()));
    page.title = heading.or_else(|| first_heading(&document)).unwrap_or_default();
    page.content = tidy(&visible(&converter.tree_to_markdown(&root)));
    if page.content.len() > LONGEST { Err(PageProblem::TooLong) } else { Ok(page) }
}

/// Reads what a page says about itself into `page`, with the title of its window; returns where its links start from.
fn about(document: &Rc<Node>, url: &Url, page: &mut Page) -> Url {
    let mut base = None;
    let mut links = Vec::new();
    let mut may_follow = true;
    for node in walk(document) {
        match name(&node) {
            Some("base") if base.is_none() => {
                base = attribute(&node, "href").and_then(|href| address::resolved(url, &href));
            }
            Some("title") if page.title.is_empty() => page.title = line(&tree::text(&node)),
            Some("link") if has_word(&node, "rel", "canonical") && page.canonical.is_none() => {
                page.canonical = attribute(&node, "href").and_then(|href| address::resolved(url, &href));
            }
            Some("meta") => {
                let value = attribute(&node, "content").unwrap_or_default().to_ascii_lowercase();
                if has_word(&node, "name", "robots") {
                    page.is_unlisted |= value.contains("noindex") || value.contains("none");
                    may_follow &= !(value.contains("nofollow") || value.contains("none"));
                } else if has_word(&node, "http-equiv", "refresh")
                    && let Some((_, target)) = attribute(&node, "content").unwrap_or_default().split_once("url=")
                {
                    links.push(target.trim_matches(['"', '\'', ' ']).to_owned());
                }
            }
            Some("a") if !has_word(&node, "rel", "nofollow") => links.extend(attribute(&node, "href")),
            _ => {}
        }
    }
    let base = base.unwrap_or_else(|| url.clone());
    if may_follow {
        page.links = links.iter().filter_map(|link| address::resolved(&base, link)).collect();
    }
    base
}

fn has_word(node: &Node, key: &str, word: &str) -> bool {
    attribute(node, key).is_some_and(|value| value.split_whitespace().any(|part| part.eq_ignore_ascii_case(word)))
}

/// Returns the text of the first `h1`, without the mark that links to it.
fn first_heading(root: &Rc<Node>) -> Option<String> {
    let heading = walk(root).find(|node| name(node) == Some("h1"))?;
    let title = line(&visible(&tree::text(&heading)));
    let title = title.trim_end_matches(['¶', '#', '§', ' ']).to_owned();
    Some(title).filter(|title| !title.is_empty())
}

/// Returns a window's title without the name of the site behind it.
fn short(title: &str) -> String {
    let title = visible(title);
    let parted = [" | ", " – ", " — ", " · ", " :: ", " - "].iter().find_map(|mark| title.split_once(mark));
    parted.map_or(title.as_str(), |(page, _)| page).trim().to_owned()
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at(html: &str) -> Page {
        read(html.as_bytes(), "text/html", &Url::parse("https://a.example/docs/x").unwrap()).unwrap()
    }

    #[track_caller]
    fn check(html: &str, expected: &str) {
        assert_eq!(read_at(html).content, expected, "{html}");
    }

    #[test]
    fn the_text_is_kept_and_what_is_around_it_is_not() {
        check(
            "<body><header>Site</header><nav>Menu</nav><div class='cookie-banner'>We use cookies</div>\
             <div id=toc>Contents</div><h1 id=cookie-bar>Title<a class=headerlink href='#t'>¶</a></h1><p>One <b>two</b>.\
             <aside>Ads</aside><aside class='note'>Mind this.</aside><script>no()</script><p hidden>x</p>\
             <p style='display: none'>y</p><footer>©</footer>",
            "# Title\n\nOne **two**.\n\nMind this.",
        );
        check(
            "<body>out<main><article><header><h1>T</h1></header>in</article><article>two</article></main>out",
            "# T\n\nin\n\ntwo",
        );
        check("<div>out</div><article><h2>T</h2>in</article>", "## T\n\nin");
    }

    #[test]
    fn code_keeps_its_lines_and_language() {
        let code = "```rust\nfn a() {\n    # b\n}\n```";
        check("<pre><code class='language-rust'>fn a() {\n    # b\n}\n</code></pre>", code);
        check(
            "<div class='highlight-rust notranslate'><div class=highlight><pre><span></span><span class=k>fn</span> a() {\n    # b\n}\n</pre></div></div>",
            code,
        );
        check(
            "<div class=highlight><table><tr><td class=lnt><pre><span class=lnt>1\n2\n</span></pre></td></tr></table>\
             <pre data-lang=Rust><button>Copy</button>fn a() {<br>    # b<br>}</pre></div>",
            code,
        );
        check(
            "<pre><code class=language-rust><span class=boring># x\n</span>fn a() {}</code></pre>",
            "```rust\nfn a() {}\n```",
        );
        check("<pre><code>one</code><code>two</code></pre>", "```\none\n\ntwo\n```");
        check("<pre>a ``` b\n\n\n\nc</pre>", "````\na ``` b\n\n\n\nc\n````");
    }

    #[test]
    fn tables_are_rows_without_padding_or_the_blocks_they_hold() {
        check(
            "<table><caption>C</caption><thead><tr><th>A<th>B</thead><tr><td>long text<br>1|2<td><p>x<p>y<tr><td>z</table>",
            "C\n\n| A | B |\n| --- | --- |\n| long text 1\\|2 | x y |\n| z |",
        );
        check("<table><tr><td><h2>T</h2><td><pre>x\ny</pre></table>", "## T\n\n```\nx\ny\n```");
        check("<table><tr><td>one<tr><td><table><tr><td>a<td>b</table></table>", "one\n\n| a | b |\n| --- | --- |");
    }

    #[test]
    fn equal_neighbours_are_one_and_what_has_no_form_is_its_text() {
        check("<p><b>a</b><strong>b</strong><i>c</i><em>d</em></p>", "**ab***cd*");
        check("<p><x-y>a <span><font>b</font></span></x-y><sub>2</sub></p>", "a b2");
    }

    #[test]
    fn hostile_pages_cost_their_size() {
        let url = Url::parse("https://a").unwrap();
        let cell = format!("<tr><td>{}<td>x", "long ".repeat(50_000));
        for html in [
            format!("<table>{cell}{}", "<tr><td>a<td>b".repeat(50_000)),
            format!("<table><tr>{}{}", "<td>a".repeat(20_000), "<tr><td>a".repeat(20_000)),
            format!("<p>{}", "<b>a</b>".repeat(200_000)),
            format!("<p>{}", "<x-y>a</x-y>".repeat(200_000)),
            format!("{}{}", "<blockquote>".repeat(DEEPEST_INDENT), "a<br>".repeat(100_000)),
        ] {
            let length = read(html.as_bytes(), "", &url).map(|page| page.content.len());
            assert!(
                length.is_ok_and(|length| length <= 2 * html.len()) || length == Err(PageProblem::TooLong),
                "{length:?}"
            );
        }
    }

    #[test]
    fn links_are_absolute_or_plain() {
        check(
            "<p><a href=/empty><img src=x></a><a href='../y#z'>Y</a> <a href='#here'>here</a> <a href='javascript:x()'>do</a> <a>none</a></p>",
            "[Y](https://a.example/y) here do none",
        );
    }

    #[test]
    fn the_title_is_the_heading_of_the_content_or_that_of_the_window() {
        let check = |html: &str, expected: &str| assert_eq!(read_at(html).title, expected, "{html}");
        check("<title>W</title><h1>Site</h1><main><h1>Chain <button>Copy</button></h1></main>", "Chain");
        check("<title>Data Types - The Book</title><h1>The Book</h1><main><h2>Data Types</h2></main>", "Data Types");
        check("<h1>Site</h1><main>x</main>", "Site");
    }

    #[test]
    fn a_page_tells_about_itself() {
        let page = read_at(
            "<head><title>Getting Started |  Docs</title><base href='/b/'><link rel='alternate canonical' href='/c'>\
             <meta name=robots content='NOINDEX'><meta http-equiv=refresh content=\"0; url='/moved'\"></head>\
             <a href=d>d</a><a href=e rel=nofollow>e</a><a href='mailto:x'>x</a>",
        );
        assert_eq!(page.title, "Getting Started");
        assert_eq!(page.canonical.unwrap().as_str(), "https://a.example/c");
        let links: Vec<&str> = page.links.iter().map(Url::as_str).collect();
        assert_eq!(links, ["https://a.example/moved", "https://a.example/b/d"]);
        assert!(page.is_unlisted);
        assert!(read_at("<meta name=robots content='index, nofollow'><a href=d>d</a>").links.is_empty());
    }

    #[test]
    fn other_encodings_and_damaged_text_are_read() {
        let url = Url::parse("https://a").unwrap();
        let text = |body: &[u8], kind: &str| read(body, kind, &url).unwrap().content;
        assert_eq!(text(b"caf\xe9", "text/html; charset=ISO-8859-1"), "café");
        assert_eq!(text(b"<meta charset='shift_jis'>\x93\xfa\x96\x7b", "text/html"), "日本");
        assert_eq!(text("<meta charset=latin1>café".as_bytes(), "text/html"), "café");
        assert_eq!(text(b"a\xff\x00b", "text/html"), "a\u{fffd}b");
        assert_eq!(text("a\u{202e}b\u{200b}c\u{1b}".as_bytes(), ""), "abc");
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let url = Url::parse("https://a").unwrap();
        let deep = |html: String| read(html.as_bytes(), "", &url);
        assert_eq!(deep("<div>".repeat(100_000)), Err(PageProblem::TooDeep));
        assert_eq!(deep("<b><i>".repeat(50_000)), Err(PageProblem::TooDeep));
        assert_eq!(deep("<ul><li>".repeat(DEEPEST_INDENT + 1)), Err(PageProblem::TooDeep));
        for (element, times) in
            [("div", DEEPEST - 5), ("blockquote", DEEPEST_INDENT), ("table><td", DEEPEST / 4), ("b", 200)]
        {
            let page = deep(format!("{}x", format!("<{element}>").repeat(times)));
            assert!(page.unwrap().content.contains('x'), "{element}");
        }
    }
}
