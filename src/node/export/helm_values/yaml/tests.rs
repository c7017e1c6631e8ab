//! Edits of YAML: what changes, what stays, what is refused.

use super::{Scalar, ValuePath, YamlError, put_back, set, standing};

/// Sets a text, checks that putting it back gives what was before, and returns the result.
#[track_caller]
fn edited(text: &str, path: &str, value: &str) -> String {
    let path: ValuePath = path.parse().unwrap();
    let value = Scalar::Text(value.to_owned());
    let change = set(text, &path, &value).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(standing(&change.text, &path).unwrap().0, value.text());
    assert_eq!(set(&change.text, &path, &value).unwrap().text, change.text, "a second time changes nothing");
    assert_eq!(put_back(&change.text, &path, &change.new, &change.old).unwrap().text, text);
    change.text
}

#[track_caller]
fn refused(text: &str, path: &str) -> String {
    let path: ValuePath = path.parse().unwrap();
    set(text, &path, &Scalar::Text("new".into())).unwrap_err().to_string()
}

#[test]
fn only_the_value_changes_and_its_quotes_stay() {
    for (text, path, value, expected) in [
        ("a:\n  # c\n  b: old # tail\n  c: 1\n", "a.b", "llama:8b", "a:\n  # c\n  b: llama:8b # tail\n  c: 1\n"),
        ("a: 'x'\nb: \"y\"\n", "a", "it's", "a: 'it''s'\nb: \"y\"\n"),
        ("a: 'x'\nb: \"y\"\n", "b", "q\"z\\", "a: 'x'\nb: \"q\\\"z\\\\\"\n"),
        ("a: {b: x, c: [1, 2]}\n", "a.b", "l:8b", "a: {b: l:8b, c: [1, 2]}\n"),
        ("a: {b: x, c: [1, 2]}\n", "a.c[1]", "7q", "a: {b: x, c: [1, \"7q\"]}\n"),
        ("a:\n- x\n- y: old\n", "a[1].y", "new", "a:\n- x\n- y: new\n"),
        ("- old\n", "[0]", "new", "- new\n"),
        ("a.b: old\n", "a\\.b", "new", "a.b: new\n"),
        ("\"a b\": 'old'\n", "a b", "new", "\"a b\": 'new'\n"),
        ("a: one\n  two\n  three\nb: 1\n", "a", "new", "a: new\nb: 1\n"),
        ("a: 'one\n  two'\nb: 1\n", "a", "new", "a: 'new'\nb: 1\n"),
        ("? a\n: old\n", "a", "new", "? a\n: new\n"),
        ("a: &x old\nb: *x\n", "a", "new", "a: &x new\nb: *x\n"),
        ("a: &x !!str 3\n", "a", "new", "a: &x !!str new\n"),
        ("é: ünï # ö\nb: old\n", "b", "ß", "é: ünï # ö\nb: \"ß\"\n"),
    ] {
        assert_eq!(edited(text, path, value), expected, "{text:?}");
    }
}

#[test]
fn line_ends_byte_order_marks_tabs_and_a_missing_last_line_end_stay() {
    for (text, expected) in [
        ("\u{feff}a: old\n", "\u{feff}a: new\n"),
        ("a: old\r\nb: |\r\n  x\r\n  y\r\nc: 1\r\n", "a: new\r\nb: |\r\n  x\r\n  y\r\nc: 1\r\n"),
        ("a: old", "a: new"),
        ("a: old\t# tab\tcomment\n", "a: new\t# tab\tcomment\n"),
        ("a: \"old\" \t\n\n\n# end", "a: \"new\" \t\n\n\n# end"),
        ("%YAML 1.2\n---\na: old\n...\n", "%YAML 1.2\n---\na: new\n...\n"),
        ("---\na: old\n---\na: old\n", "---\na: new\n---\na: old\n"),
    ] {
        assert_eq!(edited(text, "a", "new"), expected, "{text:?}");
    }
}

