//! Each reader of bytes that others wrote, as a function that takes anything and must not panic, hang or take much
//! memory. The fuzz targets call them, and a test reads the corpora with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tunesmith::engine::{KindCatalog, Lockfile};
use tunesmith::graph::Graph;
use tunesmith::manifest::{Manifest, Overlays, Problems};
use tunesmith::model::lora::PeftAdapter;
use tunesmith::model::weights::{Base, WeightFiles};
use tunesmith::node::export::{try_edit, try_template};
use tunesmith::node::filter::Converter;
use tunesmith::node::source::{read_markdown, read_website, read_wiki};
use tunesmith::node::{Family, Job};
use tunesmith::record::{FieldMap, Form, Record, import, import_correction, import_mapped};
use tunesmith::store::ActionRecord;

/// As many problems as the program shows.
const MOST_SHOWN: usize = 100;

/// A reader: takes any bytes.
pub type Reader = fn(&[u8]);

/// All readers by the name of their target and of its corpus.
pub const READERS: [(&str, Reader); 15] = [
    ("manifest", manifest),
    ("jsonl", jsonl),
    ("job", job),
    ("action-record", action_record),
    ("lock", lock),
    ("gguf-header", gguf_header),
    ("safetensors-header", safetensors_header),
    ("model-folder", model_folder),
    ("adapter", adapter),
    ("chat-template", chat_template),
    ("answers", answers),
    ("website", website),
    ("wiki", wiki),
    ("markdown", markdown),
    ("values", values),
];

/// Reads a manifest to a graph, or shows all that is wrong with it.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let manifest = Manifest::parse("pipeline.toml", text, &Overlays::default());
    if let Err(problems) = Graph::build(&manifest, &KindCatalog::all()) {
        let sources = problems.sources().clone();
        let shown = Problems::new(sources, problems.into_list().into_iter().take(MOST_SHOWN).collect());
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
        handler.render_report(&mut String::new(), &shown).unwrap();
    }
}

/// Fields of foreign lines, as settings name them: of pairs, of dialogues, of documents.
const MAPS: [(Form, &str); 3] = [
    (Form::Rows, r#"{"question":"data.prompt","answer":"reply","context":"data.context","id":"uid","weight":"score"}"#),
    (
        Form::Rows,
        r#"{"messages":"dialog","role":"speaker","content":"text","roles":{"customer":"user","agent":"assistant"}}"#,
    ),
    (Form::Documents, r#"{"content":"body","path":"slug","repo":"meta.repo","title":"meta.title"}"#),
];

/// Reads a line as each form of record, and by the names of foreign fields.
pub fn jsonl(bytes: &[u8]) {
    for (form, map) in MAPS {
        let map: FieldMap = serde_json::from_str(map).unwrap();
        drop(import_mapped::<String>(form, bytes, None, Some(&map)));
    }
    for form in [Form::Rows, Form::Issues, Form::Pulls, Form::Documents] {
        drop(import(form, bytes, None));
        drop(import(form, bytes, Some("owner/name")));
    }
    drop(import_correction(bytes));
}

/// Reads the file that a worker is given; what is a job survives being written.
pub fn job(bytes: &[u8]) {
    if let Ok(job) = serde_json::from_slice::<Job>(bytes) {
        let text = serde_json::to_string(&job).unwrap();
        serde_json::from_str::<Job>(&text).unwrap();
    }
}

/// Reads a record of the store; what is one survives being written, and its artifacts have digests and sizes.
pub fn action_record(bytes: &[u8]) {
    let Ok(record) = serde_json::from_slice::<ActionRecord>(bytes) else { return };
    for artifact in record.outputs.values() {
        artifact.digest();
        artifact.size();
    }
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<ActionRecord>(&text).unwrap(), record);
}

/// Reads a lock.
pub fn lock(bytes: &[u8]) {
    with_file("pipeline.lock", bytes, |path| drop(Lockfile::read(path)));
}

/// Opens a base model of one GGUF file.
pub fn gguf_header(bytes: &[u8]) {
    with_file("model.gguf", bytes, |path| read_base(&WeightFiles::Gguf(path.to_owned())));
}

/// Opens a base model of a folder whose tensors are these bytes.
pub fn safetensors_header(bytes: &[u8]) {
    with_file("model.safetensors", bytes, |path| read_base(&WeightFiles::Folder(tiny_with("model.safetensors", path))));
}

/// Opens a base model of a folder in which one file is of these bytes: its name is the first line, such as `config.json`,
/// `tokenizer.json`, `tokenizer.model` or `model.safetensors.index.json`.
pub fn model_folder(bytes: &[u8]) {
    let Some((name, rest)) = first_line(bytes) else { return };
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte)) {
        return;
    }
    with_file("file", rest, |path| {
        let mut files = tiny_with(name, path);
        // A tokenizer of SentencePiece is read where there is no other.
        if name == "tokenizer.model" {
            files.remove("tokenizer.json");
        }
        read_base(&WeightFiles::Folder(files));
    });
}

