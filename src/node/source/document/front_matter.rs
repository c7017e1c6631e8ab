//! The metadata block before a document: YAML between `---`, TOML between `+++`.
//!
//! Of YAML only a plain `title:` is read; nothing else of it shapes a document.

/// Returns the title that the metadata gives, and the text after it.
pub(super) fn split(text: &str) -> (Option<String>, &str) {
    for (fence, read) in [("---", yaml_title as fn(&str) -> Option<String>), ("+++", toml_title)] {
        if let Some((block, rest)) = block(text, fence) {
            return (read(block).filter(|title| !title.is_empty()), rest);
        }
    }
    (None, text)
}

/// Returns what stands between two lines of `fence`, and what comes after.
fn block<'a>(text: &'a str, fence: &str) -> Option<(&'a str, &'a str)> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next()?;
    if first.trim_end() != fence {
        return None;
    }
    let mut end = first.len();
    for line in lines {
        if line.trim_end() == fence {
            return Some((&text[first.len()..end], &text[end + line.len()..]));
        }
        end += line.len();
    }
    None
}

fn yaml_title(block: &str) -> Option<String> {
    let value = block.lines().find_map(|line| line.strip_prefix("title:"))?.trim();
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    Some(match (quoted('"'), quoted('\'')) {
        (Some(value), _) => value.replace("\\\"", "\"").replace("\\\\", "\\"),
        (None, Some(value)) => value.replace("''", "'"),
        // A block scalar goes on in lines that are not read.
        (None, None) if value.starts_with(['|', '>']) => return None,
        (None, None) => value.split(" #").next().unwrap_or(value).trim_end().to_owned(),
    })
}

fn toml_title(block: &str) -> Option<String> {
    let table: toml::Table = block.parse().ok()?;
    Some(table.get("title")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_come_from_either_form_and_the_block_is_cut_off() {
        let check = |text: &str, title: Option<&str>, rest: &str| {
            assert_eq!(split(text), (title.map(str::to_owned), rest), "{text}");
        };
        check("---\ntitle: Getting Started # x\nweight: 1\n---\nText\n", Some("Getting Started"), "Text\n");
        check("---\r\ntitle: \"A \\\"b\\\"\"\r\n---\r\nText", Some("A \"b\""), "Text");
        check("---\ntitle: 'It''s'\n---\n", Some("It's"), "");
        check("+++\ntitle = \"T\"\n+++\nText", Some("T"), "Text");
        check("---\nno end", None, "---\nno end");
        check("# Heading\n---\ntitle: x\n---\n", None, "# Heading\n---\ntitle: x\n---\n");
    }
}
