//! `tunesmith doctor`: whether this machine has what the project needs, and what to do where it has not.
//!
//! It opens no socket, but for `--ollama`, and shows no secret. `--json` writes one object `doctor` a check: `check`,
//! `state` (`good`, `optional`: missing but not needed, `bad`), `found`, `help`. Exit code 1 when something is bad.

#[cfg(feature = "llama")]
mod ollama;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use console::Style;
use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{CliError, Context, Execute, Exit, Project, machine};
use crate::node::Secrets as _;
use crate::node::settings::environment_name;
use crate::store::{Store, free_space};

/// A build of a small model needs about this much room.
const LEAST_SPACE: u64 = 1 << 30;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// Ask an Ollama server how it asks the models that were built, and compare; by default the server of each node, of
    /// `OLLAMA_HOST`, or of this machine
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    ollama: Option<String>,
    /// What the model is called on the server, where no node says it; `NODE=NAME` where several models are built
    #[arg(long, value_name = "NAME", requires = "ollama")]
    ollama_model: Vec<String>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Good,
    Optional,
    Bad,
}

/// One line.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    found: String,
    help: Option<String>,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Good, found: found.into(), help: None }
    }

    fn bad(check: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { check, state: State::Bad, found: found.into(), help: Some(help.into()) }
    }

    fn optional(check: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { state: State::Optional, ..Self::bad(check, found, help) }
    }
}

impl Execute for Doctor {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let mut findings = vec![program(), processor(), memory(), git()];
        match Project::load(context) {
            Ok(project) => findings.extend(of_project(&project, context)),
            Err(CliError::NoManifest { .. }) => findings.push(Finding::optional(
                "manifest",
                "none here or in a folder above",
                "`tunesmith init` writes one; `-f FILE` names one elsewhere",
            )),
            Err(error) => {
                findings.push(Finding::bad("manifest", wrong(&error), "`tunesmith check` shows what is wrong"));
            }
        }
        if let Some(url) = &self.ollama {
            findings.extend(of_ollama(context, url, &self.ollama_model));
        }
        let is_well = findings.iter().all(|finding| finding.state != State::Bad);
        for finding in &findings {
            show(context, finding);
        }
        Ok(if is_well { Exit::Done } else { Exit::Failed })
    }
}

#[cfg(feature = "llama")]
fn of_ollama(context: &mut Context<'_>, url: &str, names: &[String]) -> Vec<Finding> {
    let failed = |error: CliError| {
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
        Finding::bad("ollama", wrong(&error), help.unwrap_or_else(|| "`tunesmith check` shows what is wrong".into()))
    };
    ollama::findings(context, url, names).unwrap_or_else(|error| vec![failed(error)])
}

#[cfg(not(feature = "llama"))]
fn of_ollama(_: &mut Context<'_>, _: &str, _: &[String]) -> Vec<Finding> {
    let absent = crate::llama::Absent { wanted: "doctor --ollama" };
    vec![Finding::bad("ollama", absent.to_string(), "build it with its default features: `cargo build --release`")]
}

fn wrong(error: &CliError) -> String {
    match error {
        CliError::Manifest(problems) => problems.to_string(),
        other => other.to_string(),
    }
}

fn show(context: &mut Context<'_>, finding: &Finding) {
    let (word, style) = match finding.state {
        State::Good => ("good", Style::new().green()),
        State::Optional => ("note", Style::new().yellow()),
        State::Bad => ("bad ", Style::new().red()),
    };
    let word = style.force_styling(context.output.has_colour()).apply_to(word);
    let output = &mut *context.output;
    output.line(format_args!("{word}  {}: {}", finding.check, finding.found));
    if let Some(help) = &finding.help {
        output.line(format_args!("      {help}"));
    }
    output.json(&json!({ "doctor": finding }));
}

fn program() -> Finding {
    let features = [("train", cfg!(feature = "train")), ("llama", cfg!(feature = "llama"))];
    let with: Vec<&str> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let version = env!("CARGO_PKG_VERSION");
    match with.len() {
        2 => Finding::good("tunesmith", format!("{version} with {}", with.join(", "))),
        _ => Finding::optional(
            "tunesmith",
            format!("{version}, built without {}", if with.is_empty() { "train, llama" } else { "llama" }),
            "training needs the feature `train`, quantising and answers need `llama`: build it with default features",
        ),
    }
}

fn processor() -> Finding {
    Finding::good("processor", format!("{} threads, {}", machine::processors(), machine::instruction_set()))
}

fn memory() -> Finding {
    match machine::memory() {
        Some((all, available)) => {
            Finding::good("memory", format!("{}, of which {} are free", HumanBytes(all), HumanBytes(available)))
        }
        None => Finding::optional("memory", "this system does not say", "set `memory` in `[run]` to limit a node"),
    }
}

fn git() -> Finding {
    match said("git", &["--version"]) {
        Some(version) => Finding::good("git", version),
        None => Finding::optional(
            "git",
            "not found",
            "install git: `tunesmith init` reads the repository, and the lock belongs in it",
        ),
    }
}

fn of_project(project: &Project, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = vec![Finding::good("manifest", format!("{} nodes", project.graph.nodes().len()))];
    findings.extend(store(&project.store()));
    findings.extend(project.shared_store().map(|folder| shared(&folder)));
    if needs_pip(project) {
        findings.push(pip());
    }
    findings.extend(secrets(project).into_iter().map(|name| secret(&name, context)));
    findings
}

