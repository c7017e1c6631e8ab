//! A record's canonical form, written and read without a tree of values between: every record of every source passes
//! here several times.
//!
//! The form is JSON in one line with sorted keys, as serde writes a record's `Value`; a property test holds both against
//! each other. The fields of each type are taken apart by name, so that none can be forgotten.

use std::borrow::Cow;

use serde::Deserialize;

use super::glance;
use super::quoted;
use super::text::{LongText, RecordText};
use super::types::{Author, Comment, Conversation, Correction, Document, Record, Role, SourceRef, Thread, Turn};

/// Results of writing and reading JSON.
type Result<T> = serde_json::Result<T>;

/// Writes a record.
pub(super) fn write<S: RecordText>(record: &Record<S>, out: &mut Vec<u8>) -> Result<()> {
    match record {
        Record::Issue(thread) => write_thread(thread, "issue", out),
        Record::Pull(thread) => write_thread(thread, "pull", out),
        Record::Discussion(thread) => write_thread(thread, "discussion", out),
        Record::Document(document) => write_document(document, out),
        Record::Row(row) => write_conversation(row, None, out),
        Record::Correction(correction) => write_conversation(&correction.conversation, Some(correction), out),
    }
}

/// Reads a record, once where the form is canonical: there its type is found without reading what stands around it.
pub(super) fn read<'j, S: Deserialize<'j> + LongText<'j> + Default>(json: &'j str) -> Result<Record<S>> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    fn of<'j, T: Deserialize<'j>, S>(json: &'j str, record: fn(T) -> Record<S>) -> Result<Record<S>> {
        serde_json::from_str(json).map(record)
    }
    let kind = match glance::kind(json) {
        Some(kind) => Cow::Borrowed(kind),
        None => serde_json::from_str::<Tagged<'_>>(json)?.kind,
    };
    match &*kind {
        "issue" => of(json, Record::Issue),
        "pull" => of(json, Record::Pull),
        "discussion" => of(json, Record::Discussion),
        "document" => of(json, Record::Document),
        "row" => of(json, Record::Row),
        // Corrections are few, and serde says what is wrong with an unknown type.
        _ => serde_json::from_str(json),
    }
}

/// An object that is being written, its keys in order.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    opened: bool,
}

impl<'o> Object<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, opened: false }
    }

    /// Writes a key, and gives where its value goes. Keys are this file's own: they need no escapes.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(if self.opened { b",\"" } else { b"{\"" });
        self.opened = true;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn text(&mut self, key: &str, text: &str) -> Result<()> {
        quoted::write(text, self.key(key))
    }

    /// As [`Self::text`], without a look into the text where its JSON is at hand.
    fn long_text(&mut self, key: &str, text: &impl RecordText) -> Result<()> {
        match text.canonical() {
            Some(json) => {
                self.key(key).extend_from_slice(json.as_bytes());
                Ok(())
            }
            None => self.text(key, text.as_ref()),
        }
    }

    fn text_if(&mut self, key: &str, text: Option<&impl RecordText>) -> Result<()> {
        text.map_or(Ok(()), |text| self.text(key, text.as_ref()))
    }

    fn number(&mut self, key: &str, number: u64) -> Result<()> {
        serde_json::to_writer(self.key(key), &number)
    }

    fn number_if(&mut self, key: &str, number: Option<u64>) -> Result<()> {
        number.map_or(Ok(()), |number| self.number(key, number))
    }

    fn flag(&mut self, key: &str, flag: bool) {
        if flag {
            self.key(key).extend_from_slice(b"true");
        }
    }

    fn end(self) {
        self.out.extend_from_slice(if self.opened { b"}" } else { b"{}" });
    }
}

fn list<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>) -> Result<()>) -> Result<()> {
    out.push(b'[');
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(item, out)?;
    }
    out.push(b']');
    Ok(())
}

fn texts(texts: &[impl RecordText], out: &mut Vec<u8>) -> Result<()> {
    list(texts, out, |text, out| quoted::write(text.as_ref(), out))
}

