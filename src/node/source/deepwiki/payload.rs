//! The payload of a wiki's page: rows of React's flight format, in which every page of the wiki stands.
//!
//! A row is `ID:` and JSON up to the line's end, or `ID:T` and a length in bytes and as many bytes of text, after which
//! the next row follows at once. In HTML the rows come in chunks, cut anywhere, as strings of a script; a length
//! counts bytes of the joined chunks, and no character.

use std::collections::BTreeMap;

use serde_json::{Deserializer, Value};

use super::error::{PayloadProblem, begins};
use super::pages::RawPage;

/// What stands before each chunk in HTML.
const PUSH: &str = "self.__next_f.push(";

/// Tags of rows that have a length: text and typed arrays.
const WITH_LENGTH: &[u8] = b"TAOoUSsLlGgMmV";

/// How often a reference may lead to another one.
const DEEPEST: usize = 8;

/// A wiki, as its payload has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wiki {
    /// The commit it was made from, where the payload names it.
    pub(super) commit: Option<String>,
    /// Its pages, in order.
    pub(super) pages: Vec<RawPage>,
}

/// Content of the rows that are used.
enum Row<'a> {
    Text(&'a str),
    Json(&'a [u8]),
}

/// Reads a wiki from HTML or from bare rows.
///
/// # Errors
/// [`PayloadProblem`]. There is no half wiki.
pub(super) fn read(body: &[u8]) -> Result<Wiki, PayloadProblem> {
    let body = String::from_utf8_lossy(body);
    let joined = chunks(&body);
    let rows = rows(joined.as_deref().unwrap_or(&body).as_bytes());
    let no_wiki = || PayloadProblem::NoWiki { begins: begins(&body) };
    // What is no payload at all is told as that.
    let rows = rows.map_err(|problem| match problem {
        PayloadProblem::NoRow { at: 0 } => no_wiki(),
        other => other,
    })?;
    let found = rows.values().find_map(|row| match row {
        Row::Json(json) if contains(json, b"\"wiki\"") => find_wiki(serde_json::from_slice(json).ok()?),
        _ => None,
    });
    let wiki = found.and_then(|wiki| resolve(&rows, wiki)).ok_or_else(no_wiki)?;
    let pages = wiki.get("pages").cloned().and_then(|pages| resolve(&rows, pages));
    let Some(Value::Array(pages)) = pages else { return Err(no_wiki()) };
    let commit = wiki["metadata"]["commit_hash"].as_str().filter(|commit| !commit.is_empty());
    let pages = pages.into_iter().map(|page| read_page(&rows, page)).collect::<Result<_, _>>()?;
    Ok(Wiki { commit: commit.map(str::to_owned), pages })
}

/// Joins the chunks of an HTML page; nothing when it has none.
fn chunks(html: &str) -> Option<String> {
    let mut joined: Option<String> = None;
    for after in html.split(PUSH).skip(1) {
        let chunk = Deserializer::from_str(after).into_iter::<(u64, Value)>().next();
        let joined = joined.get_or_insert_default();
        // Others are `[0]`, which only begins, and `[3, …]`, which is binary.
        if let Some(Ok((1, Value::String(chunk)))) = chunk {
            joined.push_str(&chunk);
        }
    }
    joined
}

/// Parts the payload into rows by number.
fn rows(bytes: &[u8]) -> Result<BTreeMap<u64, Row<'_>>, PayloadProblem> {
    let mut rows = BTreeMap::new();
    let mut at = 0;
    while at < bytes.len() {
        if matches!(bytes[at], b'\n' | b'\r') {
            at += 1;
            continue;
        }
        let no_row = PayloadProblem::NoRow { at };
        let (id, after) = number(bytes, at, b':').ok_or(no_row.clone())?;
        let tag = bytes.get(after).copied().unwrap_or_default();
        if WITH_LENGTH.contains(&tag) {
            let (length, start) = number(bytes, after + 1, b',').ok_or(no_row)?;
            let left = (bytes.len() - start) as u64;
            if length > left {
                return Err(PayloadProblem::Truncated { row: id, missing: length - left });
            }
            let end = start + length as usize;
            if tag == b'T' {
                let text = std::str::from_utf8(&bytes[start..end]).map_err(|_| PayloadProblem::NotText { row: id })?;
                rows.insert(id, Row::Text(text));
            }
            at = end;
        } else {
            let end = bytes[after..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| after + end);
            rows.insert(id, Row::Json(&bytes[after..end]));
            at = end;
        }
    }
    Ok(rows)
}

/// Reads a hexadecimal number that `end` follows, and returns it with the place after that.
fn number(bytes: &[u8], from: usize, end: u8) -> Option<(u64, usize)> {
    let digits = bytes.get(from..)?.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let text = std::str::from_utf8(&bytes[from..from + digits]).ok()?;
    let number = u64::from_str_radix(text, 16).ok()?;
    (bytes.get(from + digits) == Some(&end)).then_some((number, from + digits + 1))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Finds what stands under the key `wiki`, anywhere in a value.
fn find_wiki(value: Value) -> Option<Value> {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(mut object) => match object.remove("wiki") {
                Some(wiki) if !wiki.is_null() => return Some(wiki),
                _ => waiting.extend(object.into_values()),
            },
            Value::Array(values) => waiting.extend(values),
            _ => {}
        }
    }
    None
}