/// Reads an adapter in PEFT's form in which one file is of these bytes: its settings, or its tensors.
pub fn adapter(bytes: &[u8]) {
    let read = |name: &str| fs_err::read(tiny().join("adapter").join(name)).unwrap();
    let is_config = bytes.trim_ascii_start().starts_with(b"{");
    let parsed = if is_config {
        PeftAdapter::parse(bytes, &read("adapter_model.safetensors"))
    } else {
        PeftAdapter::parse(&read("adapter_config.json"), bytes)
    };
    for module in parsed.iter().flat_map(|adapter| adapter.modules.values()) {
        assert!(module.rank > 0 && module.a.len() == module.rank * module.inputs());
        assert!(module.b.len() == module.rank * module.outputs());
    }
}

/// Renders conversations by a chat template, and makes a Go template of it.
pub fn chat_template(bytes: &[u8]) {
    if let Ok(source) = std::str::from_utf8(bytes) {
        try_template(source);
    }
}

/// Reads what hubs, registries and servers of models answer.
pub fn answers(bytes: &[u8]) {
    tunesmith::node::export::read_answers(bytes);
    tunesmith::node::model::read_answers(bytes);
}

/// Reads what a website sends: a page, whose text holds nothing unseen, a sitemap, a robots.txt.
pub fn website(bytes: &[u8]) {
    let text = read_website(bytes).unwrap_or_default();
    assert!(text.chars().all(|character| !character.is_control() || matches!(character, '\n' | '\t')));
}

/// Reads what DeepWiki sends: an answer of its MCP server, the texts of its tools, the payload of a page.
pub fn wiki(bytes: &[u8]) {
    drop(read_wiki(bytes));
}

/// Reads a Markdown file as a document and makes rows of it, as the defaults have it and in small pieces.
pub fn markdown(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let record = Record::Document(read_markdown("guide.md", text));
    for settings in ["{}", r#"{"max-answer-characters":200,"min-section-characters":1,"section-depth":6}"#] {
        let settings: serde_json::Value = serde_json::from_str(settings).unwrap();
        let kind = tunesmith::node::find(Family::Filter, "conversations").unwrap();
        let converter = Converter::new(&kind.canonical(&settings).unwrap()).unwrap();
        drop(converter.rows(&record).unwrap());
    }
}

/// Changes a value of a YAML file; the first line has the path and the value. Nothing else may change, and putting the
/// value back gives the file as it was.
pub fn values(bytes: &[u8]) {
    try_edit(bytes);
}

fn read_base(files: &WeightFiles) {
    if let Ok(base) = Base::open(files) {
        drop(base.vector("model.norm.weight", base.config().hidden.min(1 << 16)));
        drop(base.template());
        if let Ok(tokenizer) = base.tokenizer() {
            drop(tokenizer.encode("A few words, größer than <|im_start|> one."));
        }
    }
}

/// Where the tiny model lies.
fn tiny() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join("tests/fixtures/tiny-llama")).find(|folder| folder.is_dir()).unwrap()
}

/// Returns the files of the tiny model with another one for `name`.
fn tiny_with(name: &str, path: &Path) -> BTreeMap<String, PathBuf> {
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let mut files: BTreeMap<String, PathBuf> = names.map(|name| (name.to_owned(), tiny().join(name))).into();
    files.insert(name.to_owned(), path.to_owned());
    files
}

fn first_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs_err::write(&path, bytes).unwrap();
    read(&path);
}
