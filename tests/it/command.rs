//! The kind `command` with real programs: what they see, what they leave, and how they end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tunesmith::node::{Content, FailureClass, Family, InputRole, JobFile, JobInput, NodeError, find};
use tunesmith::record::{Conversation, Record, RecordSet, Role, Turn, write};
use tunesmith::store::{Artifact, Digest};

use crate::support::node_run::Bench;

/// A bench whose programs are found.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.secrets.insert("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into());
    bench
}

fn shell(script: &str) -> Value {
    json!({"argv": ["sh", "-c", script], "outputs": {"out": {"path": "out"}}})
}

fn with(settings: Value, more: Value) -> Value {
    let (Value::Object(mut settings), Value::Object(more)) = (settings, more) else { panic!("not a table") };
    settings.extend(more);
    settings.into()
}

/// Runs a filter and returns the text of its output `out`.
fn text(bench: &Bench, settings: &Value) -> Result<String, NodeError> {
    let outcome = bench.run(Family::Filter, "command", settings)?;
    let Artifact::File(file) = &outcome.outputs["out"] else { panic!("{outcome:?}") };
    Ok(fs_err::read_to_string(bench.store.path(file).unwrap()).unwrap())
}

fn row(id: &str, answer: &str) -> Record {
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    let turns = vec![turn(Role::User, "q"), turn(Role::Assistant, answer)];
    Record::Row(Conversation { id: id.into(), thread: id.into(), turns, ..Conversation::default() })
}

fn input(node: &str, output: &str, artifact: Artifact) -> JobInput {
    let (node, output) = (node.into(), output.into());
    JobInput { role: InputRole::From, node, output, artifact, fields: BTreeMap::new() }
}

#[test]
fn a_program_sees_its_inputs_and_files_and_nothing_else() {
    let mut bench = bench();
    let rows = write(&bench.store, [row("r1", "a")]).unwrap();
    let model = bench.store.put_file_bytes(b"weights").unwrap();
    let adapter = BTreeMap::from([("sub/a.bin".to_owned(), bench.store.put_file_bytes(b"lora").unwrap())]);
    bench.inputs = vec![
        input("data", "train", Artifact::Records(rows)),
        input("data", "eval", Artifact::Records(rows)),
        input("gguf", "model", Artifact::File(model)),
        input("expert", "adapter", Artifact::Folder { files: adapter }),
    ];
    let script = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(script.path(), "echo script").unwrap();
    let path = script.path().to_owned();
    let digest = Digest::of(b"echo script");
    bench.files = vec![JobFile { setting: "files".into(), name: "x.sh".into(), path, digest, size: 11 }];
    let script = "{ find . -type f | LC_ALL=C sort; cat gguf expert/sub/a.bin; sh x.sh; env | cut -d= -f1 | sort | tr '\\n' ' '; } > /tmp/$$ ; mv /tmp/$$ out";
    let settings = with(shell(script), json!({"files": ["x.sh"], "env": {"MINE": "1"}}));
    let text = text(&bench, &settings).unwrap();
    let (found, environment) = text.split_once("weightslorascript\n").unwrap();
    assert_eq!(found, "./data.eval.jsonl\n./data.train.jsonl\n./expert/sub/a.bin\n./gguf\n./x.sh\n");
    let environment: Vec<&str> =
        environment.split(' ').filter(|name| !matches!(*name, "" | "_" | "PWD" | "SHLVL" | "OLDPWD")).collect();
    assert_eq!(environment, ["HOME", "LANG", "MINE", "PATH", "TMPDIR"]);
}