/// Looks at the store, or at the folder that it will be made in.
fn store(root: &Path) -> Vec<Finding> {
    let folder = root.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let mut findings = Vec::new();
    if root.exists()
        && let Err(error) = Store::open(root, None)
    {
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string()).unwrap_or_default();
        findings.push(Finding::bad("store", error.to_string(), help));
        return findings;
    }
    findings.push(match is_writable(folder) {
        Ok(()) => Finding::good("store", format!("`{}` can be written", root.display())),
        Err(error) => Finding::bad(
            "store",
            format!("`{}` cannot be written: {error}", folder.display()),
            "give yourself the right to write there, or name another folder by `dir` in `[cache]`",
        ),
    });
    findings.push(match free_space(folder) {
        Ok(space) if space < LEAST_SPACE => Finding::bad(
            "disk",
            format!("{} are free", HumanBytes(space)),
            "make room, such as by `tunesmith cache gc`, or name another folder by `dir` in `[cache]`",
        ),
        Ok(space) => Finding::good("disk", format!("{} are free", HumanBytes(space))),
        Err(error) => Finding::optional("disk", format!("the file system does not say: {error}"), "look with `df`"),
    });
    findings
}

fn shared(folder: &Path) -> Finding {
    let shown = folder.display();
    if !folder.is_dir() {
        let help = "mount it, or take `remote` out of `[cache]`";
        return Finding::bad("shared folder", format!("`{shown}` is not there"), help);
    }
    match is_writable(folder) {
        Ok(()) => Finding::good("shared folder", format!("`{shown}` can be written")),
        Err(error) => Finding::bad(
            "shared folder",
            format!("`{shown}` cannot be written: {error}"),
            "ask its owner for the right to write; results are written back to it",
        ),
    }
}

/// Tries to make a file, which is dropped at once.
fn is_writable(folder: &Path) -> std::io::Result<()> {
    tempfile::Builder::new().prefix(".tunesmith-").tempfile_in(folder).map(drop)
}

fn needs_pip(project: &Project) -> bool {
    let base = |node: &crate::graph::Node| node.settings.get("base").and_then(Value::as_str).map(str::to_owned);
    project.graph.nodes().iter().filter_map(base).any(|base| base.starts_with("pypi:"))
}

fn pip() -> Finding {
    match said("python3", &["-m", "pip", "--version"]) {
        Some(version) => Finding::good("pip", version.split(" from ").next().unwrap_or_default()),
        None => Finding::bad(
            "pip",
            "`python3 -m pip` does not run",
            "the base model comes from the Python Package Index: install python3 and python3-pip",
        ),
    }
}

/// Returns the names of the variables that settings refer to.
fn secrets(project: &Project) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    project.graph.nodes().iter().for_each(|node| collect(&node.settings, &mut names));
    names
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => names.extend(environment_name(text).map(str::to_owned)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(map) => map.values().for_each(|item| collect(item, names)),
        _ => {}
    }
}

fn secret(name: &str, context: &Context<'_>) -> Finding {
    match context.surroundings.environment.environment(name) {
        Some(_) => Finding::good("secret", format!("`{name}` is set")),
        None => Finding::bad("secret", format!("`{name}` is not set"), format!("set it: `export {name}=…`")),
    }
}

/// Returns the first line that a program prints when it runs well.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::testing::Space;

    const WITH_TOKEN: &str = "schema = 1\n\n[source.issues]\ntype = \"github-issues\"\nrepos = [\"a/b\"]\n\
                              token = \"env:TUNESMITH_TEST_TOKEN\"\n";

    #[test]
    fn a_project_that_has_all_it_needs_is_well() {
        let space = Space::new();
        let said = space.done(&["doctor"]);
        assert!(said.out.contains("manifest: 3 nodes\n"), "{}", said.out);
        assert!(!space.path().join("cache").exists(), "a check makes no store");
        let checks: Vec<_> = space.done(&["doctor", "--json"]).objects("doctor");
        assert!(checks.iter().any(|check| check["check"] == json!("disk") && check["state"] == json!("good")));
    }

    #[test]
    fn a_secret_that_is_not_set_is_bad_and_one_that_is_set_is_not_shown() {
        let space = Space::new();
        space.write("pipeline.toml", WITH_TOKEN);
        let said = space.run(&["doctor"]);
        assert_eq!(said.exit, Exit::Failed);
        assert!(said.out.contains("`TUNESMITH_TEST_TOKEN` is not set\n      set it: "), "{}", said.out);
        let space = Space::new().with_variables(&[("TUNESMITH_TEST_TOKEN", "hunter2")]);
        space.write("pipeline.toml", WITH_TOKEN);
        let said = space.done(&["doctor"]);
        assert!(said.out.contains("`TUNESMITH_TEST_TOKEN` is set") && !said.out.contains("hunter2"), "{}", said.out);
    }

    #[test]
    fn a_missing_shared_folder_and_a_wrong_manifest_are_bad() {
        let space = Space::new();
        space.edit("pipeline.toml", "schema = 1\n", "schema = 1\n[cache]\nremote = \"/nowhere/at/all\"\n");
        let said = space.run(&["doctor"]);
        assert_eq!(said.exit, Exit::Failed);
        assert!(said.out.contains("`/nowhere/at/all` is not there"), "{}", said.out);
        space.write("pipeline.toml", "schema = 1\nnonsense = 2\n");
        let said = space.run(&["doctor"]);
        assert_eq!(said.exit, Exit::Failed);
        assert!(said.out.contains("`tunesmith check` shows what is wrong"), "{}", said.out);
    }
}