#[test]
fn what_would_be_no_text_without_quotes_gets_them() {
    for value in [
        "no",
        "Off",
        "y",
        "null",
        "1.20",
        "8b",
        "0x1f",
        "1:30",
        "2026-11-26",
        "~",
        "",
        "a: b",
        "a #b",
        "a:",
        "- a",
        "*a",
        ".inf",
        "<<",
        "a,b",
        "é",
    ] {
        let text = edited("a: old\n", "a", value);
        assert!(text.starts_with("a: \""), "{value}: {text}");
    }
    assert_eq!(edited("a: ''\n", "a", "x\ty\n\u{2028}\u{7f}"), "a: \"x\\ty\\n\\u2028\\u007f\"\n");
    for value in ["linkerd-llama3.1:8b-0123456789ab", "a/b@c+d", "true-er"] {
        assert_eq!(edited("a: old\n", "a", value), format!("a: {value}\n"));
    }
}

#[test]
fn a_number_is_a_number_unless_the_quotes_say_text() {
    let set = |text: &str| set(text, &"a".parse().unwrap(), &Scalar::Plain("3".into())).unwrap().text;
    assert_eq!(set("a: 2 # n\n"), "a: 3 # n\n");
    assert_eq!(set("a: \"2\"\n"), "a: \"3\"\n");
    assert_eq!(set("a: !!int 2\n"), "a: !!int 3\n");
}

#[test]
fn a_value_that_is_not_written_is_put_behind_its_colon() {
    for (text, path, expected) in [
        ("a:\nb: 1\n", "a", "a: new\nb: 1\n"),
        ("a:   # why\nb: 1\n", "a", "a: new   # why\nb: 1\n"),
        ("a:", "a", "a: new"),
        ("a: ~\n", "a", "a: new\n"),
        ("a: {b: , c: 1}\n", "a.b", "a: {b: new , c: 1}\n"),
        ("a: &x\nb: 1\n", "a", "a: &x new\nb: 1\n"),
        ("a:\n-\n- y\n", "a[0]", "a:\n- new\n- y\n"),
    ] {
        assert_eq!(edited(text, path, "new"), expected, "{text:?}");
    }
}

#[test]
fn blocks_keep_their_form_their_indentation_and_their_comment() {
    for (text, path, value, expected) in [
        ("a: |\n  one\n  two\n# c\nb: 1\n", "a", "three\n\n four\n", "a: |\n  three\n\n   four\n# c\nb: 1\n"),
        ("a: |-\n  one\n\n\nb: 1\n", "a", "three", "a: |-\n  three\n\n\nb: 1\n"),
        ("a: | # hi\n  one\nb: 1\n", "a", "three", "a: |- # hi\n  three\nb: 1\n"),
        ("a: >\n  one\n  two\n\nb: 1\n", "a", "three\n", "a: >\n  three\n\nb: 1\n"),
        ("a: >\n  one\n  two\n", "a", "three\nfour\n", "a: |\n  three\n  four\n"),
        ("a:\n  b: |+\n    x\n\n  c: 1\n", "a.b", "z\n", "a:\n  b: |\n    z\n\n  c: 1\n"),
        ("a: old\r\nb: |\r\n  x\r\n  y\r\nc: 1\r\n", "b", "p\nq\n", "a: old\r\nb: |\r\n  p\r\n  q\r\nc: 1\r\n"),
        (
            "a:\n    b: |\n        x\n    # less\n    c: 1\n",
            "a.b",
            "n\n",
            "a:\n    b: |\n        n\n    # less\n    c: 1\n",
        ),
        ("- |\n  x\n- y\n", "[0]", "n\n", "- |\n  n\n- y\n"),
        ("a: &x |\n\n  x\nb: *x\n", "a", "n\n", "a: &x |\n  n\nb: *x\n"),
        ("a: |\n  x\nb: 1\n", "a", " leading", "a: \" leading\"\nb: 1\n"),
        ("a: | # hi\nb: 1\n", "a", "new", "a: \"new\" # hi\nb: 1\n"),
        ("a: |\n  x  \n \nb: 1\n", "a", "n \n", "a: |\n  n \n \nb: 1\n"),
        ("b: |\r\n  x\r\n  y\r\nc: 1\r\n", "b", ") ", "b: |-\r\n  ) \r\nc: 1\r\n"),
        ("a: |2\n   x\n  y\nb: 1\n", "a", "p\nq\n", "a: \"p\\nq\\n\"\nb: 1\n"),
    ] {
        assert_eq!(edited(text, path, value), expected, "{text:?}");
    }
}

