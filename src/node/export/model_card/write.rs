//! What a card says of the files that it is beside.

use std::collections::BTreeMap;

use miette::Diagnostic;

use crate::model::gguf::{FileType, Header, Value};
use crate::model::lora::ADAPTER_CONFIG;
use crate::node::export::card::{self, CardSettings, Facts, README};
use crate::node::export::sha256;
use crate::node::{NodeError, Outcome, Run};
use crate::store::{Artifact, FileRef};

/// How GGUFs are run.
const GGUF_USAGE: &str = "```sh\nllama-cli -m FILE.gguf\n```\n\nThe chat template is in the file.\n";

/// How an adapter is loaded.
const ADAPTER_USAGE: &str = "```python\n\
from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer\n\n\
model = AutoPeftModelForCausalLM.from_pretrained(\"PATH\")\n\
tokenizer = AutoTokenizer.from_pretrained(\"BASE\")\n```\n";

/// Nothing that a card could be of.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("a model card is of GGUFs or of an adapter, `from` names neither")]
#[diagnostic(
    code(export::nothing_to_describe),
    help(
        "name them: `from = [\"gguf\", \"expert\"]`; of a folder of safetensors, `export.safetensors` makes the card"
    )
)]
struct Nothing;

/// A GGUF that a card is of.
struct Described {
    header: Header,
    file: FileRef,
    sha256: String,
}

/// Writes the card.
pub(super) fn write(run: &Run<'_>, settings: &CardSettings) -> Result<Outcome, NodeError> {
    let (mut ggufs, mut lora, mut is_whole) = (Vec::new(), None, false);
    for input in run.inputs() {
        match &input.artifact {
            Artifact::File(file) => {
                let header = Header::read(&run.store.path(file)?)?;
                ggufs.push(Described { header, file: *file, sha256: sha256(run, file)? });
            }
            Artifact::Folder { files } if files.contains_key(ADAPTER_CONFIG) => {
                lora = Some(card::adapter_config(&run.store.paths(files)?)?);
            }
            _ => is_whole = true,
        }
    }
    if ggufs.is_empty() && lora.is_none() {
        return Err(Nothing.into());
    }
    let base = card::base(settings);
    let trained = match (&lora, is_whole) {
        (Some(_), _) => format!("A LoRA adapter was trained beside {base}"),
        (None, true) => format!("All weights of {base} were trained"),
        (None, false) => format!("It was made from {base}"),
    };
    let mut rows = ggufs.first().map(|first| of_header(&first.header)).unwrap_or_default();
    rows.extend(lora.iter().flat_map(card::lora));
    let is_adapter = ggufs.is_empty();
    let facts = Facts {
        made: match (is_adapter, &lora) {
            (true, _) => format!("{trained}. It changes nothing by itself: it is loaded with its base."),
            (false, Some(_)) => format!("{trained} and then merged into it; the whole was converted to GGUF."),
            (false, None) => format!("{trained}, and converted to GGUF."),
        },
        library: is_adapter.then_some("peft"),
        tags: lora.iter().map(|_| "lora").chain((!is_adapter).then_some("gguf")).collect(),
        license: ggufs.first().and_then(|first| first.header.text("general.license")).map(str::to_owned),
        rows,
        more: if is_adapter { String::new() } else { format!("## Files\n\n{}\n", files(&ggufs)) },
        usage: if is_adapter { ADAPTER_USAGE } else { GGUF_USAGE }.to_owned(),
    };
    let card = run.store.put_file_bytes(card::card(settings, facts).as_bytes())?;
    let files = BTreeMap::from([(README.to_owned(), card)]);
    Ok(Outcome {
        outputs: BTreeMap::from([("card".to_owned(), Artifact::Folder { files })]),
        fields: BTreeMap::new(),
        report: Vec::new(),
    })
}

/// Returns what all GGUFs of a model have in common.
fn of_header(header: &Header) -> Vec<(String, String)> {
    let mut rows = vec![("Parameters".to_owned(), header.parameters().to_string())];
    let architecture = header.text("general.architecture").unwrap_or_default();
    if !architecture.is_empty() {
        rows.push(("Architecture".into(), architecture.into()));
    }
    if let Some(length) = header.get(&format!("{architecture}.context_length")).and_then(Value::as_u64) {
        rows.push(("Context".into(), format!("{length} tokens")));
    }
    rows
}

/// Returns a table of the files: how each is quantised, and how it is known.
fn files(ggufs: &[Described]) -> String {
    let rows: Vec<[String; 4]> = ggufs
        .iter()
        .map(|gguf| {
            let id = gguf.header.get("general.file_type").and_then(Value::as_u64);
            let id = id.and_then(|id| u32::try_from(id).ok()).and_then(FileType::from_id);
            let bits = gguf.file.size as f64 * 8.0 / gguf.header.parameters().max(1) as f64;
            [
                id.map_or("?", FileType::name).to_owned(),
                format!("{bits:.2}"),
                gguf.file.size.to_string(),
                format!("`{}`", gguf.sha256),
            ]
        })
        .collect();
    let rows: Vec<[&str; 4]> = rows.iter().map(|row| row.each_ref().map(String::as_str)).collect();
    card::table_of(["Quantisation", "Bits a weight", "Bytes", "SHA-256"], &rows)
}