#[test]
fn rows_go_through_a_program_and_come_back_as_rows() {
    let mut bench = bench();
    bench.inputs = vec![input(
        "pairs",
        "rows",
        Artifact::Records(write(&bench.store, [row("r1", "tea"), row("r2", "milk")]).unwrap()),
    )];
    let settings = json!({
        "argv": ["sh", "-c", "sed s/tea/coffee/ > rows.jsonl"],
        "stdin": "pairs.jsonl",
        "outputs": {"rows": {"path": "rows.jsonl", "as": "rows"}},
    });
    let kind = find(Family::Filter, "command").unwrap();
    assert_eq!(kind.outputs(&kind.canonical(&settings).unwrap()), [("rows".to_owned(), Content::Rows)]);
    let outcome = bench.run(Family::Filter, "command", &settings).unwrap();
    let Artifact::Records(rows) = &outcome.outputs["rows"] else { panic!("{outcome:?}") };
    let rows: Vec<Record> = RecordSet::open(&bench.store, rows).unwrap().records().map(Result::unwrap).collect();
    let answers: Vec<&str> = rows
        .iter()
        .map(|row| match row {
            Record::Row(row) => row.turns[1].text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answers, ["coffee", "milk"]);
}

#[test]
fn what_a_program_says_is_passed_on_with_its_secrets_masked() {
    let mut bench = bench();
    bench.secrets.insert("API_KEY".into(), "hunter2".into());
    let settings = with(
        shell("echo key $KEY; echo again $KEY >&2; printf %s $KEY | wc -c > out"),
        json!({"env": {"KEY": "env:API_KEY"}}),
    );
    let kind = find(Family::Filter, "command").unwrap();
    assert!(!kind.canonical(&settings).unwrap().to_string().contains("hunter2"));
    assert_eq!(text(&bench, &settings).unwrap().trim(), "7");
    let mut said = bench.said();
    said.sort();
    assert_eq!(said, ["again ***", "key ***"]);
    bench.secrets.remove("API_KEY");
    let error = text(&bench, &settings).unwrap_err();
    assert_eq!(error.message, "environment variable `API_KEY`, which `env.KEY` passes on, is not set");
}

#[test]
fn a_failure_quotes_the_last_lines() {
    let error = text(&bench(), &shell("seq 1 30; exit 3")).unwrap_err();
    assert!(error.message.starts_with("program `sh` ended with code 3; its last lines:\n11\n"), "{error:?}");
    assert!(error.message.ends_with("\n30"), "{error:?}");
    let error = text(&bench(), &shell("kill -9 $$")).unwrap_err();
    assert_eq!(error.message, "program `sh` was ended by signal 9; it wrote nothing");
    let error = text(&bench(), &json!({"argv": ["no-such-program"], "outputs": {"out": {"path": "out"}}})).unwrap_err();
    assert_eq!(error.message, "program `no-such-program` could not be started");
}

#[test]
fn outputs_must_be_there_and_inside() {
    let error = text(&bench(), &shell("touch other")).unwrap_err();
    assert_eq!(error.message, "the program wrote no `out` for output `out`");
    assert_eq!(error.help.unwrap(), "in its folder there are: other");
    let error = text(&bench(), &shell("ln -s /etc/passwd out")).unwrap_err();
    assert_eq!(error.message, "`out` of output `out` is a link out of the command's folder");
    assert_eq!(text(&bench(), &shell("echo x > real; ln -s real out")).unwrap(), "x\n");
    let error = text(&bench(), &shell("mkdir out")).unwrap_err();
    assert_eq!(error.message, "`out` of output `out` is no plain file");

    let folder = |script: &str| {
        let settings = with(shell(script), json!({"outputs": {"out": {"path": "out", "as": "folder"}}}));
        bench().run(Family::Filter, "command", &settings)
    };
    let outcome = folder("mkdir -p out/a; echo 1 > out/a/b; echo 2 > out/c").unwrap();
    let Artifact::Folder { files } = &outcome.outputs["out"] else { panic!("{outcome:?}") };
    assert_eq!(files.keys().collect::<Vec<_>>(), ["a/b", "c"]);
    let error = folder("mkdir out; ln -s /etc/passwd out/x").unwrap_err();
    assert_eq!(error.message, "`out/x` of output `out` is no plain file");

    let settings =
        with(shell("echo '{\"conversations\": 1}' > out"), json!({"outputs": {"out": {"path": "out", "as": "rows"}}}));
    let error = bench().run(Family::Filter, "command", &settings).unwrap_err();
    assert!(error.message.starts_with("`out:1` of output `out` is not a row"), "{error:?}");
}

#[test]
fn a_cancel_ends_the_program_with_all_its_children() {
    let bench = bench();
    let marks = tempfile::tempdir().unwrap();
    let mark = marks.path().join("pids");
    let script = format!("sleep 600 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", mark.display());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !mark.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            bench.cancel.cancel();
        });
        assert_eq!(text(&bench, &shell(&script)).unwrap_err().class, FailureClass::Cancelled);
    });
    for pid in fs_err::read_to_string(&mark).unwrap().split_whitespace() {
        assert!(has_ended(pid), "process {pid} still runs");
    }
}

#[test]
fn what_a_program_leaves_behind_ends_with_it() {
    let pid = text(&bench(), &shell("sleep 600 & echo $! > out")).unwrap();
    assert!(has_ended(pid.trim()), "process {pid} still runs");
}

/// Returns whether a process is gone, or a zombie that nobody has waited for yet.
fn has_ended(pid: &str) -> bool {
    for _ in 0..200 {
        let state = std::process::Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap().stdout;
        if state.trim_ascii().is_empty() || state.starts_with(b"Z") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn wrong_settings_are_all_told_at_once() {
    let problems = |family, settings: Value| -> Vec<String> {
        let problems = find(family, "command").unwrap().canonical(&settings).unwrap_err();
        problems.into_iter().map(|problem| format!("{}: {}", problem.path.join("."), problem.message)).collect()
    };
    let settings = json!({
        "argv": [], "files": ["a/x.py", "b/x.py"], "stdin": "/etc/passwd", "effect": true,
        "outputs": {"a b": {"path": "../x"}, "c": {"path": ""}}, "env": {"A=B": "1", "C": "env:"},
    });
    assert_eq!(
        problems(Family::Filter, settings),
        [
            "argv: no program is named",
            "files.1: two files have the name `x.py`",
            "effect: only an export has effects",
            "outputs.a b: `a b` can be no output's name",
            "outputs.a b.path: `../x` is no path inside the command's folder",
            "outputs.c.path: `` is no path inside the command's folder",
            "env.A=B: `A=B` can be no environment variable",
            "env.C: `env:` names no variable",
            "stdin: `/etc/passwd` is no path inside the command's folder",
        ]
    );
    assert_eq!(problems(Family::Source, json!({"argv": ["x"]})), [": the command has no output"]);
    let export = find(Family::Export, "command").unwrap();
    let effect = export.canonical(&json!({"argv": ["deploy"], "effect": true})).unwrap();
    assert!(export.is_effect(&effect) && export.outputs(&effect).is_empty());
}