fn write_thread<S: RecordText>(thread: &Thread<S>, kind: &str, out: &mut Vec<u8>) -> Result<()> {
    let Thread {
        id,
        repo,
        number,
        title,
        body,
        state,
        state_reason,
        labels,
        author,
        created_at,
        updated_at,
        closed_at,
        merged_at,
        url,
        reactions,
        comments,
        reviews,
    } = thread;
    let mut object = Object::new(out);
    write_author(author, object.key("author"))?;
    object.long_text("body", body)?;
    object.text_if("closed_at", closed_at.as_ref())?;
    list(comments, object.key("comments"), write_comment)?;
    object.text_if("created_at", created_at.as_ref())?;
    object.text("id", id.as_ref())?;
    texts(labels, object.key("labels"))?;
    object.text_if("merged_at", merged_at.as_ref())?;
    object.number("number", *number)?;
    object.number_if("reactions", Some(*reactions).filter(|reactions| *reactions > 0))?;
    object.text("repo", repo.as_ref())?;
    if !reviews.is_empty() {
        list(reviews, object.key("reviews"), |comments, out| list(comments, out, write_comment))?;
    }
    object.text("state", state.as_ref())?;
    object.text_if("state_reason", state_reason.as_ref())?;
    object.text("title", title.as_ref())?;
    object.text("type", kind)?;
    object.text_if("updated_at", updated_at.as_ref())?;
    object.text_if("url", url.as_ref())?;
    object.end();
    Ok(())
}

fn write_author(author: &Author<impl RecordText>, out: &mut Vec<u8>) -> Result<()> {
    let Author { login, association, bot } = author;
    let mut object = Object::new(out);
    object.text_if("association", association.as_ref())?;
    object.flag("bot", *bot);
    object.text_if("login", login.as_ref())?;
    object.end();
    Ok(())
}

fn write_comment(comment: &Comment<impl RecordText>, out: &mut Vec<u8>) -> Result<()> {
    let Comment { id, author, body, created_at, updated_at, reactions, reply_to, accepted } = comment;
    let mut object = Object::new(out);
    object.flag("accepted", *accepted);
    write_author(author, object.key("author"))?;
    object.long_text("body", body)?;
    object.text_if("created_at", created_at.as_ref())?;
    object.number_if("id", *id)?;
    object.number_if("reactions", Some(*reactions).filter(|reactions| *reactions > 0))?;
    object.number_if("reply_to", *reply_to)?;
    object.text_if("updated_at", updated_at.as_ref())?;
    object.end();
    Ok(())
}

fn write_document(document: &Document, out: &mut Vec<u8>) -> Result<()> {
    let Document { id, repo, path, title, content, url } = document;
    let mut object = Object::new(out);
    object.text("content", content)?;
    object.text("id", id)?;
    object.text("path", path)?;
    object.text("repo", repo)?;
    object.text("title", title)?;
    object.text("type", "document")?;
    object.text_if("url", url.as_ref())?;
    object.end();
    Ok(())
}

/// Writes a row, or a correction by its row and what it has beside it.
fn write_conversation(row: &Conversation, correction: Option<&Correction>, out: &mut Vec<u8>) -> Result<()> {
    let Conversation { id, thread, turns, sources, weight } = row;
    let mut object = Object::new(out);
    object.text("id", id)?;
    object.text_if("note", correction.and_then(|correction| correction.note.as_ref()))?;
    if !sources.is_empty() {
        list(sources, object.key("sources"), write_source)?;
    }
    if let Some(supersedes) = correction.map(|correction| &correction.supersedes).filter(|ids| !ids.is_empty()) {
        texts(supersedes, object.key("supersedes"))?;
    }
    object.text("thread", thread)?;
    list(turns, object.key("turns"), write_turn)?;
    object.text("type", if correction.is_some() { "correction" } else { "row" })?;
    if let Some(weight) = weight {
        serde_json::to_writer(object.key("weight"), weight)?;
    }
    object.end();
    Ok(())
}

fn write_turn(turn: &Turn, out: &mut Vec<u8>) -> Result<()> {
    let Turn { role, text } = turn;
    let mut object = Object::new(out);
    object.text(
        "role",
        match role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        },
    )?;
    object.text("text", text)?;
    object.end();
    Ok(())
}

