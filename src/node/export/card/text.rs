//! The text of a card.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use miette::Diagnostic;
use serde_json::{Map, Value};

use super::CardSettings;
use crate::model::lora::ADAPTER_CONFIG;

/// A file of the model that cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum CardError {
    /// Not in the form that it has to have.
    #[error("`{file}` is no JSON that can be used")]
    #[diagnostic(code(export::bad_json), help("restore the file"))]
    BadJson {
        file: &'static str,
        #[source]
        cause: serde_json::Error,
    },
    /// Cannot be read.
    #[error(transparent)]
    #[diagnostic(code(export::io), help("check that the file can be read"))]
    Io(#[from] std::io::Error),
}

/// What a card says without being told.
pub(crate) struct Facts {
    /// How the model was made, as a paragraph.
    pub(crate) made: String,
    /// The library that loads it, by its name on the hub.
    pub(crate) library: Option<&'static str>,
    /// Tags on the hub before those of the settings.
    pub(crate) tags: Vec<&'static str>,
    /// The base's licence, where its files say it.
    pub(crate) license: Option<String>,
    /// What is known of the making: names and values.
    pub(crate) rows: Vec<(String, String)>,
    /// Further chapters.
    pub(crate) more: String,
    /// How it is used.
    pub(crate) usage: String,
}

/// Returns the text of a card.
pub(crate) fn card(settings: &CardSettings, facts: Facts) -> String {
    let mut text = metadata(settings, &facts);
    let mut line = |written: String| {
        text.push_str(&written);
        text.push('\n');
    };
    line(format!("\n# {}\n", settings.title));
    if !settings.description.is_empty() {
        line(format!("{}\n", settings.description.trim_end()));
    }
    line(format!("## How it was made\n\n{}\n", facts.made));
    let own = |table: &BTreeMap<String, String>| {
        table.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    let rows = [facts.rows, own(&settings.training)].concat();
    if !rows.is_empty() {
        line(table(&rows));
    }
    if !settings.evaluation.is_empty() {
        line(format!("## Evaluation\n\n{}", table(&own(&settings.evaluation))));
    }
    line(format!("{}## Use\n\n{}", facts.more, facts.usage));
    line(match (&settings.license, &facts.license) {
        (Some(license), _) => format!("Licence: {license}. That of the base model holds as well."),
        (None, Some(license)) => format!("The licence of the base model holds: {license}."),
        (None, None) => "The licence of the base model holds.".to_owned(),
    });
    line("Made with tunesmith.".to_owned());
    text
}

/// Returns the base model as a card names it.
pub(crate) fn base(settings: &CardSettings) -> String {
    let linked = |base: &String| format!("[{base}](https://huggingface.co/{base})");
    settings.base_model.as_ref().map_or_else(|| "its base model".to_owned(), linked)
}

/// Returns the metadata that the hub reads, as YAML.
fn metadata(settings: &CardSettings, facts: &Facts) -> String {
    let mut text = "---\n".to_owned();
    let mut put = |line: String| writeln!(text, "{line}").unwrap_or_default();
    if let Some(base) = &settings.base_model {
        put(format!("base_model: {}", quoted(base)));
        put("base_model_relation: finetune".into());
    }
    if let Some(license) = settings.license.as_ref().or(facts.license.as_ref()) {
        put(format!("license: {}", quoted(license)));
    }
    if !settings.language.is_empty() {
        put("language:".into());
        settings.language.iter().for_each(|language| put(format!("- {}", quoted(language))));
    }
    if let Some(library) = facts.library {
        put(format!("library_name: {library}"));
    }
    put("pipeline_tag: text-generation".into());
    put("tags:".into());
    let own: Vec<String> = facts.tags.iter().chain(&["tunesmith"]).map(|tag| (*tag).to_owned()).collect();
    for tag in own.iter().chain(settings.tags.iter().filter(|tag| !own.contains(tag))) {
        put(format!("- {}", quoted(tag)));
    }
    text.push_str("---\n");
    text
}

/// Returns a text as YAML has it in double quotes, which JSON's are.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Reads the settings of an adapter in PEFT's form.
pub(crate) fn adapter_config(files: &BTreeMap<String, PathBuf>) -> Result<Map<String, Value>, CardError> {
    let absent = || std::io::Error::new(std::io::ErrorKind::NotFound, ADAPTER_CONFIG);
    let bytes = fs_err::read(files.get(ADAPTER_CONFIG).ok_or_else(absent)?)?;
    serde_json::from_slice(&bytes).map_err(|cause| CardError::BadJson { file: ADAPTER_CONFIG, cause })
}

/// Returns what an adapter's settings say of the training.
pub(crate) fn lora(config: &Map<String, Value>) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut put = |name: &str, value: String| rows.push((name.to_owned(), value));
    if let Some(rank) = config.get("r") {
        put("LoRA rank", rank.to_string());
    }
    if let Some(alpha) = config.get("lora_alpha") {
        put("LoRA alpha", alpha.to_string());
    }
    if let Some(dropout) = config.get("lora_dropout").and_then(Value::as_f64).filter(|dropout| *dropout > 0.0) {
        put("LoRA dropout", dropout.to_string());
    }
    for (key, name) in [("use_rslora", "rsLoRA"), ("use_dora", "DoRA")] {
        if config.get(key) == Some(&Value::Bool(true)) {
            put(name, "yes".into());
        }
    }
    match config.get("target_modules") {
        Some(Value::Array(modules)) => {
            let mut modules: Vec<&str> = modules.iter().filter_map(Value::as_str).collect();
            modules.sort_unstable();
            put("Trained modules", modules.join(", "));
        }
        Some(Value::String(pattern)) => put("Trained modules", format!("`{pattern}`")),
        _ => {}
    }
    rows
}

/// Returns a Markdown table of two columns.
fn table(rows: &[(String, String)]) -> String {
    let rows: Vec<[&str; 2]> = rows.iter().map(|(name, value)| [name.as_str(), value.as_str()]).collect();
    table_of([" ", " "], &rows)
}

/// Returns a Markdown table with a head.
pub(crate) fn table_of<const N: usize>(head: [&str; N], rows: &[[&str; N]]) -> String {
    let cell = |text: &&str| text.replace(['\n', '\r'], " ").replace('|', "\\|");
    let line = |cells: &[&str; N]| format!("| {} |\n", cells.iter().map(cell).collect::<Vec<_>>().join(" | "));
    let rule = format!("{}|\n", "| --- ".repeat(N));
    let head =
        if head.iter().all(|name| name.trim().is_empty()) { format!("{}|\n", "| ".repeat(N)) } else { line(&head) };
    head + &rule + &rows.iter().map(line).collect::<String>()
}
