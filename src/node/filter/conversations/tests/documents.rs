//! Documents and their sections.

use super::*;

#[test]
fn documents_become_sections_at_headings_outside_of_code() {
    let bench = Bench::new();
    let content = format!(
        "Intro. {LONG}\n\n## Installing the CLI\n\n{LONG}\n\n```sh\n# no heading\ncurl x\n```\n\n### Why is it slow?\n\n\
         See [the guide](../guide/) and [the site][s]. {LONG}\n\n## Short\n\nNo.\n\n[s]: https://example.org/\n"
    );
    let set = records(&bench, Form::Documents, &[json!({"path": "docs/a.md", "title": "The CLI", "content": content})]);
    let settings = json!({"questions": {"page": "Explain {title}.", "task": "How do I go about {heading}?"}});
    let (rows, report) = run(&bench, &settings, &[("docs", set)]);
    let questions: Vec<(&str, &str)> = rows.iter().map(|row| (row.id.as_str(), row.turns[0].text.as_str())).collect();
    assert_eq!(
        questions,
        [
            ("o/r/docs/a.md#installing-the-cli", "How do I go about installing the CLI?"),
            ("o/r/docs/a.md#why-is-it-slow", "Why is it slow?"),
            ("o/r/docs/a.md:page", "Explain The CLI."),
        ]
    );
    assert_eq!(rows[0].turns[1].text, format!("{LONG}\n\n```sh\n# no heading\ncurl x\n```"));
    assert_eq!(rows[1].turns[1].text, format!("See the guide and [the site](https://example.org/). {LONG}"));
    assert_eq!(report, ["dropped section: too short: 1"]);
}

#[test]
fn long_sections_are_cut_between_blocks_and_never_inside_a_fence() {
    let bench = Bench::new();
    let fence = format!("```\n{}\n\n{}\n```", "x".repeat(150), "y".repeat(150));
    let content = format!("## A section\n\n{LONG}\n\n{fence}\n\n{LONG}");
    let set = records(&bench, Form::Documents, &[json!({"path": "a.md", "title": "T", "content": content})]);
    let (rows, _) = run(&bench, &json!({"max-answer-characters": 330}), &[("docs", set)]);
    let answers: Vec<&str> = rows.iter().map(|row| row.turns[1].text.as_str()).collect();
    assert_eq!(answers, [LONG, &fence, LONG]);
    assert!(rows[2].turns[0].text.ends_with("(part 3 of 3)"));
}

#[test]
fn metadata_of_a_document_is_no_text_and_gives_its_title() {
    let bench = Bench::new();
    let content = format!("---\ntitle: The CLI\nweight: 3\n---\n\n{LONG}\n");
    let set = records(&bench, Form::Documents, &[json!({"path": "a.md", "content": content})]);
    let (rows, _) = run(&bench, &json!({"questions": {"page": "Explain {title}."}}), &[("docs", set)]);
    assert_eq!((rows[0].turns[0].text.as_str(), rows[0].turns[1].text.as_str()), ("Explain The CLI.", LONG));
}

#[test]
fn long_sections_are_counted_and_so_are_parts_that_cannot_be_cut() {
    let bench = Bench::new();
    let content = format!("{LONG}\n\n```\n{}\n```\n", "x".repeat(300));
    let set = records(&bench, Form::Documents, &[json!({"path": "a.md", "content": content})]);
    let (rows, report) = run(&bench, &json!({"max-answer-characters": 250}), &[("docs", set)]);
    assert_eq!(rows.len(), 2);
    assert_eq!(
        report,
        [
            "part of a section longer than 250 characters: a block that cannot be cut: 1",
            "section made into several rows: longer than 250 characters: 1",
        ]
    );
}

#[test]
fn the_depth_of_sections_is_a_setting() {
    let bench = Bench::new();
    let content = format!("## One\n\n{LONG}\n\n### Two\n\n{LONG}");
    let ids = |settings: &Value| {
        let set = records(&bench, Form::Documents, &[json!({"path": "a.md", "content": content})]);
        let (rows, _) = run(&bench, settings, &[("docs", set)]);
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&json!({})), ["o/r/a.md#one", "o/r/a.md#two"]);
    assert_eq!(ids(&json!({"section-depth": 2})), ["o/r/a.md#one"]);
}