fn write_source(source: &SourceRef, out: &mut Vec<u8>) -> Result<()> {
    let SourceRef { id, digest, comments } = source;
    let mut object = Object::new(out);
    if !comments.is_empty() {
        list(comments, object.key("comments"), |id, out| serde_json::to_writer(out, id))?;
    }
    serde_json::to_writer(object.key("digest"), digest)?;
    object.text("id", id)?;
    object.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Text;
    use crate::store::Digest;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "\\PC{0,12}", "[\\x00-\\x1f\"\\\\\u{2028}é]{0,6}"]
    }

    fn maybe() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(text())
    }

    fn author() -> impl Strategy<Value = Author> {
        (maybe(), maybe(), any::<bool>()).prop_map(|(login, association, bot)| Author { login, association, bot })
    }

    fn comment() -> impl Strategy<Value = Comment> {
        let rest = (0_u64..3, proptest::option::of(any::<u64>()), any::<bool>());
        (proptest::option::of(any::<u64>()), author(), text(), maybe(), maybe(), rest).prop_map(
            |(id, author, body, created_at, updated_at, (reactions, reply_to, accepted))| Comment {
                id,
                author,
                body,
                created_at,
                updated_at,
                reactions,
                reply_to,
                accepted,
            },
        )
    }

    fn comments() -> impl Strategy<Value = Vec<Comment>> {
        proptest::collection::vec(comment(), 0..3)
    }

    fn thread() -> impl Strategy<Value = Thread> {
        let texts = [text().boxed(), text().boxed(), text().boxed(), text().boxed(), text().boxed()];
        let times =
            [maybe().boxed(), maybe().boxed(), maybe().boxed(), maybe().boxed(), maybe().boxed(), maybe().boxed()];
        let lists = (proptest::collection::vec(text(), 0..3), comments(), proptest::collection::vec(comments(), 0..3));
        (texts, times, lists, author(), any::<u64>(), 0_u64..3).prop_map(
            |(texts, times, (labels, comments, reviews), author, number, reactions)| {
                let [id, repo, title, body, state] = texts;
                let [state_reason, created_at, updated_at, closed_at, merged_at, url] = times;
                Thread {
                    id,
                    repo,
                    number,
                    title,
                    body,
                    state,
                    state_reason,
                    labels,
                    author,
                    created_at,
                    updated_at,
                    closed_at,
                    merged_at,
                    url,
                    reactions,
                    comments,
                    reviews,
                }
            },
        )
    }

    fn conversation() -> impl Strategy<Value = Conversation> {
        let role = prop_oneof![Just(Role::System), Just(Role::User), Just(Role::Assistant)];
        let turn = (role, text()).prop_map(|(role, text)| Turn { role, text });
        let source = (text(), any::<[u8; 32]>(), proptest::collection::vec(any::<u64>(), 0..3))
            .prop_map(|(id, digest, comments)| SourceRef { id, digest: Digest::from_bytes(digest), comments });
        let (turns, sources) = (proptest::collection::vec(turn, 0..3), proptest::collection::vec(source, 0..3));
        (text(), text(), turns, sources, proptest::option::of(any::<f64>()))
            .prop_map(|(id, thread, turns, sources, weight)| Conversation { id, thread, turns, sources, weight })
    }

    fn record() -> impl Strategy<Value = Record> {
        let document = ([text().boxed(), text().boxed(), text().boxed(), text().boxed(), text().boxed()], maybe())
            .prop_map(|([id, repo, path, title, content], url)| Document { id, repo, path, title, content, url });
        let correction = (conversation(), proptest::collection::vec(text(), 0..3), maybe())
            .prop_map(|(conversation, supersedes, note)| Correction { conversation, supersedes, note });
        prop_oneof![
            thread().prop_map(Record::Issue),
            thread().prop_map(Record::Pull),
            thread().prop_map(Record::Discussion),
            document.prop_map(Record::Document),
            conversation().prop_map(Record::Row),
            correction.prop_map(Record::Correction),
        ]
    }

    proptest! {
        #[test]
        fn a_record_is_written_as_serde_writes_its_value_and_read_as_serde_reads_it(record in record()) {
            let mut out = Vec::new();
            write(&record, &mut out).unwrap();
            let written = String::from_utf8(out).unwrap();
            let value = serde_json::to_value(&record).unwrap();
            prop_assert_eq!(&written, &serde_json::to_string(&value).unwrap());
            if let Ok(borrowed) = read::<Text<'_>>(&written) {
                let mut again = Vec::new();
                write(&borrowed, &mut again).unwrap();
                prop_assert_eq!(std::str::from_utf8(&again).unwrap(), &written);
            }
            let (ours, theirs) = (read::<String>(&written), serde_json::from_str::<Record>(&written));
            prop_assert_eq!(read::<Text<'_>>(&written).is_ok(), ours.is_ok());
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours, theirs),
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for json in [
            "",
            "{}",
            "[]",
            "{\"type\":1}",
            "{\"type\":\"wiki\"}",
            "{\"type\":\"row\"}",
            "{\"type\":\"row\",\"type\":\"row\"}",
        ] {
            assert!(read::<String>(json).is_err(), "{json}");
        }
        let twice = "{\"id\":\"a\",\"thread\":\"\",\"turns\":[],\"type\":\"row\",\"type\":\"issue\"}";
        assert!(read::<String>(twice).is_err());
    }
}
