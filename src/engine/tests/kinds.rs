//! Kinds that do next to nothing, note each run, and misbehave when a control file asks for it.
//!
//! Beside the store lie `runs.log`, one line a run, and `control/NODE` with a word for the node of that name. Neither is
//! an input, so neither shapes a key.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::node::{
    Content, Cost, Count, Determinism, FailureClass, Family, FileInput, Kind, KindInfo, NodeError, Outcome, OutputInfo,
    Rehearsal, Run, SettingProblem, Weight,
};
use crate::store::Artifact;

/// All kinds of the tests.
pub(super) const KINDS: &[&dyn Kind] = &[
    &TestKind { info: &TEXT, role: Part::Text },
    &TestKind { info: &FEED, role: Part::Feed },
    &TestKind { info: &JOIN, role: Part::Join },
    &TestKind { info: &VARY, role: Part::Join },
    &TestKind { info: &BREW, role: Part::Join },
    &TestKind { info: &PUSH, role: Part::Push },
];

struct TestKind {
    info: &'static KindInfo,
    role: Part,
}

enum Part {
    /// A local file without its trailing white space.
    Text,
    /// A remote thing: the file `upstream/NAME` beside the store.
    Feed,
    /// The texts of its inputs and a suffix, maybe cut; or a folder of them.
    Join,
    /// An effect.
    Push,
}

const FILE: &[OutputInfo] = &[OutputInfo { name: "text", content: Content::Files }];

const LIGHT: KindInfo = KindInfo {
    family: Family::Filter,
    name: "join",
    version: 1,
    summary: "of the tests",
    inputs: &[Content::Files],
    outputs: FILE,
    fields: &["length"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

static JOIN: KindInfo = LIGHT;
static TEXT: KindInfo = KindInfo { family: Family::Source, name: "text", inputs: &[], ..LIGHT };
static FEED: KindInfo = KindInfo { family: Family::Source, name: "feed", inputs: &[], pinned: true, ..LIGHT };
static VARY: KindInfo = KindInfo { name: "vary", determinism: Determinism::Varies, ..LIGHT };
static BREW: KindInfo = KindInfo { family: Family::Train, name: "brew", weight: Weight::Heavy, ..LIGHT };
static PUSH: KindInfo = KindInfo { family: Family::Export, name: "push", outputs: &[], effect: true, ..LIGHT };

/// A failure that a control file asked for.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{0}` was asked for")]
#[diagnostic(code(test::asked), help("take the control file away"))]
struct Asked(String);

impl Kind for TestKind {
    fn info(&self) -> &'static KindInfo {
        self.info
    }

    fn schema(&self) -> Value {
        json!({"type": "object"})
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let mut canonical = json!({"path": "", "note": "", "suffix": "", "cut": 1000, "folder": false, "axis": ""});
        for (key, value) in settings.as_object().unwrap() {
            assert!(canonical.get(key).is_some(), "`{key}`");
            canonical[key] = value.clone();
        }
        Ok(canonical)
    }

    fn outside_key(&self) -> &'static [&'static str] {
        match self.role {
            // Another name of the same thing is another thing, for a feed.
            Part::Feed => &["note"],
            _ => &["note", "path"],
        }
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let path = PathBuf::from(settings["path"].as_str().unwrap());
        let file = FileInput { setting: "path", path, globs: None, optional: false };
        if matches!(self.role, Part::Text) { vec![file] } else { Vec::new() }
    }

    /// As long as the control file `NODE-seconds` says, if it says a number.
    fn cost(&self, run: &Run<'_>) -> Result<Option<Cost>, NodeError> {
        let seconds = fs_err::read_to_string(beside(run).join(format!("control/{}-seconds", run.job.node))).ok();
        let seconds = seconds.map(|seconds| seconds.parse().expect("a number of seconds"));
        Ok(seconds.map(|seconds| Cost { seconds, memory: 0, note: "of the tests".into() }))
    }

    fn rehearsal(&self) -> Rehearsal {
        match self.info.name {
            "brew" => Rehearsal::Opens,
            "join" | "push" => Rehearsal::Follows,
            _ => Rehearsal::None,
        }
    }

    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        note(run, &format!("{} rehearsed on {}", run.job.node, run.inputs().count()));
        self.go(run)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        note(run, &run.job.node);
        self.go(run)
    }
}

