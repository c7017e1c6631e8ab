//! The judge of `eval.compare` over real HTTP: an endpoint with bad habits, and llama.cpp's server where it is installed.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tunesmith::model::gguf::Header;
use tunesmith::node::{FailureClass, Family, InputRole, JobFile, JobInput, NodeError, Outcome};
use tunesmith::store::{Artifact, Digest};

use crate::support::fake_endpoint::{FakeEndpoint, Habit};
use crate::support::llama_server::{ABSENT, LlamaServer};
use crate::support::node_run::Bench;

/// Two questions that answers to are judged, one of them with a reference.
const QUESTIONS: &str =
    "[[question]]\nask = \"what is 1\"\n[[question]]\nask = \"what is 2\"\nreference = \"a number\"\n";
/// Stands in every prompt of the default rubric.
const RUBRIC: &str = "You compare two answers";

struct Project {
    bench: Bench,
    endpoint: FakeEndpoint,
    _folder: tempfile::TempDir,
}

/// Returns the tiny model, and another one that answers otherwise: each token has its neighbour's embedding.
fn models() -> [Vec<u8>; 2] {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama/reference.gguf");
    let (base, header) = (fs_err::read(&reference).unwrap(), Header::read(&reference).unwrap());
    let table = header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight").unwrap();
    let (start, row) = ((header.data_offset + table.offset) as usize, 2 * table.dimensions[0] as usize);
    let mut tuned = base.clone();
    tuned[start..start + row * table.dimensions[1] as usize].rotate_left(row);
    [base, tuned]
}

