//! What is found, what is not, and which row of a group stays.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::node::bench::{Bench, report};
use crate::record::{Conversation, Record, Role, Turn, write};

fn row(id: &str, question: &str, answer: &str) -> Record {
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    Record::Row(Conversation {
        id: id.into(),
        thread: id.into(),
        turns: vec![turn(Role::User, question), turn(Role::Assistant, answer)],
        ..Conversation::default()
    })
}

fn ids(bench: &Bench, outcome: &Outcome, output: &str) -> Vec<String> {
    bench.read(outcome, output).iter().map(|row| row.id().to_owned()).collect()
}

/// Returns the ids that stay, and the report.
fn kept(settings: &Value, rows: &[Record]) -> (Vec<String>, Vec<String>) {
    let bench = Bench::new();
    let rows = write(&bench.store, rows.to_vec()).unwrap();
    let outcome = bench.run_on(&Dedup, settings, &[("rows", rows)]).unwrap();
    let all = ids(&bench, &outcome, "rows").len() + ids(&bench, &outcome, "dropped").len();
    assert_eq!(all as u64, rows.count);
    (ids(&bench, &outcome, "rows"), report(&outcome))
}

const LONG: &str = "Raise the limit of the proxy, restart the pods, and look at the logs of the injector for one minute. \
    If they name a webhook that times out, raise its timeout, too, and apply the chart again.";

#[test]
fn rows_of_equal_words_count_once_whatever_case_and_punctuation() {
    let rows =
        [row("a", "Why *502*?", "No endpoints."), row("b", "why 502", "no  endpoints"), row("c", "Why 503?", "-")];
    assert_eq!(
        kept(&json!({"threshold": 1}), &rows),
        (vec!["a".into(), "c".into()], vec!["dropped row: exact duplicate: 1".into()])
    );
}

#[test]
fn near_rows_count_once_and_the_longest_answer_stays() {
    let longer = format!("{LONG} That is all.");
    let rows =
        [row("a", "What is it?", LONG), row("b", "What is it?", &longer), row("c", "What is it?", "Another one.")];
    let (ids, said) = kept(&json!({}), &rows);
    assert_eq!((ids, said), (vec!["b".into(), "c".into()], vec!["dropped row: near duplicate: 1".into()]));
    let (all, _) = kept(&json!({"threshold": 0.95}), &rows);
    assert_eq!(all, ["a", "b", "c"]);
}

#[test]
fn a_row_that_resembles_only_a_dropped_row_stays() {
    let words = |from: usize| (from..from + 100).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
    // Each is like its neighbour (0.74), and the first and the last are not (0.55).
    let rows = [row("a", "q", &words(0)), row("b", "q", &words(15)), row("c", "q", &words(30))];
    assert_eq!(kept(&json!({"threshold": 0.7, "by": "answer"}), &rows).0, ["a", "c"]);
}

#[test]
fn corrections_stay_before_longer_rows_and_globs_say_what_else_does() {
    let rows = [row("a", "q", LONG), row("correction-1", "q", &LONG.to_uppercase()), row("z/1", "q", LONG)];
    assert_eq!(kept(&json!({}), &rows).0, ["correction-1"]);
    assert_eq!(kept(&json!({"prefer": ["z/*", "a"]}), &rows).0, ["z/1"]);
    assert_eq!(kept(&json!({"prefer": []}), &rows).0, ["a"]);
}

#[test]
fn what_is_compared_is_a_setting() {
    let rows = [row("a", "How do I install it?", LONG), row("b", "How do I install it?", "Run the installer.")];
    assert_eq!(kept(&json!({}), &rows).0, ["a", "b"]);
    assert_eq!(kept(&json!({"by": "question"}), &rows).0, ["a"]);
    let rows = [row("a", "How do I install it?", LONG), row("b", "And otherwise?", LONG)];
    assert_eq!(kept(&json!({"by": "answer"}), &rows).0, ["a"]);
}

