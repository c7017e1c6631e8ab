//! The tree of a page without what is no content: navigation, banners, scripts, what no reader sees. Nothing here calls
//! itself, so no page can exhaust the stack.

use std::rc::Rc;

use htmd::Node;
use html5ever::local_name;
use markup5ever_rcdom::NodeData;

use super::{address, form};

/// Elements that never are content.
const DROPPED: [&str; 24] = [
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "embed", "canvas", "video", "audio",
    "map", "form", "button", "input", "select", "textarea", "dialog", "nav", "footer", "img", "picture", "head",
];

/// Roles that never are content.
const DROPPED_ROLES: [&str; 9] =
    ["navigation", "banner", "contentinfo", "search", "complementary", "dialog", "alertdialog", "menu", "tooltip"];

/// Classes and ids of what is no content, as widespread generators of documentation have them.
const DROPPED_NAMES: [&str; 45] = [
    "anchor-link",
    "announcement-bar",
    "boring",
    "breadcrumb",
    "breadcrumbs",
    "cc-banner",
    "copy-button",
    "copybtn",
    "edit-page-link",
    "edit-this-page",
    "feedback",
    "footer",
    "gutter",
    "hash-link",
    "header-anchor",
    "headerlink",
    "heading-anchor",
    "hextra-toc",
    "line-numbers-rows",
    "linenodiv",
    "linenos",
    "lineno",
    "ln",
    "lnt",
    "md-source-file",
    "navbar",
    "newsletter",
    "on-this-page",
    "page-feedback",
    "pager",
    "pagination",
    "pagination-nav",
    "prev-next",
    "screen-reader-text",
    "share-buttons",
    "sidebar",
    "site-footer",
    "site-header",
    "skip-link",
    "skip-to-content",
    "social-share",
    "sr-only",
    "table-of-contents",
    "toc",
    "visually-hidden",
];

/// Words in the class or id of an `aside` that make it part of the text.
const NOTES: [&str; 9] = ["note", "tip", "warning", "caution", "admonition", "callout", "alert", "danger", "aside"];

/// Elements that a banner about cookies is made of.
const BANNER_WORDS: [&str; 7] = ["banner", "notice", "popup", "modal", "consent", "overlay", "bar"];

/// Returns an element's name; nothing for text and other nodes.
pub(super) fn name(node: &Node) -> Option<&str> {
    match &node.data {
        NodeData::Element { name, .. } => Some(&name.local),
        _ => None,
    }
}

/// Returns the value of an attribute.
pub(super) fn attribute(node: &Node, key: &str) -> Option<String> {
    let NodeData::Element { attrs, .. } = &node.data else { return None };
    let attrs = attrs.borrow();
    attrs.iter().find(|attribute| &*attribute.name.local == key).map(|attribute| attribute.value.to_string())
}

/// Returns all nodes below `root` and itself, in the order of the page.
pub(super) fn walk(root: &Rc<Node>) -> Walk {
    Walk { waiting: vec![root.clone()] }
}

/// See [`walk`]. A node's children are looked up when the next one is asked for.
pub(super) struct Walk {
    waiting: Vec<Rc<Node>>,
}

impl Iterator for Walk {
    type Item = Rc<Node>;

    fn next(&mut self) -> Option<Rc<Node>> {
        let node = self.waiting.pop()?;
        self.waiting.extend(node.children.borrow().iter().rev().cloned());
        Some(node)
    }
}

/// Returns all text below a node, with line feeds for line breaks.
pub(super) fn text(root: &Rc<Node>) -> String {
    let mut text = String::new();
    for node in walk(root) {
        match &node.data {
            NodeData::Text { contents } => text.push_str(&contents.borrow()),
            NodeData::Element { name, .. } if name.local == local_name!("br") => text.push('\n'),
            _ => {}
        }
    }
    text
}

/// How deep a page is nested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nesting {
    /// Levels of nodes.
    pub(super) nodes: usize,
    /// Levels of what Markdown shows by indenting each line: lists and quotes.
    pub(super) indents: usize,
}

/// Returns how deep what is below `root` is nested.
pub(super) fn nesting(root: &Rc<Node>) -> Nesting {
    let mut deepest = Nesting::default();
    let mut waiting = vec![(root.clone(), Nesting::default())];
    while let Some((node, at)) = waiting.pop() {
        let indents = at.indents + usize::from(matches!(name(&node), Some("ul" | "ol" | "blockquote")));
        deepest = Nesting { nodes: deepest.nodes.max(at.nodes), indents: deepest.indents.max(indents) };
        let below = Nesting { nodes: at.nodes + 1, indents };
        waiting.extend(node.children.borrow().iter().map(|child| (child.clone(), below)));
    }
    deepest
}