impl Project {
    fn new() -> Self {
        let (mut bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
        let [base, tuned] = models();
        for (role, node, output, bytes) in
            [(InputRole::From, "gguf", "gguf", tuned), (InputRole::Model, "model", "weights", base)]
        {
            let artifact = Artifact::File(bench.store.put_file_bytes(&bytes).unwrap());
            let (node, output) = (node.to_owned(), output.to_owned());
            bench.inputs.push(JobInput { role, node, output, artifact, fields: BTreeMap::new() });
        }
        let path = folder.path().join("questions.toml");
        fs_err::write(&path, QUESTIONS).unwrap();
        let (digest, size) = (Digest::of(QUESTIONS.as_bytes()), QUESTIONS.len() as u64);
        bench.files = vec![JobFile { setting: "questions".into(), name: "questions.toml".into(), path, digest, size }];
        Self { bench, endpoint: FakeEndpoint::start(), _folder: folder }
    }

    fn try_run(&self, judge: &Value) -> Result<Outcome, NodeError> {
        let mut settings = json!({
            "questions": "questions.toml", "max-answer-tokens": 6, "temperature": 1.0, "repeats": 2, "seed": 5,
            "judge": {"endpoint": self.endpoint.address, "model": "judge"},
        });
        for (key, value) in judge.as_object().unwrap() {
            settings["judge"][key] = value.clone();
        }
        self.bench.run(Family::Eval, "compare", &settings)
    }

    #[track_caller]
    fn run(&self, habits: &[Habit]) -> Outcome {
        self.endpoint.habit(RUBRIC, habits);
        self.try_run(&json!({})).unwrap()
    }

    fn lines(&self, outcome: &Outcome) -> Vec<Value> {
        let Artifact::File(file) = &outcome.outputs["answers"] else { panic!("{outcome:?}") };
        let text = fs_err::read_to_string(self.bench.store.path(file).unwrap()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Returns the two answers that stand in a prompt.
fn answers(prompt: &str) -> [String; 2] {
    let (_, rest) = prompt.split_once("# Answer A\n\n").unwrap();
    let (a, b) = rest.split_once("\n\n# Answer B\n\n").unwrap();
    [a, b].map(|quoted| {
        let lines: Vec<&str> = quoted.lines().collect();
        lines[1..lines.len() - 1].join("\n")
    })
}

/// A judge that always likes the same answer, wherever it stands: the one that comes first in the alphabet.
fn just(prompt: &str) -> String {
    let [a, b] = answers(prompt);
    json!({"verdict": if a < b { "A" } else { "B" }}).to_string()
}

fn verdict(text: &str) -> Habit {
    Habit::Text(json!({"verdict": text}).to_string(), "stop")
}

#[test]
fn an_answer_wins_that_is_liked_in_both_orders_and_nothing_is_asked_twice() {
    let mut project = Project::new();
    project.bench.secrets.insert("KEY".into(), "sk-very-secret-token".into());
    project.endpoint.habit(RUBRIC, &[Habit::Says(just)]);
    let outcome = project.try_run(&json!({"token": "env:KEY"})).unwrap();
    let (mut wins, mut losses, mut ties) = (0, 0, 0);
    for line in project.lines(&outcome) {
        let [base, tuned] = ["base", "tuned"].map(|who| line[who]["answer"].as_str().unwrap().to_owned());
        let (winner, count) = match tuned.cmp(&base) {
            std::cmp::Ordering::Less => ("tuned", &mut wins),
            std::cmp::Ordering::Greater => ("base", &mut losses),
            std::cmp::Ordering::Equal => ("tie", &mut ties),
        };
        *count += 1;
        assert_eq!(line["judge"], winner, "{line}");
    }
    assert_eq!(wins + losses + ties, 4, "two questions, two seeds");
    assert!(wins + losses > 0, "the two models say the same");
    let fields = &outcome.fields;
    assert_eq!((&fields["judge-wins"], &fields["judge-losses"]), (&json!(wins), &json!(losses)));
    assert_eq!(fields["judge"], json!((f64::from(wins) + f64::from(ties) / 2.0) / 4.0));
    let end = |end: &str| fields[&format!("judge{end}")].as_f64().unwrap();
    assert!(end("-low") <= end("") && end("") <= end("-high") && end("-low") < end("-high"), "{fields:?}");
    assert_eq!((&fields["judge-flips"], &fields["judge-unreadable"]), (&json!(0), &json!(0)));
    assert!(!fields.contains_key("pass") && fields.contains_key("similarity"), "{fields:?}");

    let requests = project.endpoint.requests();
    assert_eq!(requests.len(), 2 * (wins + losses) as usize);
    let prompt = |request: &Value| request["messages"][0]["content"].as_str().unwrap().to_owned();
    assert!(requests.iter().any(|request| prompt(request).contains("# Reference\n\n````\na number\n````")));
    assert_eq!((&requests[0]["temperature"], &requests[0]["seed"]), (&json!(0.0), &json!(0)));
    assert_eq!(requests[0]["response_format"]["json_schema"]["schema"]["required"], json!(["verdict"]));
    assert!(project.endpoint.tokens().iter().all(|token| token == "Bearer sk-very-secret-token"));
    assert!(!format!("{outcome:?} {:?}", project.bench.said()).contains("very-secret"));

    assert_eq!(project.try_run(&json!({"token": "env:KEY", "parallel": 1})).unwrap(), outcome);
    assert!(project.endpoint.requests().is_empty());
    project.try_run(&json!({"seed": 1})).unwrap();
    assert_eq!(project.endpoint.requests().len(), requests.len(), "another seed is another question");
}

#[test]
fn a_judge_that_likes_a_place_decides_nothing() {
    let project = Project::new();
    let outcome = project.run(&[verdict("A")]);
    assert_eq!((&outcome.fields["judge"], &outcome.fields["judge-wins"]), (&json!(0.5), &json!(0)));
    assert!(outcome.fields["judge-flips"].as_u64() > Some(0), "{:?}", outcome.fields);
    assert!(project.lines(&outcome).iter().any(|line| line["judge"] == "place"));
}

#[test]
fn what_is_no_verdict_is_counted_and_all_of_it_is_an_error() {
    let project = Project::new();
    let outcome = project.run(&[Habit::Text("A is better".into(), "stop"), verdict("tie")]);
    assert_eq!(outcome.fields["judge-unreadable"], 1);
    let count = outcome.report.iter().find(|count| count.what.starts_with("verdict that cannot be read: ")).unwrap();
    assert_eq!((count.what.ends_with("not the JSON of a verdict alone"), count.count), (true, 1));
    assert!(project.lines(&outcome).iter().any(|line| line["judge"] == "unreadable"));

    let dumb = Project::new();
    dumb.endpoint.habit(RUBRIC, &[Habit::Text("I like both.".into(), "stop")]);
    let error = dumb.try_run(&json!({})).unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::Permanent, Some("eval::no_verdict")));
    assert!(error.message.contains("not the JSON of a verdict alone"), "{}", error.message);
}

#[test]
fn failures_that_pass_are_waited_for_and_others_are_told_without_the_key() {
    let mut project = Project::new();
    let passing = [Habit::Limited, Habit::Status(503, "loading model"), Habit::Status(200, "<html>"), verdict("tie")];
    assert_eq!(project.run(&passing).fields["judge"], 0.5);

    project.bench.secrets.insert("KEY".into(), "sk-very-secret-token".into());
    project.endpoint.habit(RUBRIC, &[Habit::Status(401, "sk-very-secret-token is wrong")]);
    let error = project.try_run(&json!({"token": "env:KEY", "seed": 2})).unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::Permanent, Some("net::refused")));
    assert!(!format!("{error:?} {:?}", project.bench.said()).contains("very-secret"), "{error:?}");

