//! What can be told of a record's canonical JSON without reading it.
//!
//! A quote in a string has a backslash before it, so a key with its quotes is found as bytes; the canonical form has the
//! keys that are looked for at the top alone.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

/// Returns the record's type; nothing where only reading tells it.
pub(super) fn kind(json: &str) -> Option<&str> {
    static TYPE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"type\":\""));
    only(&TYPE, json)
}

/// Returns the thread of a row; nothing where only reading tells it.
pub(super) fn thread(json: &str) -> Option<&str> {
    static THREAD: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"thread\":\""));
    only(&THREAD, json)
}

/// Returns the value of a key that is there once, with no backslash in it. `key` is the key with its quotes, the colon and
/// the value's first quote.
fn only<'j>(key: &Finder<'_>, json: &'j str) -> Option<&'j str> {
    let mut places = key.find_iter(json.as_bytes());
    let (Some(at), None) = (places.next(), places.next()) else { return None };
    let value = json.get(at + key.needle().len()..)?;
    let value = &value[..memchr(b'"', value.as_bytes())?];
    (!value.contains('\\')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_where_it_is_there_once_and_plain() {
        let row = r#"{"id":"a","thread":"o/r#1","turns":[{"role":"user","text":"\"thread\":\"x\",\"type\":\"y"}],"type":"row"}"#;
        assert_eq!((kind(row), thread(row)), (Some("row"), Some("o/r#1")));
        for unknown in
            [r#"{"thread":"a","thread":"b"}"#, r#"{"thread":"a\"b"}"#, r#"{"thread" : "a"}"#, "{}", r#"{"thread":"a"#]
        {
            assert_eq!(thread(unknown), None, "{unknown}");
        }
    }
}
