//! The laws of record sets.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::store::{Digest, Store};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cache"), None).unwrap();
    (folder, store)
}

fn document(id: &str, content: &str) -> Record {
    Record::Document(Document { id: id.into(), path: id.into(), content: content.into(), ..Document::default() })
}

fn documents(texts: &BTreeMap<String, String>) -> Vec<Record> {
    texts.iter().map(|(id, content)| document(id, content)).collect()
}

/// A filter that drops, keeps and doubles records by their content.
fn words(line: &Line<'_>) -> Result<Mapped> {
    let Record::Document(document) = line.record()? else { unreachable!("only documents are written here") };
    let mut mapped = Mapped::default();
    if document.content.is_empty() {
        mapped.counts.add("dropped: empty", 1);
    }
    for (n, word) in document.content.split_whitespace().take(50).enumerate() {
        let row = Conversation { id: format!("{}:{n}", document.id), thread: word.into(), ..Conversation::default() };
        mapped.push(0, &Record::Row(row))?;
    }
    Ok(mapped)
}

/// Ids that are prefixes of each other, and contents from nothing to several chunks.
fn sets() -> impl Strategy<Value = BTreeMap<String, String>> {
    let content = prop_oneof![
        3 => "[a-c ]{0,12}",
        1 => (0usize..70_000).prop_map(|n| "long ".repeat(n / 5)),
    ];
    proptest::collection::btree_map("[ab/#1-3\"\\t]{1,4}", content, 0..40)
}