    project.endpoint.habit(RUBRIC, &[Habit::Endless]);
    let error = project.try_run(&json!({"seed": 3, "parallel": 1})).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("net::too_large"), "{error:?}");
}

#[test]
fn wrong_settings_of_a_judge_are_all_told_at_once() {
    let kind = tunesmith::node::find(Family::Eval, "compare").unwrap();
    let judge = json!({"endpoint": "localhost", "model": "", "token": "sk-literal", "prompt": "{a}", "temperature": 3});
    let problems = kind.canonical(&json!({"judge": judge, "repeats": 2})).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    let of_judge = ["endpoint", "model", "token", "temperature", "prompt", "prompt"].map(|key| format!("judge.{key}"));
    assert_eq!(paths, [of_judge.as_slice(), &["repeats".into(), "judge".into()]].concat());
    assert!(problems.iter().all(|problem| problem.help.is_some() && !problem.message.contains("literal")));
    assert_eq!(kind.outside_key().len(), 4);
}

#[test]
fn a_judge_is_held_back_offline_unless_its_verdicts_are_kept() {
    let mut project = Project::new();
    project.endpoint.habit(RUBRIC, &[verdict("A")]);
    project.bench.offline = true;
    assert_eq!(project.try_run(&json!({})).unwrap_err().code.as_deref(), Some("endpoint::offline"));
    assert!(project.endpoint.requests().is_empty());
    project.bench.offline = false;
    let outcome = project.try_run(&json!({})).unwrap();
    assert!(!project.endpoint.requests().is_empty());
    project.bench.offline = true;
    assert_eq!(project.try_run(&json!({})).unwrap(), outcome);
    assert!(project.endpoint.requests().is_empty());
}

#[test]
fn what_is_wrong_with_the_form_of_a_judge_is_told_at_its_place() {
    let kind = tunesmith::node::find(Family::Eval, "compare").unwrap();
    let said = |settings: Value| {
        let problems = kind.canonical(&settings).unwrap_err();
        problems.into_iter().map(|problem| (problem.path.join("."), problem.message)).collect::<Vec<_>>()
    };
    let judge = json!({"endpoint": "http://127.0.0.1:1/v1", "modell": "judge", "temperature": "1"});
    let expected = [
        ("seed", "`seed` must be a whole number from 0, not the string \"5\""),
        ("judge.modell", "unknown setting `modell`"),
        ("judge.temperature", "`temperature` must be a number, not the string \"1\""),
    ];
    let expected = expected.map(|(path, message)| (path.to_owned(), message.to_owned()));
    assert_eq!(said(json!({"questions": "q.toml", "judge": judge, "seed": "5"})), expected);
    let whole = said(json!({"questions": "q.toml", "judge": 5}));
    assert_eq!(whole, [("judge".to_owned(), "`judge` must be a table, not the number `5`".to_owned())]);
}

#[test]
fn a_real_llama_cpp_server_judges() {
    let Some(server) = LlamaServer::start() else {
        println!("{ABSENT}");
        return;
    };
    let project = Project::new();
    let judge = json!({"endpoint": server.address, "model": "smollm2", "max-tokens": 64});
    let outcome = project.try_run(&judge).unwrap();
    println!("{:?} {:?}", outcome.fields, outcome.report);
    assert_eq!(outcome.fields["judge-unreadable"], 0, "the schema holds the model to a verdict");
    assert_eq!(project.try_run(&judge).unwrap(), outcome);
    assert!(project.bench.said().last().unwrap().starts_with("0 of "));
}
