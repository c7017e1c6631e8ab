//! Holds the importance matrix against that of `llama-imatrix`, on the same text:
//! `cargo bench --bench importance -- MODEL.gguf TEXT LLAMA_IMATRIX [CHUNKS]`.
//!
//! The model is written in plain floats first, so that both compute with the same weights; keys and values are kept in 32
//! bits on both sides, without flash attention. The largest difference of a column is told, as a share of the column itself
//! and of its tensor's mean, and how many columns differ by more than 1e-4 of themselves. Prints one JSON object a type of
//! floats and set of instructions, and the largest shares of columns as the last line.
//!
//! `llama-imatrix` takes the widest instructions of the machine, we are compiled for AVX2. A model in 32 bits gives the same
//! with both. What is multiplied with matrices in 16 bits is rounded with AVX2 and not with AMX, and then the last bits of sums
//! decide which way; so the tool is run a second time with its kernels for AVX2 alone, where its folder has them.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::json;
use tunesmith::llama::{ContextOptions, Importance, Markers, Model, Token, importance};
use tunesmith::model::convert::{GgufSource, Merge, Source as _, merge};
use tunesmith::model::gguf::{FileType, Header, Value};

/// Tokens of a sequence, as `llama-imatrix` cuts a text by default.
const LENGTH: usize = 512;
/// Threads of either side.
const THREADS: usize = 2;

/// Cuts a text into sequences as `llama-imatrix` does: the rest is left out, and where the vocabulary asks for a token
/// at the beginning, it takes the place of each sequence's first.
fn sequences(path: &Path, model: &Model, text: &str, chunks: usize) -> Vec<Vec<Token>> {
    let header = Header::read(path).unwrap();
    let adds = header.get("tokenizer.ggml.add_bos_token") == Some(&Value::Bool(true));
    let begin = header.get("tokenizer.ggml.bos_token_id").and_then(Value::as_u64).filter(|_| adds);
    let begin = begin.map(|id| id as Token);
    let tokens: Vec<Token> = begin.into_iter().chain(model.tokenize(text, Markers::Plain).unwrap()).collect();
    let mut sequences: Vec<Vec<Token>> = tokens.chunks_exact(LENGTH).take(chunks).map(<[Token]>::to_vec).collect();
    for sequence in &mut sequences {
        sequence[0] = begin.unwrap_or(sequence[0]);
    }
    sequences
}

fn ours(path: &Path, text: &str, chunks: usize) -> Importance {
    let model = Model::load(path).unwrap();
    let options = ContextOptions { length: LENGTH as u32, threads: THREADS, interrupt: &|| false };
    importance(&model, &options, &sequences(path, &model, text, chunks), || ()).unwrap()
}

/// Returns the tool as it is, and a copy of it in `space` that has no kernels but those for AVX2, if there are any.
fn tools(tool: &Path, space: &Path) -> Vec<(&'static str, PathBuf)> {
    const KERNELS: &str = "libggml-cpu-";
    let mut tools = vec![("widest", tool.to_owned())];
    let folder = fs_err::canonicalize(tool).unwrap().parent().unwrap().to_owned();
    if folder.join(format!("{KERNELS}haswell.so")).exists() {
        for entry in fs_err::read_dir(&folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let is_wanted = name.starts_with("lib") && (!name.starts_with(KERNELS) || name.contains("haswell"));
            if is_wanted || Some(&*entry.file_name()) == tool.file_name() {
                fs_err::copy(entry.path(), space.join(name)).unwrap();
            }
        }
        tools.push(("AVX2", space.join(tool.file_name().unwrap())));
    }
    tools
}