/// Checks a law on many inputs with one store.
#[track_caller]
fn law<T: std::fmt::Debug>(inputs: impl Strategy<Value = T>, check: impl Fn(&Store, T)) {
    let (_folder, store) = store();
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) });
    let result = runner.run(&inputs, |input| {
        check(&store, input);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn a_set_reads_back_as_it_was_written() {
    law(sets(), |store, texts| {
        let set = write(store, documents(&texts)).unwrap();
        let opened = RecordSet::open(store, &set).unwrap();
        assert_eq!(opened.count(), texts.len() as u64);
        assert_eq!(opened.records().collect::<Result<Vec<_>>>().unwrap(), documents(&texts));
        for (id, content) in &texts {
            assert_eq!(opened.get(id).unwrap(), Some(document(id, content)));
        }
        assert_eq!(opened.get("absent").unwrap(), None);
    });
}

#[test]
fn a_tree_does_not_depend_on_its_history() {
    law((sets(), sets()), |store, (from, to)| {
        let direct = write(store, documents(&to)).unwrap();
        let old = write(store, documents(&from)).unwrap();
        let gone: BTreeSet<String> = from.keys().filter(|id| !to.contains_key(*id)).cloned().collect();
        assert_eq!(direct, upsert(store, &old, documents(&to), &gone).unwrap());
        let mut grown = write(store, []).unwrap();
        for record in documents(&to).into_iter().rev() {
            grown = upsert(store, &grown, [record], &BTreeSet::new()).unwrap();
        }
        assert_eq!(direct, grown);
    });
}

#[test]
fn a_diff_is_exact() {
    law((sets(), sets()), |store, (from, to)| {
        let old = write(store, documents(&from)).unwrap();
        let new = write(store, documents(&to)).unwrap();
        let is_edited = |id: &String, text: &String| from.get(id).is_some_and(|old| old != text);
        let expected = SetDiff {
            added: to.keys().filter(|id| !from.contains_key(*id)).cloned().collect(),
            edited: to.iter().filter(|(id, text)| is_edited(id, text)).map(|(id, _)| id.clone()).collect(),
            removed: from.keys().filter(|id| !to.contains_key(*id)).cloned().collect(),
        };
        assert_eq!(diff(store, &old, &new).unwrap(), expected);
    });
}

#[test]
fn going_on_from_a_former_run_gives_what_a_new_start_gives() {
    let case = Cell::new(0_u32);
    law((sets(), sets()), |store, (from, to)| {
        case.set(case.get() + 1);
        let run = |scope: &str, texts| {
            let scope = Digest::of(format!("{scope} {}", case.get()).as_bytes());
            let input = write(store, documents(texts)).unwrap();
            map_records::<1, RecordError, _>(store, scope, &input, words).unwrap()
        };
        run("warm", &from);
        let again = run("warm", &to);
        let anew = run("cold", &to);
        assert_eq!((again.outputs, again.counts), (anew.outputs, anew.counts));
    });
}

#[test]
fn merging_again_gives_what_merging_gives() {
    let prefixed = |prefix: &str, texts: &BTreeMap<String, String>| -> Vec<Record> {
        texts.iter().map(|(id, content)| document(&format!("{prefix}{id}"), content)).collect()
    };
    law((sets(), sets(), sets()), |store, (a, b, c)| {
        let right = write(store, prefixed("b", &b)).unwrap();
        let old = write(store, prefixed("a", &a)).unwrap();
        merge(store, &[("one", old), ("two", right)]).unwrap();
        let new = write(store, prefixed("a", &c)).unwrap();
        let again = merge(store, &[("one", new), ("two", right)]).unwrap();
        assert_eq!(again, write(store, prefixed("a", &c).into_iter().chain(prefixed("b", &b))).unwrap());
    });
}

#[test]
fn one_edit_among_many_records_is_one_record_processed_and_few_objects_written() {
    let (_folder, store) = store();
    let mut texts: BTreeMap<String, String> =
        (0..20_000).map(|n| (format!("r#{n:06}"), format!("text of record {n} {}", "x".repeat(150)))).collect();
    let scope = Digest::of(b"words");
    let first = write(&store, documents(&texts)).unwrap();
    let mapped = map_records::<1, RecordError, _>(&store, scope, &first, words).unwrap();
    assert_eq!(mapped.processed, 20_000);
    let before: BTreeSet<Digest> = RecordSet::open(&store, &mapped.outputs[0]).unwrap().objects().into_iter().collect();

    texts.insert("r#010000".into(), "another text".into());
    let second = write(&store, documents(&texts)).unwrap();
    let again = map_records::<1, RecordError, _>(&store, scope, &second, words).unwrap();
    assert_eq!(again.processed, 1);
    let after = RecordSet::open(&store, &again.outputs[0]).unwrap().objects();
    let written = after.iter().filter(|digest| !before.contains(*digest)).count();
    assert!((1..=6).contains(&written), "{written} of {} objects are new", after.len());

    assert_eq!(map_records::<1, RecordError, _>(&store, scope, &first, words).unwrap().processed, 0);
}

#[test]
fn a_duplicate_id_is_named_with_both_sets() {
    let (_folder, store) = store();
    let error = write(&store, [document("x", "1"), document("x", "2")]).unwrap_err();
    assert!(matches!(error, RecordError::Duplicate { ref id } if id == "x"), "{error}");
    let one = write(&store, [document("x", "1"), document("y", "1")]).unwrap();
    let two = write(&store, [document("x", "2")]).unwrap();
    let error = merge(&store, &[("issues", one), ("docs", two)]).unwrap_err();
    assert_eq!(error.to_string(), "record `x` comes from both `issues` and `docs`");
}

#[test]
fn a_result_whose_objects_are_gone_is_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let texts: BTreeMap<String, String> = (0..50).map(|n| (format!("r#{n}"), "a b".into())).collect();
    let scope = Digest::of(b"words");
    let store = Store::open(&folder.path().join("cache"), None).unwrap();
    let input = write(&store, documents(&texts)).unwrap();
    let output = map_records::<1, RecordError, _>(&store, scope, &input, words).unwrap().outputs[0];
    let chunk = RecordSet::open(&store, &output).unwrap().chunks()[0].digest;
    drop(store);
    let index = rusqlite::Connection::open(folder.path().join("cache/index.sqlite")).unwrap();
    index.execute("DELETE FROM object WHERE digest = ?", [chunk.as_bytes()]).unwrap();
    drop(index);
    let store = Store::open(&folder.path().join("cache"), None).unwrap();
    let again = map_records::<1, RecordError, _>(&store, scope, &input, words).unwrap();
    assert_eq!((again.processed, again.outputs[0]), (50, output));
    assert_eq!(RecordSet::open(&store, &output).unwrap().records().count(), 100);
}

#[test]
fn a_reduction_that_goes_on_from_a_former_one_gives_what_one_from_nothing_gives() {
    let verdict = |content: &str| match content.chars().next() {
        Some('a') => Verdict::Dropped,
        Some('b') => Verdict::Edited,
        _ => Verdict::Kept,
    };
    let of = |record: &Record| match record {
        Record::Document(document) => verdict(&document.content),
        other => unreachable!("{other:?}"),
    };
    let edited = |record: Record| match record {
        Record::Document(document) => Record::Document(Document { title: "edited".into(), ..document }),
        other => other,
    };
    law((sets(), sets()), |store, (before, after)| {
        for texts in [&before, &after, &before] {
            let all = documents(texts);
            let input = write(store, all.clone()).unwrap();
            let set = RecordSet::open(store, &input).unwrap();
            let scope = Digest::of(b"verdicts");
            let verdicts =
                summarize(store, scope, &set, |line| Ok::<_, RecordError>(of(&line.record()?) as u8)).unwrap();
            let verdicts: Vec<Vec<Verdict>> = verdicts
                .iter()
                .map(|chunk| {
                    let all = [Verdict::Kept, Verdict::Dropped, Verdict::Edited];
                    chunk.iter().map(|verdict| all[*verdict as usize]).collect()
                })
                .collect();
            let outputs = reduce::<2>(store, "law", &set, &verdicts, edited).unwrap();
            let (dropped, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| of(one) == Verdict::Dropped);
            let kept = kept.into_iter().map(|one| if of(&one) == Verdict::Edited { edited(one) } else { one });
            assert_eq!(outputs, [write(store, kept.collect::<Vec<_>>()).unwrap(), write(store, dropped).unwrap()]);
        }
    });
}

#[test]
fn the_root_of_a_set_is_pinned_by_the_format() {
    let (_folder, store) = store();
    let texts: BTreeMap<String, String> = (0..2_000).map(|n| (format!("r#{n}"), "text ".repeat(n % 90))).collect();
    let set = write(&store, documents(&texts)).unwrap();
    assert_eq!(set.root.to_string(), "b2199ce0d2ecf093755c40e8514a770de6ebe21d4c194d5d807d68547ad159e0");
}

#[test]
fn records_are_exported_in_the_forms_that_scripts_read() {
    let (_folder, store) = store();
    let author = Author { login: Some("ann".into()), ..Author::default() };
    let issue = Thread {
        id: "o/r#1".into(),
        repo: "o/r".into(),
        number: 1,
        title: "t".into(),
        state: "open".into(),
        author: author.clone(),
        comments: vec![Comment { author: Author::default(), body: "b".into(), ..Comment::default() }],
        ..Thread::default()
    };
    let turns = vec![Turn { role: Role::User, text: "q".into() }, Turn { role: Role::Assistant, text: "a".into() }];
    let row = Conversation { id: "o/r#2:answer".into(), thread: "o/r#2".into(), turns, ..Conversation::default() };
    let set = write(&store, [Record::Issue(issue), Record::Row(row)]).unwrap();
    let mut bytes = Vec::new();
    export_jsonl(&store, &set, &mut bytes).unwrap();
    insta::assert_snapshot!(String::from_utf8(bytes).unwrap(), @r#"
    {"repo":"o/r","number":1,"title":"t","body":"","state":"open","labels":[],"author":"ann","created_at":null,"closed_at":null,"comments":[{"author":null,"body":"b","created_at":null}]}
    {"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"source":"o/r#2:answer"}
    "#);
}