#[test]
fn aliases_of_a_value_are_told() {
    let change = set("a: &x old\nb: *x\nc: [*x]\n", &"a".parse().unwrap(), &Scalar::Text("new".into())).unwrap();
    assert_eq!((change.line, change.aliases), (1, vec![2, 3]));
}

#[test]
fn what_is_no_value_of_its_own_is_refused_with_its_place() {
    for (text, path, message) in [
        ("a: &x old\nb: *x\n", "b", "`b` in line 2 is an alias of the value in line 1"),
        ("d: &d {k: 1}\nb: *d\n", "b.k", "`b` in line 2 is an alias of the value in line 1"),
        ("d: &d {k: 1}\nc:\n  <<: *d\n  z: 1\n", "c.k", "`c` has `k` only by the merge (`<<`) in line 3"),
        ("a: 1\nb: 2\n\"a\": 3\n", "a", "the document has the key `a` in line 1 and again in line 3"),
        ("a: x\n", "a.b", "`a` is a single value, not a mapping (line 1)"),
        ("a: [x]\n", "a", "`a` is a list, not a single value (line 1)"),
        ("a: [x]\n", "a[1]", "`a` has 1 entries, so none with the number 1"),
        ("a:\n  - x\n", "a.b", "`a` is a list, not a mapping (line 2)"),
        ("a: !!int 3\n", "a", "`a` in line 1 has the tag `!!int`, which a text does not fit"),
        ("a: [\n", "a", "line 1, column 4: unclosed bracket '['"),
        ("# only\n", "a", "there is no document in it"),
        ("a: {b, c: 1}\n", "a.b", "`a.b` in line 1 is written in a way that cannot be changed in place"),
    ] {
        assert_eq!(refused(text, path), message, "{text:?}");
    }
}

#[test]
fn a_key_that_is_not_there_gets_a_suggestion() {
    let help = |text: &str, path: &str| {
        let error = set(text, &path.parse().unwrap(), &Scalar::Text("new".into())).unwrap_err();
        format!("{error}: {}", miette::Diagnostic::help(&error).unwrap())
    };
    assert_eq!(help("o:\n  modle: x\n", "o.model"), "`o` has no key `model`: did you mean `modle`?");
    assert_eq!(
        help("q: x\nz: y\n", "model"),
        "the document has no key `model`: its keys are `q`, `z`; tunesmith changes values and adds none"
    );
    assert_eq!(
        help("q: x\n---\nmodel: y\n", "model"),
        "the document has no key `model`: a later document, from line 3, has it, but Helm reads the first one alone"
    );
}

#[test]
fn a_value_that_somebody_changed_since_is_not_put_back() {
    let error = put_back("a: theirs\n", &"a".parse().unwrap(), "new", "old").unwrap_err();
    assert!(matches!(error, YamlError::ChangedSince { .. }), "{error}");
    assert_eq!(put_back("# more\na: new\n", &"a".parse().unwrap(), "new", "old").unwrap().text, "# more\na: old\n");
}

#[test]
fn paths_are_read_as_helm_writes_them() {
    for path in ["a", "a.b", "a[0].b", "a[0][1]", "[3].x", "a\\.b/c.d", "a\\[0\\]"] {
        assert_eq!(path.parse::<ValuePath>().unwrap().to_string(), path);
    }
    for bad in ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[0", "a[0]b", "a]", "a\\n", "a.[0]", "a[-1]", "a[+1]"] {
        assert!(bad.parse::<ValuePath>().is_err(), "{bad}");
    }
}
