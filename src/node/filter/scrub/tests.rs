//! What is found, what only looks like it, and what becomes of it.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::node::bench::{Bench, report};
use crate::record::{Record, Turn, write};

fn row(id: &str, answer: &str) -> Record {
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    Record::Row(Conversation {
        id: id.into(),
        thread: id.into(),
        turns: vec![turn(Role::System, "Mail ops@corp.io."), turn(Role::User, "q"), turn(Role::Assistant, answer)],
        ..Conversation::default()
    })
}

fn run(bench: &Bench, settings: &Value, answer: &str) -> Outcome {
    let rows = write(&bench.store, [row("r", answer)]).unwrap();
    bench.run_on(&Scrub, settings, &[("rows", rows)]).unwrap()
}

/// Returns what the filter makes of an answer.
fn scrub(settings: &Value, answer: &str) -> (String, Vec<String>) {
    let bench = Bench::new();
    let outcome = run(&bench, settings, answer);
    let Record::Row(row) = &bench.read(&outcome, "rows")[0] else { panic!("a row") };
    assert_eq!(row.turns[0].text, "Mail ops@corp.io.");
    (row.turns[2].text.clone(), report(&outcome))
}

#[track_caller]
fn check(answer: &str, expect: &str) {
    assert_eq!(scrub(&json!({}), answer).0, expect);
}

#[test]
fn secrets_and_personal_data_become_placeholders() {
    check("Ask ann.lee+k8s@corp.co.uk, or bob@corp.io.", "Ask <EMAIL>, or <EMAIL>.");
    check(
        "It listens on 34.120.7.9:443 and 2a00:1450:4001:81b::200e.",
        "It listens on <IP-ADDRESS>:443 and <IP-ADDRESS>.",
    );
    check("Call +49 170 1234567 or (415) 555-2671.", "Call <PHONE-NUMBER> or <PHONE-NUMBER>.");
    check("helm repo add x https://ann:s3cret@charts.corp.io", "helm repo add x https://<LOGIN>@charts.corp.io");
    check(&format!("export T=ghp_{}", "aB3d".repeat(9)), "export T=<TOKEN>");
    check("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "<PRIVATE-KEY>");
    check("key = wJalrXUtnFEMI7K7MDENGbPxRfiCYq9Zk2", "key = <SECRET>");
}

#[test]
fn what_only_looks_like_it_stays() {
    for text in [
        "mail ann@example.com or x@a.test; clone git@github.com:linkerd/linkerd2.git; see logo@2x.png",
        "http://username:password@prometheus:9090 https://$USER:$TOKEN@git.corp.io",
        "10.0.0.1 172.16.3.4 192.168.1.1 127.0.0.1 0.0.0.0 169.254.169.254 203.0.113.7 255.255.255.0 8.8.8.8 100.64.0.1",
        "Chrome/91.0.4.72 v1.19.6.2 1.2.3.4-rc1 version 4.5.6.7 and 2001:db8::1 fe80::1 ::1",
        "at 2021-03-04 10:11:12+01:00 line 123-456 +2021-03-04 +192.168.100.200",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "image@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "github.com/x/y v1.2.3 h1:Rk1Zq7Ym0t9Xq2uVbN4s8dLkJhGfDsAqWeRtYuIoPaS=",
        "550e8400-e29b-41d4-a716-446655440000 linkerd-proxy-injector-5d7f8d9c4-x7z2p TestServiceProfileUpdatesV2Alpha1Only",
        "https://docs.google.com/d/1aB2cD3eF4gH5iJ6kL7mN8oP9qR0s/edit",
        "-----BEGIN CERTIFICATE-----\nqL7mN8oP9qR0sT1uV2wX3yZ4aB5cD6eF\n-----END CERTIFICATE-----",
        "caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJ3VENDQVdhZ0F3SUJBZ0lRZUR2",
    ] {
        check(text, text);
    }
}

#[test]
fn a_policy_drops_or_keeps_by_class_and_counts() {
    let bench = Bench::new();
    let outcome = run(&bench, &json!({"email-addresses": "drop"}), "Ask bob@corp.io.");
    assert_eq!(report(&outcome), ["dropped row: e-mail address in it: 1"]);
    assert_eq!(Bench::records(&outcome, "dropped").count, 1);
    assert_eq!(Bench::records(&outcome, "rows").count, 0);
    let text = "Ask bob@corp.io or Eve@Linkerd.io at 34.120.7.9.";
    let (scrubbed, said) = scrub(&json!({"ip-addresses": "keep", "allow": ["*@linkerd.io"]}), text);
    assert_eq!(scrubbed, "Ask <EMAIL> or Eve@Linkerd.io at 34.120.7.9.");
    assert_eq!(
        said,
        [
            "allowed: e-mail address: 1",
            "kept: IP address: 1",
            "masked: e-mail address: 1",
            "rows with something masked: 1"
        ]
    );
}

proptest! {
    #[test]
    fn findings_of_any_text_are_in_order_and_whole_characters(
        text in r"([a-zA-Z0-9@.+:/ é-]|\+49 |8\.8\.1\.|ghp_|a@b\.io|-----BEGIN PRIVATE KEY-----|2a00:){0,60}"
    ) {
        let mut at = 0;
        for finding in find(&text, 3.0) {
            prop_assert!(finding.range.start >= at && text.get(finding.range.clone()).is_some_and(|what| !what.is_empty()));
            at = finding.range.end;
        }
    }
}

#[test]
fn settings_out_of_range_are_told() {
    let problems = Scrub.canonical(&json!({"min-entropy": 9, "allow": ["["]})).unwrap_err();
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["settings::bad_glob", "settings::out_of_range"]);
    assert_eq!(
        Scrub.canonical(&json!({"tokens": "masc"})).unwrap_err()[0].help.as_deref(),
        Some("did you mean `mask`?")
    );
}

#[test]
fn the_rows_of_version_1_are_pinned() {
    let bench = Bench::new();
    let outcome = run(&bench, &json!({}), "Ask bob@corp.io at 34.120.7.9.");
    assert_eq!(
        Bench::records(&outcome, "rows").root.to_string(),
        "90fc0b2aa90955f85d5ab44d0a00c29b2498aa8077dd9703810910e468860250"
    );
}
