//! The model card: the hub's metadata, and what the model was made of. It says only what is known: no times, no machine.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Settings;
use crate::model::convert::Merged;

/// What a card says without being told.
pub(super) struct Facts<'a> {
    /// The adapter's settings in PEFT's form; nothing where all weights were trained.
    pub(super) lora: Option<&'a Map<String, Value>>,
    pub(super) merged: Merged,
    /// How all weights are stored, where that was asked for.
    pub(super) dtype: Option<&'a str>,
    /// The type of blocks that most of the base's weights were decoded from.
    pub(super) decoded: Option<&'a str>,
}

/// Returns the text of the card.
pub(super) fn card(settings: &Settings, facts: &Facts<'_>) -> String {
    let mut text = metadata(settings, facts.lora.is_some());
    let mut line = |written: String| {
        text.push_str(&written);
        text.push('\n');
    };
    line(format!("\n# {}\n", settings.title));
    if !settings.description.is_empty() {
        line(format!("{}\n", settings.description.trim_end()));
    }
    line("## How it was made\n".to_owned());
    let base = settings
        .base_model
        .as_ref()
        .map_or_else(|| "its base model".to_owned(), |base| format!("[{base}](https://huggingface.co/{base})"));
    line(match facts.lora {
        Some(_) => format!(
            "A LoRA adapter was trained beside {base} and then merged into it: {} of {} tensors changed.\n",
            facts.merged.changed, facts.merged.tensors
        ),
        None => format!("All weights of {base} were trained.\n"),
    });
    let mut rows = vec![("Parameters".to_owned(), facts.merged.parameters.to_string())];
    if let Some(dtype) = facts.dtype {
        rows.push(("Stored as".into(), dtype.into()));
    }
    if let Some(blocks) = facts.decoded {
        rows.push(("The base's weights".into(), format!("decoded from {blocks}")));
    }
    rows.extend(facts.lora.into_iter().flat_map(lora));
    rows.extend(settings.training.iter().map(|(name, value)| (name.clone(), value.clone())));
    line(table(&rows));
    if !settings.evaluation.is_empty() {
        line("## Evaluation\n".to_owned());
        let rows = settings.evaluation.iter().map(|(name, value)| (name.clone(), value.clone()));
        line(table(&rows.collect::<Vec<_>>()));
    }
    line("## Use\n".to_owned());
    line("```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n".to_owned());
    line("tokenizer = AutoTokenizer.from_pretrained(\"PATH\")".to_owned());
    line("model = AutoModelForCausalLM.from_pretrained(\"PATH\")\n```\n".to_owned());
    line(match &settings.license {
        Some(license) => format!("Licence: {license}. That of the base model holds as well."),
        None => "The licence of the base model holds.".to_owned(),
    });
    line("Made with tunesmith.".to_owned());
    text
}

/// Returns the metadata that the hub reads, as YAML.
fn metadata(settings: &Settings, is_lora: bool) -> String {
    let mut text = "---\n".to_owned();
    let mut put = |line: String| writeln!(text, "{line}").unwrap_or_default();
    if let Some(base) = &settings.base_model {
        put(format!("base_model: {}", quoted(base)));
        put("base_model_relation: finetune".into());
    }
    if let Some(license) = &settings.license {
        put(format!("license: {}", quoted(license)));
    }
    if !settings.language.is_empty() {
        put("language:".into());
        settings.language.iter().for_each(|language| put(format!("- {}", quoted(language))));
    }
    put("library_name: transformers".into());
    put("pipeline_tag: text-generation".into());
    put("tags:".into());
    let own: Vec<String> = is_lora.then(|| "lora".to_owned()).into_iter().chain(["tunesmith".to_owned()]).collect();
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

/// Returns what an adapter's settings say of the training.
fn lora(config: &Map<String, Value>) -> Vec<(String, String)> {
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
    let cell = |text: &str| text.replace(['\n', '\r'], " ").replace('|', "\\|");
    let mut text = "| | |\n| --- | --- |\n".to_owned();
    for (name, value) in rows {
        writeln!(text, "| {} | {} |", cell(name), cell(value)).unwrap_or_default();
    }
    text
}
