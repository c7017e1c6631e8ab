//! A cleaned tree in the form that the conversion to Markdown knows, and that costs it no more than its size: elements
//! without a meaning there are gone, code blocks look all the same, and equal neighbours are one.

use std::cell::RefCell;
use std::rc::Rc;

use htmd::Node;
use html5ever::{Attribute, QualName, local_name, ns};
use markup5ever_rcdom::NodeData;

use super::tree::{attribute, name, text, walk};

/// Elements that are a block of their own.
const BLOCKS: [&str; 49] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "col",
    "colgroup",
    "dd",
    "details",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "legend",
    "li",
    "main",
    "menu",
    "menuitem",
    "noframes",
    "ol",
    "optgroup",
    "option",
    "p",
    "param",
    "pre",
    "search",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
];

/// Elements within a line that Markdown has a form for.
const INLINE: [&str; 7] = ["a", "b", "br", "code", "em", "i", "strong"];

/// Returns whether an element has a meaning in Markdown; of another only the content has.
pub(super) fn is_known(tag: &str) -> bool {
    BLOCKS.contains(&tag) || INLINE.contains(&tag) || tag == "ul"
}

/// Makes one of neighbours of one kind that hold nothing but text, as `<b>a</b><b>b</b>`. The conversion would too, in
/// the square of their number.
pub(super) fn join_twins(root: &Rc<Node>) {
    for node in walk(root) {
        let mut joined: Vec<Rc<Node>> = Vec::new();
        for child in node.children.take() {
            match (joined.last().and_then(|last| only_text(last)), only_text(&child)) {
                (Some((kind, before)), Some((same, after))) if kind == same => append(&before, &after),
                _ => joined.push(child),
            }
        }
        node.children.replace(joined);
    }
}

/// Returns the meaning of an element within a line, and its text node where it holds nothing else.
fn only_text(node: &Rc<Node>) -> Option<(&'static str, Rc<Node>)> {
    let kind = match name(node)? {
        "b" | "strong" => "strong",
        "i" | "em" => "em",
        "code" => "code",
        _ => return None,
    };
    let children = node.children.borrow();
    let [text] = children.as_slice() else { return None };
    matches!(text.data, NodeData::Text { .. }).then(|| (kind, text.clone()))
}

fn append(before: &Rc<Node>, after: &Rc<Node>) {
    if let (NodeData::Text { contents: before }, NodeData::Text { contents: after }) = (&before.data, &after.data) {
        before.borrow_mut().push_slice(&after.borrow());
    }
}

/// Makes of whatever stands in `pre` one `code` element with its text and language.
pub(super) fn make_code_block(pre: &Rc<Node>, is_content: impl Fn(&Rc<Node>) -> bool) {
    let language = language(pre);
    for node in walk(pre).skip(1) {
        let kept: Vec<Rc<Node>> = node.children.take().into_iter().filter(&is_content).collect();
        node.children.replace(kept);
    }
    let kept: Vec<Rc<Node>> = pre.children.take().into_iter().filter(&is_content).collect();
    pre.children.replace(kept);
    // Variants of one example stand beside each other, of which a script shows one.
    let variants: Vec<String> =
        pre.children.borrow().iter().filter(|child| name(child) == Some("code")).map(text).collect();
    let code = if variants.len() > 1 { variants.join("\n\n") } else { text(pre) };
    let contents = Node::new(NodeData::Text { contents: RefCell::new(code.into()) });
    let attrs = language.map(|language| Attribute {
        name: QualName::new(None, ns!(), local_name!("class")),
        value: format!("language-{language}").into(),
    });
    let code = Node::new(NodeData::Element {
        name: QualName::new(None, ns!(html), local_name!("code")),
        attrs: RefCell::new(attrs.into_iter().collect()),
        template_contents: RefCell::new(None),
        mathml_annotation_xml_integration_point: false,
    });
    contents.parent.set(Some(Rc::downgrade(&code)));
    code.parent.set(Some(Rc::downgrade(pre)));
    code.children.replace(vec![contents]);
    pre.children.replace(vec![code]);
}

/// Returns the language that a code block is marked with: on itself, or on what is around it.
fn language(pre: &Rc<Node>) -> Option<String> {
    let inner = walk(pre).filter(|node| matches!(name(node), Some("code" | "pre")));
    let around = std::iter::successors(parent(pre), parent).take(3);
    inner.chain(around).find_map(|node| {
        let marked = ["data-lang", "data-language"].into_iter().find_map(|key| attribute(&node, key));
        let class = attribute(&node, "class").unwrap_or_default();
        let named = class.split_whitespace().find_map(|class| {
            ["language-", "lang-", "highlight-"].iter().find_map(|start| class.strip_prefix(start)).map(str::to_owned)
        });
        let language = named.or(marked)?.to_ascii_lowercase();
        let is_name = !language.is_empty()
            && language.len() <= 20
            && language.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_#.".contains(&byte));
        let is_one = !matches!(language.as_str(), "default" | "fallback" | "none" | "plaintext" | "text");
        (is_name && is_one).then_some(language)
    })
}

fn parent(node: &Rc<Node>) -> Option<Rc<Node>> {
    let parent = node.parent.take();
    node.parent.set(parent.clone());
    parent?.upgrade()
}
