//! Tables as Markdown, without the padding that makes columns line up: it says nothing, and in a hostile table it would
//! fill the memory.

use std::rc::Rc;

use htmd::element_handler::{HandlerResult, Handlers};
use htmd::{Element, Node};

use super::tree::{name, walk};

/// Converts a table: to rows and columns where each cell is a line of text, else to the blocks that its cells hold.
pub(super) fn table(handlers: &dyn Handlers, table: Element<'_>) -> Option<HandlerResult> {
    let (captions, rows) = parts(table.node);
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let is_layout = columns <= 1 || rows.iter().flatten().any(has_blocks);
    let content = |cell: &Rc<Node>| handlers.walk_children(cell).content;
    let mut blocks: Vec<String> = captions.iter().map(content).collect();
    if is_layout {
        blocks.extend(rows.iter().flatten().map(content));
    } else {
        let lines = rows.iter().map(|row| row.iter().map(|cell| line(&content(cell))).collect::<Vec<_>>());
        let mut lines = lines.filter(|row| row.iter().any(|cell| !cell.is_empty()));
        if let Some(mut head) = lines.next() {
            head.resize(columns, String::new());
            let rule = vec!["---".to_owned(); columns];
            blocks.push(
                [head, rule]
                    .into_iter()
                    .chain(lines)
                    .map(|row| format!("| {} |", row.join(" | ")))
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
        }
    }
    let blocks = blocks.iter().map(|block| block.trim_matches('\n')).filter(|block| !block.trim().is_empty());
    Some(format!("\n\n{}\n\n", blocks.collect::<Vec<_>>().join("\n\n")).into())
}

/// Returns the captions of a table and its rows of cells; a table within a cell is part of that cell.
fn parts(table: &Rc<Node>) -> (Vec<Rc<Node>>, Vec<Vec<Rc<Node>>>) {
    let (mut captions, mut rows) = (Vec::new(), Vec::<Vec<Rc<Node>>>::new());
    let mut waiting = vec![table.clone()];
    while let Some(node) = waiting.pop() {
        match name(&node) {
            Some("caption") => captions.push(node),
            Some("td" | "th") => match rows.last_mut() {
                Some(row) => row.push(node),
                None => rows.push(vec![node]),
            },
            tag => {
                if tag == Some("tr") {
                    rows.push(Vec::new());
                }
                waiting.extend(node.children.borrow().iter().rev().cloned());
            }
        }
    }
    (captions, rows)
}

/// Returns whether a cell holds what cannot stand in a line.
fn has_blocks(cell: &Rc<Node>) -> bool {
    walk(cell).any(|node| {
        matches!(name(&node), Some("pre" | "table" | "blockquote" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6"))
    })
}

/// Returns a cell's text in one line.
fn line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace("\\|", "|").replace('|', "\\|")
}