impl TestKind {
    fn go(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let beside = beside(run);
        let asked = fs_err::read_to_string(beside.join("control").join(&run.job.node)).unwrap_or_default();
        let asked = obey(run, asked.trim())?;
        let settings = &run.job.settings;
        let mut text = match self.role {
            Part::Text => {
                fs_err::read_to_string(&run.files("path").next().unwrap().path).unwrap().trim_end().to_owned()
            }
            Part::Feed => {
                if let Some(previous) = run.job.previous.get("text") {
                    note(run, &format!("{} after {}", run.job.node, read(run, previous)?));
                }
                fs_err::read_to_string(beside.join("upstream").join(settings["path"].as_str().unwrap())).unwrap()
            }
            Part::Join | Part::Push => {
                let texts = run.inputs().map(|input| read(run, &input.artifact)).collect::<Result<Vec<_>, _>>()?;
                texts.concat()
            }
        };
        text.push_str(settings["suffix"].as_str().unwrap());
        text.truncate(settings["cut"].as_u64().unwrap() as usize);
        if asked == "vary" {
            text.push_str(&fs_err::read_to_string(beside.join("runs.log")).unwrap().lines().count().to_string());
        }
        note(run, &format!("{} ended", run.job.node));
        let name = if asked == "wrong-outputs" { "other" } else { "text" };
        let artifact = if settings["folder"] == true {
            let part =
                |part: &str| Ok(((*part).to_owned(), run.store.put_file_bytes(format!("{part}={text}").as_bytes())?));
            let files = ["a.txt", "deep/b.txt"].into_iter().map(part);
            Artifact::Folder { files: files.collect::<Result<_, crate::store::StoreError>>()? }
        } else {
            Artifact::File(run.store.put_file_bytes(text.as_bytes())?)
        };
        let has_outputs = !self.info.outputs.is_empty();
        Ok(Outcome {
            outputs: has_outputs.then(|| (name.to_owned(), artifact)).into_iter().collect(),
            fields: BTreeMap::from([("length".to_owned(), json!(text.len()))]),
            report: vec![Count { what: "bytes".into(), count: text.len() as u64 }],
        })
    }
}

/// Returns the folder of the tests: that of the tree.
fn beside<'r>(run: &'r Run<'_>) -> &'r Path {
    run.job.store.ancestors().find(|folder| folder.join("tree").is_dir()).unwrap()
}

/// Does what the control file asks for, as far as it ends the run.
fn obey<'a>(run: &Run<'_>, asked: &'a str) -> Result<&'a str, NodeError> {
    let beside = beside(run);
    match asked {
        "fail" => return Err(Asked(asked.to_owned()).into()),
        "panic" => panic!("a kind of the tests panics"),
        // Until it is cancelled.
        "wait" => loop {
            run.check_cancelled()?;
            std::thread::sleep(std::time::Duration::from_millis(5));
        },
        // Until the file is taken away.
        "hold" => {
            while beside.join("control").join(&run.job.node).exists() {
                run.check_cancelled()?;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        // Only the first time.
        "busy" => {
            fs_err::remove_file(beside.join("control").join(&run.job.node)).unwrap();
            return Err(NodeError::new(FailureClass::Transient, &Asked(asked.to_owned())));
        }
        "edit" => {
            fs_err::write(&run.files("path").next().unwrap().path, "edited while it ran").unwrap();
        }
        _ => {}
    }
    Ok(asked)
}

/// Reads a text, or the texts of a folder.
fn read(run: &Run<'_>, artifact: &Artifact) -> Result<String, NodeError> {
    let files = match artifact {
        Artifact::File(file) => vec![*file],
        Artifact::Folder { files } => files.values().copied().collect(),
        Artifact::Records(_) => return Err(run.bad_job("no text".into())),
    };
    let texts = files.iter().map(|file| Ok(fs_err::read_to_string(run.store.path(file)?).unwrap()));
    Ok(texts.collect::<Result<Vec<String>, NodeError>>()?.concat())
}

fn note(run: &Run<'_>, line: &str) {
    let path = beside(run).join("runs.log");
    let mut log = fs_err::OpenOptions::new().create(true).append(true).open(path).unwrap();
    log.write_all(format!("{line}\n").as_bytes()).unwrap();
}
