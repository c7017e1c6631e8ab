//! Caps, shares, weights, and what moves when rows are added.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::node::bench::{Bench, report};
use crate::record::{Conversation, write};

fn rows(bench: &Bench, prefix: &str, range: std::ops::Range<usize>) -> RecordsRef {
    let row = |n: usize| Conversation { id: format!("{prefix}{n}"), ..Conversation::default() };
    write(&bench.store, range.map(|n| Record::Row(row(n))).collect::<Vec<_>>()).unwrap()
}

fn ids(bench: &Bench, outcome: &Outcome, output: &str) -> BTreeSet<String> {
    bench.read(outcome, output).iter().map(|row| row.id().to_owned()).collect()
}

#[test]
fn caps_and_shares_are_kept_and_what_goes_is_counted_by_source() {
    let bench = Bench::new();
    let settings = json!({"sources": {"docs": {"share": 0.3}, "o/r#*": {"max": 50}}});
    let inputs = [
        ("docs", rows(&bench, "d/", 0..500)),
        ("issues", rows(&bench, "o/r#", 0..80)),
        ("more", rows(&bench, "m", 0..20)),
    ];
    let outcome = bench.run_on(&Mix, &settings, &inputs).unwrap();
    assert_eq!(
        report(&outcome),
        [
            "docs: dropped row: over its `share`: 470",
            "docs: read: 500",
            "docs: rows: 30",
            "o/r#*: dropped row: over its `max`: 30",
            "o/r#*: read: 80",
            "o/r#*: rows: 50",
            "rows of no source: read: 20",
            "rows of no source: rows: 20",
        ]
    );
    assert_eq!((outcome.fields["rows"].as_u64(), outcome.fields["dropped"].as_u64()), (Some(100), Some(500)));
}

#[test]
fn new_rows_move_few_others() {
    let bench = Bench::new();
    let settings = json!({"sources": {"*": {"max": 200}}});
    let run = |range| {
        let outcome = bench.run_on(&Mix, &settings, &[("rows", rows(&bench, "r", range))]).unwrap();
        ids(&bench, &outcome, "rows")
    };
    let (before, after) = (run(0..1_000), run(0..1_050));
    assert_eq!((before.len(), after.len()), (200, 200));
    let gone = before.difference(&after).count();
    assert!(gone <= 25, "{gone} rows gone for 50 new ones");
    let cold = Bench::new();
    let outcome = cold.run_on(&Mix, &settings, &[("rows", rows(&cold, "r", 0..1_050))]).unwrap();
    assert_eq!(ids(&cold, &outcome, "rows"), after);
    let other = bench.run_on(
        &Mix,
        &json!({"sources": {"*": {"max": 200}}, "seed": 1}),
        &[("rows", rows(&bench, "r", 0..1_000))],
    );
    assert_ne!(ids(&bench, &other.unwrap(), "rows"), before);
}

#[test]
fn a_weight_is_multiplied_with_the_rows_own() {
    let bench = Bench::new();
    let row = |id: &str, weight| Record::Row(Conversation { id: id.into(), weight, ..Conversation::default() });
    let all = write(&bench.store, [row("a/1", None), row("a/2", Some(1.5)), row("b/1", None)]).unwrap();
    let outcome = bench.run_on(&Mix, &json!({"sources": {"a/*": {"weight": 2.0}}}), &[("rows", all)]).unwrap();
    let weights: Vec<Option<f64>> = bench
        .read(&outcome, "rows")
        .iter()
        .map(|row| match row {
            Record::Row(row) => row.weight,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(weights, [Some(2.0), Some(3.0), None]);
}

#[test]
fn an_inputs_name_comes_before_globs_and_a_longer_glob_before_a_shorter() {
    let bench = Bench::new();
    let settings = json!({"sources": {"docs": {"max": 1}, "d/*": {"max": 2}, "*": {"max": 3}}});
    let inputs =
        [("docs", rows(&bench, "d/x", 0..9)), ("more", rows(&bench, "d/y", 0..9)), ("rest", rows(&bench, "z", 0..9))];
    let outcome = bench.run_on(&Mix, &settings, &inputs).unwrap();
    let kept = ids(&bench, &outcome, "rows");
    let of = |prefix: &str| kept.iter().filter(|id| id.starts_with(prefix)).count();
    assert_eq!([of("d/x"), of("d/y"), of("z")], [1, 2, 3]);
}

#[test]
fn shares_that_cannot_be_met_and_sources_without_rows_are_told() {
    let bench = Bench::new();
    let inputs = [("docs", rows(&bench, "d", 0..9))];
    let error = bench.run_on(&Mix, &json!({"sources": {"docs": {"share": 0.5}}}), &inputs).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("filter::mix::shares"));
    bench.run_on(&Mix, &json!({"sources": {"dosc": {"max": 1}}}), &inputs).unwrap();
    assert!(bench.events.warnings().iter().any(|text| text.contains("`dosc`")));
    let problems = Mix.canonical(&json!({"sources": {"[": {"share": 2.0, "weight": 0}}})).unwrap_err();
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["settings::out_of_range", "settings::out_of_range", "settings::bad_glob"]);
}

#[test]
fn the_rows_of_version_1_are_pinned() {
    let bench = Bench::new();
    let settings = json!({"sources": {"*": {"max": 20, "weight": 2.0}}});
    let outcome = bench.run_on(&Mix, &settings, &[("rows", rows(&bench, "r", 0..60))]).unwrap();
    assert_eq!(
        Bench::records(&outcome, "rows").root.to_string(),
        "411530dd4668a8b832de4c5fd6f962f3cfbe69c57d5be2d3f3308e800c15fa5a"
    );
}