/// Has the tool measure, and returns what it wrote.
fn measured(tool: &Path, model: &Path, text: &str, chunks: usize) -> Importance {
    let written = model.with_extension("imatrix.gguf");
    let mut command = Command::new(tool);
    command.arg("-m").arg(model).arg("-f").arg(text).arg("-o").arg(&written).arg("--chunks").arg(chunks.to_string());
    command.args(["-c", "512", "-b", "512", "-ub", "512", "-t", "2", "--no-ppl"]);
    command.args(["-fa", "off", "-ctk", "f32", "-ctv", "f32"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", tool.display(), String::from_utf8_lossy(&output.stderr));
    theirs(&written)
}

/// Reads sums and counts of a file that `llama-imatrix` wrote.
fn theirs(path: &Path) -> Importance {
    let source = Header::read(path).unwrap();
    let bytes = fs_err::read(path).unwrap();
    let numbers = |name: &str| -> Vec<f32> {
        let info = source.tensor(name).unwrap();
        let start = (source.data_offset + info.offset) as usize;
        let bytes = &bytes[start..start + info.size as usize];
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let names = source.tensors.iter().filter_map(|tensor| tensor.name.strip_suffix(".in_sum2"));
    let means = |name: &str| {
        let count = numbers(&format!("{name}.counts"))[0];
        numbers(&format!("{name}.in_sum2")).into_iter().map(|sum| sum / count).collect()
    };
    names.map(|name| (name.to_owned(), means(name))).collect()
}

/// How far columns are from each other.
#[derive(Default)]
struct Difference {
    /// The largest, as a share of the column.
    of_column: f64,
    /// The largest, as a share of the tensor's mean.
    of_mean: f64,
    /// Columns that differ by more than 1e-4 of themselves.
    far: usize,
}

impl Difference {
    fn add(&mut self, ours: &[f32], theirs: &[f32]) {
        assert_eq!(ours.len(), theirs.len());
        let mean = theirs.iter().map(|number| f64::from(*number)).sum::<f64>() / theirs.len() as f64;
        for (ours, theirs) in ours.iter().zip(theirs) {
            let difference = f64::from(ours - theirs).abs();
            let share = difference / f64::from(theirs.abs()).max(f64::MIN_POSITIVE);
            self.of_column = self.of_column.max(share);
            self.of_mean = self.of_mean.max(difference / mean);
            self.far += usize::from(share > 1e-4);
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [base, text, tool, rest @ ..] = words.as_slice() else {
        let usage = "usage: cargo bench --bench importance -- MODEL.gguf TEXT LLAMA_IMATRIX [CHUNKS]";
        println!("{}", json!({"skipped": usage}));
        return;
    };
    let chunks: usize = rest.first().map_or(8, |chunks| chunks.parse().unwrap());
    let space = tempfile::tempdir().unwrap();
    fs_err::create_dir(space.path().join("tool")).unwrap();
    let tools = tools(Path::new(tool), &space.path().join("tool"));
    let content = fs_err::read_to_string(text).unwrap();
    let mut worst = BTreeMap::new();
    for kind in ["F32", "F16"] {
        let path = space.path().join("model.gguf");
        let float = FileType::from_name(kind).unwrap();
        let how = &mut Merge { adapter: None, float, threads: THREADS, earlier: None, progress: &mut |_, _| true };
        let source = GgufSource::open(Path::new(base)).unwrap();
        assert!(!source.tensors().is_empty());
        merge(&source, &path, how).unwrap();
        let start = Instant::now();
        let ours = ours(&path, &content, chunks);
        let seconds = start.elapsed().as_secs_f64();
        for (instructions, tool) in &tools {
            let start = Instant::now();
            let theirs = measured(tool, &path, text, chunks);
            let peer_seconds = start.elapsed().as_secs_f64();
            assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
            let mut difference = Difference::default();
            for (name, ours) in &ours {
                difference.add(ours, &theirs[name]);
            }
            println!(
                "{}",
                json!({
                    "type": kind, "instructions": instructions, "tensors": ours.len(), "tokens": chunks * LENGTH,
                    "largest_of_column": difference.of_column, "largest_of_mean": difference.of_mean,
                    "columns_beyond_1e-4": difference.far, "seconds": seconds, "peer_seconds": peer_seconds,
                })
            );
            worst.insert(format!("{kind} {instructions}"), difference.of_column);
        }
    }
    println!("{}", json!(worst));
}