#[test]
fn an_edited_row_gives_what_a_run_from_nothing_gives() {
    let many = |edited: Option<usize>| -> Vec<Record> {
        let text = |n: usize| {
            let version = if edited == Some(n) { 7_777 } else { n / 3 };
            (0..40).map(|word| format!("w{}", version * 31 + word * 7)).collect::<Vec<_>>().join(" ")
        };
        (0..600).map(|n| row(&format!("r{n:04}"), "q", &format!("{} number {n}", text(n)))).collect()
    };
    let bench = Bench::new();
    let settings = json!({"by": "answer"});
    for edited in [None, Some(300), None, Some(0)] {
        let rows = write(&bench.store, many(edited)).unwrap();
        let outcome = bench.run_on(&Dedup, &settings, &[("rows", rows)]).unwrap();
        let cold = Bench::new();
        let same = write(&cold.store, many(edited)).unwrap();
        assert_eq!(cold.run_on(&Dedup, &settings, &[("rows", same)]).unwrap(), outcome);
        assert!((200..=202).contains(&Bench::records(&outcome, "rows").count), "{outcome:?}");
    }
}

#[test]
fn settings_out_of_range_are_told() {
    let codes = |settings: Value| {
        let problems = Dedup.canonical(&settings).unwrap_err();
        problems.into_iter().map(|problem| (problem.code, problem.path)).collect::<Vec<_>>()
    };
    let path = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        codes(json!({"threshold": 0.1, "shingle-words": 0, "prefer": ["a", "[", "b"]})),
        [
            ("settings::out_of_range", path(&["threshold"])),
            ("settings::out_of_range", path(&["shingle-words"])),
            ("settings::bad_glob", path(&["prefer", "1"])),
        ]
    );
}

/// A text of 60 words that no other number gives.
fn text(n: u64) -> Vec<String> {
    (0..60).map(|word| format!("{:x}", (n * 1_000 + word).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44)).collect()
}

#[test]
fn of_planted_pairs_above_the_threshold_all_but_few_are_found_and_below_none() {
    let mut rows = Vec::new();
    let mut planted: [BTreeSet<String>; 2] = Default::default();
    for n in 0..2_000_u64 {
        let mut words = text(n);
        rows.push(row(&format!("{n:05}"), "q", &words.join(" ")));
        // A word changed near the end breaks fewer shingles: 5 of 58 leave a similarity of 0.84, 15 leave 0.59.
        let changed: &[usize] = if n % 2 == 0 { &[30, 59, 58] } else { &[5, 15, 25, 35, 45] };
        if n < 1_000 {
            for at in changed {
                words[*at] = format!("changed{n}x{at}");
            }
            let id = format!("{n:05}-copy");
            planted[(n % 2) as usize].insert(id.clone());
            rows.push(row(&id, "q", &words[..].join(" ")));
        }
    }
    let bench = Bench::new();
    let rows = write(&bench.store, rows).unwrap();
    let settings = json!({"by": "answer", "threshold": 0.7, "prefer": ["?????"]});
    let outcome = bench.run_on(&Dedup, &settings, &[("rows", rows)]).unwrap();
    let dropped: BTreeSet<String> = ids(&bench, &outcome, "dropped").into_iter().collect();
    let found = planted[0].intersection(&dropped).count();
    assert!(found * 100 >= planted[0].len() * 99, "{found} of {}", planted[0].len());
    assert_eq!(dropped.len(), found, "{:?}", planted[1].intersection(&dropped).take(3).collect::<Vec<_>>());
}

#[test]
fn the_rows_of_version_1_are_pinned() {
    let bench = Bench::new();
    let rows: Vec<Record> = (0..60).map(|n| row(&format!("r{n}"), "q", &text(n / 2).join(" "))).collect();
    let rows = write(&bench.store, rows).unwrap();
    let outcome = bench.run_on(&Dedup, &json!({}), &[("rows", rows)]).unwrap();
    assert_eq!(
        Bench::records(&outcome, "rows").root.to_string(),
        "bc22c9ce963b24baf597d8b4545371b3f8e9a45f7a790946f036a700e2787505"
    );
}