/// Returns the element that holds the content: the only `main`, or the only `article`, or else the body.
pub(super) fn content_root(document: &Rc<Node>) -> Rc<Node> {
    let (mut mains, mut articles, mut body) = (Vec::new(), Vec::new(), None);
    for node in walk(document) {
        match name(&node) {
            Some("main") => mains.push(node),
            Some("article") => articles.push(node),
            Some("body") => body = Some(node),
            Some(_) if attribute(&node, "role").as_deref() == Some("main") => mains.push(node),
            _ => {}
        }
    }
    // A generator that puts `<div role=main>` around `<main>` means the inner one.
    let main = mains.pop().filter(|last| mains.iter().all(|other| walk(other).any(|node| Rc::ptr_eq(&node, last))));
    let article = if articles.len() == 1 { articles.pop() } else { None };
    let is_within = |inner: &Rc<Node>, outer: &Rc<Node>| walk(outer).any(|node| Rc::ptr_eq(&node, inner));
    match (main, article) {
        // Within `main` there may be lists of pages beside the one article.
        (Some(main), Some(article)) if is_within(&article, &main) => article,
        (Some(main), _) => main,
        (None, Some(article)) => article,
        (None, None) => body.unwrap_or_else(|| document.clone()),
    }
}

/// Takes out of the tree what is no content, makes links absolute, and gives code blocks the one form that the
/// conversion knows.
pub(super) fn clean(root: &Rc<Node>, base: &url::Url) {
    let has_own_header = matches!(name(root), Some("main" | "article"));
    let mut waiting = vec![root.clone()];
    while let Some(node) = waiting.pop() {
        if name(&node) == Some("pre") {
            form::make_code_block(&node, |child| is_content(child, true));
            continue;
        }
        let mut children: Vec<Rc<Node>> = Vec::new();
        let mut ahead = node.children.take();
        ahead.reverse();
        while let Some(child) = ahead.pop() {
            if !is_content(&child, has_own_header) {
                continue;
            }
            let stays = match name(&child) {
                Some("a") => !text(&child).trim().is_empty() && resolve_link(&child, base),
                Some(tag) => form::is_known(tag),
                None => true,
            };
            if stays {
                children.push(child);
                continue;
            }
            // A link to nowhere, or without a text, is its text, and so is an element that Markdown has no form for.
            let mut within = child.children.take();
            if name(&child) != Some("a") || !is_mark(&within) {
                within.reverse();
                ahead.append(&mut within);
            }
        }
        for child in &children {
            child.parent.set(Some(Rc::downgrade(&node)));
        }
        waiting.extend(children.iter().cloned());
        node.children.replace(children);
    }
    form::join_twins(root);
}

/// Returns whether a node, looked at alone, may be content.
fn is_content(node: &Rc<Node>, has_own_header: bool) -> bool {
    let tag = match &node.data {
        NodeData::Text { .. } => return true,
        NodeData::Element { name, .. } => &*name.local,
        _ => return false,
    };
    if DROPPED.contains(&tag) || (tag == "header" && !has_own_header) {
        return false;
    }
    let names =
        format!("{} {}", attribute(node, "class").unwrap_or_default(), attribute(node, "id").unwrap_or_default())
            .to_ascii_lowercase();
    if tag == "aside" && !NOTES.iter().any(|word| names.contains(word)) {
        return false;
    }
    let role = attribute(node, "role").unwrap_or_default();
    let is_hidden = attribute(node, "hidden").is_some_and(|value| value != "until-found")
        || attribute(node, "aria-hidden").as_deref() == Some("true")
        || attribute(node, "style").is_some_and(|style| style.replace(' ', "").contains("display:none"));
    let is_heading = matches!(tag, "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "main" | "article" | "body");
    let is_banner =
        (names.contains("cookie") || names.contains("consent")) && BANNER_WORDS.iter().any(|word| names.contains(word));
    let is_named = names.split_whitespace().any(|name| DROPPED_NAMES.contains(&name));
    !is_hidden && (is_heading || !(is_banner || is_named || DROPPED_ROLES.contains(&role.as_str())))
}

/// Makes a link absolute, and nothing but a link; `false` when it leads nowhere.
fn resolve_link(link: &Rc<Node>, base: &url::Url) -> bool {
    let NodeData::Element { attrs, .. } = &link.data else { return false };
    let mut attrs = attrs.borrow_mut();
    // What shows when a pointer rests on it.
    attrs.retain(|attribute| &*attribute.name.local != "title");
    let Some(href) = attrs.iter_mut().find(|attribute| &*attribute.name.local == "href") else { return false };
    if href.value.trim_start().starts_with('#') {
        return false;
    }
    match address::resolved(base, &href.value) {
        Some(url) => {
            href.value = url.as_str().into();
            true
        }
        None => false,
    }
}

/// Returns whether the text of a link to a place on the page is only a mark beside a heading.
fn is_mark(children: &[Rc<Node>]) -> bool {
    let text: String = children.iter().map(text).collect();
    matches!(text.trim(), "" | "¶" | "#" | "§" | "🔗" | "∞" | "\u{200b}" | "Permalink" | "Link to this heading")
}