/// Follows a reference such as `$1a` to what it stands for.
fn resolve(rows: &BTreeMap<u64, Row<'_>>, mut value: Value) -> Option<Value> {
    for _ in 0..DEEPEST {
        let Value::String(text) = &value else { return Some(value) };
        let Some(reference) = text.strip_prefix('$') else { return Some(value) };
        if reference.starts_with('$') {
            // A text that begins with a dollar is written with two.
            return Some(Value::String(reference.to_owned()));
        }
        let id = u64::from_str_radix(reference.trim_start_matches(['L', '@']), 16).ok()?;
        value = match rows.get(&id)? {
            Row::Text(text) => return Some(Value::String((*text).to_owned())),
            Row::Json(json) => serde_json::from_slice(json).ok()?,
        };
    }
    None
}

fn read_page(rows: &BTreeMap<u64, Row<'_>>, page: Value) -> Result<RawPage, PayloadProblem> {
    let missing = |title: &str| PayloadProblem::NoContent { page: title.to_owned() };
    let mut page = resolve(rows, page).ok_or_else(|| missing("?"))?;
    let plan = page.get("page_plan").cloned().and_then(|plan| resolve(rows, plan)).unwrap_or_default();
    let text = |key: &str| plan[key].as_str().unwrap_or_default().trim().to_owned();
    let (id, title) = (text("id"), text("title"));
    let content = page.get_mut("content").map(Value::take).and_then(|content| resolve(rows, content));
    match content {
        Some(Value::String(content)) => Ok(RawPage { id, title, content }),
        _ => Err(missing(&title)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages: one with a text row of many bytes to a character, one in place.
    fn rows_of_two_pages() -> String {
        let text = "# Überblick\n\n5:nur Text — 你好\n";
        let wiki = r#"{"metadata":{"repo_name":"o/r","commit_hash":"abc123"},"pages":[{"page_plan":{"id":"1","title":"Überblick"},"content":"$1f3"},{"page_plan":{"id":"1.1","title":"Cost"},"content":"$$5 a month"}]}"#;
        format!(
            "0:[\"$\",\"$L1\",null,{{}}]\n1f3:T{:x},{text}2:I[49138,[\"9453\"]]\n:HL[\"/x.css\",\"style\"]\n5:[\"$\",\"$L15\",null,{{\"repoName\":\"o/r\",\"wiki\":{wiki}}}]\n",
            text.len()
        )
        .replace("\n:HL[\"/x.css\",\"style\"]", "\n3:HL[\"/x.css\",\"style\"]")
    }

    /// Wraps rows in HTML, in chunks of so many characters.
    fn html(rows: &str, size: usize) -> String {
        let characters: Vec<char> = rows.chars().collect();
        let chunks = characters.chunks(size).map(|chunk| {
            let text = serde_json::to_string(&chunk.iter().collect::<String>()).unwrap();
            format!("<script>self.__next_f.push([1,{text}])</script>")
        });
        let chunks: String = chunks.collect();
        format!("<!DOCTYPE html><script>(self.__next_f=self.__next_f||[]).push([0])</script>{chunks}")
    }

    #[test]
    fn every_page_is_read_by_byte_lengths_over_chunks() {
        let rows = rows_of_two_pages();
        let bare = read(rows.as_bytes()).unwrap();
        assert_eq!(bare.commit.as_deref(), Some("abc123"));
        let titles: Vec<(&str, &str)> = bare.pages.iter().map(|page| (page.id.as_str(), page.title.as_str())).collect();
        assert_eq!(titles, [("1", "Überblick"), ("1.1", "Cost")]);
        assert_eq!(bare.pages[0].content, "# Überblick\n\n5:nur Text — 你好\n");
        assert_eq!(bare.pages[1].content, "$5 a month");
        for size in [1, 7, 100, 100_000] {
            assert_eq!(read(html(&rows, size).as_bytes()).unwrap(), bare, "{size}");
        }
    }

    #[test]
    fn half_a_payload_is_no_wiki() {
        let rows = rows_of_two_pages();
        for end in 1..rows.len() - 1 {
            assert!(read(&rows.as_bytes()[..end]).is_err(), "{end}");
        }
        let told = |rows: &str| read(rows.as_bytes()).unwrap_err().to_string();
        assert_eq!(told("1:T10,abc"), "it ends within row 1, which wants 13 bytes more");
        assert!(told("1:Tffffffffffffffff,abc").contains("wants 18446744073709551612 bytes more"));
        assert!(told("1:Tfffffffffffffffff,abc").contains("holds no wiki"));
        assert_eq!(told("1:T2,né\n"), "row 1 is no UTF-8");
        assert!(told(&rows.replace("1f3:T", "1f4:T")).contains("the text of page `Überblick` is missing"));
    }

    #[test]
    fn what_is_no_payload_is_told_by_its_beginning() {
        let told = |body: &str| read(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            told("<html><h1>502 Bad Gateway</h1>"),
            "it holds no wiki; it begins \"<html><h1>502 Bad Gateway</h1>\""
        );
        assert!(told("").contains("no wiki"));
        assert!(told("1:{\"wiki\":null}").contains("no wiki"));
        assert!(told("1:{\"wiki\":\"$2\"}\n2:\"$1\"\n").contains("no wiki"), "a circle of references ends");
        assert!(told(&format!("1:{}", "[".repeat(100_000))).contains("no wiki"));
    }
}
