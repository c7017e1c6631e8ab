//! A Markdown file as a document: its title, and its text without the metadata block.

mod front_matter;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::record::Document;

/// Makes the document of a file's text. `repo` stands before `path` in its id; it may be empty.
pub(super) fn document(repo: &str, path: &str, text: &str, url: Option<String>) -> Document {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (title, content) = front_matter::split(text);
    let title = title.or_else(|| first_heading(content)).unwrap_or_else(|| name_of(path));
    let id = if repo.is_empty() { path.to_owned() } else { format!("{repo}/{path}") };
    Document { id, repo: repo.to_owned(), path: path.to_owned(), title, content: content.to_owned(), url }
}

/// Returns the text of the first heading outside code.
fn first_heading(markdown: &str) -> Option<String> {
    let mut events = Parser::new(markdown).skip_while(|event| !matches!(event, Event::Start(Tag::Heading { .. })));
    events.next()?;
    let mut title = String::new();
    for event in events {
        match event {
            Event::Text(text) | Event::Code(text) => title.push_str(&text),
            Event::SoftBreak | Event::HardBreak => title.push(' '),
            Event::End(TagEnd::Heading(_)) => break,
            _ => {}
        }
    }
    Some(title.trim().to_owned()).filter(|title| !title.is_empty())
}

/// Returns the file's name without its ending; for `_index.md` and `index.md` that of the folder.
fn name_of(path: &str) -> String {
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
    match path.rsplit_once('/') {
        Some((folder, "_index.md" | "index.md")) => folder.rsplit('/').next().unwrap_or(folder).to_owned(),
        Some((_, name)) => stem(name),
        None => stem(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_come_from_headings_outside_code_and_else_from_the_name() {
        assert_eq!(first_heading("```sh\n# no\n```\n\n## The `x` *one*\n"), Some("The x one".into()));
        assert_eq!(first_heading("text only"), None);
        assert_eq!(name_of("a/getting-started.md"), "getting-started");
        assert_eq!(name_of("tasks/_index.md"), "tasks");
        assert_eq!(name_of("README.md"), "README");
    }
}
