//! `tunesmith chat` in a process of its own, its questions piped in.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::program::{Ran, interrupt, program, tunesmith};
use crate::support::tiny::{endless, project};

/// Runs `chat` with this standard input.
fn chat(folder: &Path, arguments: &[&str], input: &[u8]) -> Ran {
    let mut program = program(folder);
    program.arg("chat").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input).unwrap();
    drop(pipe);
    child.wait_with_output().unwrap().into()
}

fn answers(ran: &Ran) -> Vec<Value> {
    ran.json().into_iter().map(|object| object["chat"].clone()).collect()
}

#[test]
fn a_built_model_answers_line_by_line_and_nothing_is_built() {
    let space = project();
    let refused = chat(space.path(), &["gguf"], b"hello\n").expect(1);
    assert!(
        refused.err.contains("`gguf` was never built") && refused.err.contains("tunesmith build gguf"),
        "{}",
        refused.err
    );
    tunesmith(space.path(), &["build"]).expect(0);

    let short = ["gguf", "--max-answer-tokens", "6", "--json"];
    let said =
        answers(&chat(space.path(), &short, b"what is it?\n\nand then?\n/new\nwhat is it?\n/bye\nno more\n").expect(0));
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(said[0]["question"], "what is it?");
    assert_eq!((&said[0]["answer"], &said[0]["prompt-tokens"]), (&said[2]["answer"], &said[2]["prompt-tokens"]));
    assert!(said[1]["prompt-tokens"].as_u64() > said[0]["prompt-tokens"].as_u64(), "the conversation goes on");
    assert!(said[0]["tokens"].as_u64().unwrap() <= 6);

    // For people the same text, and what is cut off is told beside it.
    let plain = chat(space.path(), &short[..3], b"what is it?").expect(0);
    assert_eq!(plain.out.trim_end_matches('\n'), said[0]["answer"].as_str().unwrap());
    assert_eq!(plain.err.contains("cut off after 6 tokens"), said[0]["ended"] == false, "{}", plain.err);

    // The adapter over its base is the same model before it was quantised; the base is another one.
    let both = answers(
        &chat(space.path(), &["expert", "--base", "--max-answer-tokens", "6", "--json"], b"what is it?\n").expect(0),
    );
    let base =
        answers(&chat(space.path(), &["model", "--max-answer-tokens", "6", "--json"], b"what is it?\n").expect(0));
    assert_eq!(both[0]["base"]["answer"], base[0]["answer"]);
    assert_eq!(both[0]["prompt-tokens"], said[0]["prompt-tokens"]);
    let heads = chat(space.path(), &["gguf", "--base", "--max-answer-tokens", "1"], b"what is it?\n").expect(0).out;
    assert!(heads.starts_with("base: ") && heads.contains("\ntuned: "), "{heads}");

    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    fs_err::write(space.path().join("pipeline.toml"), manifest.replace("epochs = 5", "epochs = 6")).unwrap();
    let stale = chat(space.path(), &short, b"what is it?\n").expect(0);
    assert!(stale.err.contains("`gguf` is stale") && stale.err.contains("tunesmith build gguf"), "{}", stale.err);
    assert_eq!(answers(&stale)[0]["answer"], said[0]["answer"]);
    let left = fs_err::read_dir(space.path().join("cache/scratch")).unwrap().count();
    assert_eq!(left, 0, "what was written aside is gone");
}

#[test]
fn what_cannot_be_asked_is_told_and_the_next_question_is_answered() {
    let space = project();
    tunesmith(space.path(), &["build"]).expect(0);
    let long = "word ".repeat(5_000);
    let input = format!("{long}\nand then?\n\u{1b}[31m\nbad \u{fffd}\n");
    let ran = chat(space.path(), &["gguf", "--context", "64", "--max-answer-tokens", "2", "--json"], input.as_bytes());
    let ran = ran.expect(1);
    let objects = ran.json();
    assert_eq!(objects[0]["problem"]["code"], "serve::too_long", "{objects:?}");
    assert_eq!(objects.iter().filter(|object| object["chat"].is_object()).count(), 3, "{objects:?}");

    let none = chat(space.path(), &["pairs"], b"").expect(2);
    assert!(none.err.contains("gives no model") && none.err.contains("`gguf`"), "{}", none.err);
    let hot = chat(space.path(), &["gguf", "--temperature", "11"], b"").expect(2);
    assert!(hot.err.contains("between 0 and 10"), "{}", hot.err);
}

#[test]
fn ctrl_c_stops_an_answer_and_ends_the_program_where_none_comes() {
    let space = endless();
    let mut program = program(space.path());
    program.args(["chat", "model", "--context", "16384", "--max-answer-tokens", "16000"]);
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut input, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut err = BufReader::new(child.stderr.take().unwrap());
    for _ in 0..2 {
        input.write_all(b"/new\nhello\n").unwrap();
        out.read_exact(&mut [0; 100]).unwrap();
        interrupt(child.id());
        let mut said = String::new();
        err.read_line(&mut said).unwrap();
        assert_eq!(said, "stopped\n");
        // What is left of the answer ends with a line.
        let mut rest = [0];
        while rest != *b"\n" {
            out.read_exact(&mut rest).unwrap();
        }
    }
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}
