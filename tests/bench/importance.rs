//! Holds the importance matrix against that of `llama-imatrix`, on the same text:
//! `cargo bench --bench importance -- MODEL.gguf TEXT LLAMA_IMATRIX [CHUNKS]`.
//!
//! The model is written in plain floats first, so that both compute with the same weights. Of each tensor the largest
//! difference of a column is told, as a share of the tensor's mean, and of the column itself. Prints one JSON object a type
//! of floats, and the largest of all as the last line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::collections::BTreeMap;
use std::path::Path;
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

/// Returns the largest difference of a column as shares of its tensor's mean and of itself.
fn largest(ours: &[f32], theirs: &[f32]) -> (f64, f64) {
    assert_eq!(ours.len(), theirs.len());
    let mean = theirs.iter().map(|number| f64::from(*number)).sum::<f64>() / theirs.len() as f64;
    let pairs = ours.iter().zip(theirs).map(|(ours, theirs)| (f64::from(ours - theirs).abs(), f64::from(*theirs)));
    pairs.fold((0.0, 0.0), |(of_mean, of_own), (difference, own)| {
        (f64::max(of_mean, difference / mean), f64::max(of_own, difference / own.abs().max(f64::MIN_POSITIVE)))
    })
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
    let content = fs_err::read_to_string(text).unwrap();
    let mut worst = BTreeMap::new();
    for kind in ["F32", "F16"] {
        let (path, written) = (space.path().join("model.gguf"), space.path().join("imatrix.gguf"));
        let float = FileType::from_name(kind).unwrap();
        let how = &mut Merge { adapter: None, float, threads: THREADS, earlier: None, progress: &mut |_, _| true };
        let source = GgufSource::open(Path::new(base)).unwrap();
        assert!(!source.tensors().is_empty());
        merge(&source, &path, how).unwrap();
        let start = Instant::now();
        let ours = ours(&path, &content, chunks);
        let seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        // Without flash attention, which is off on our side, since it depends on the number of threads.
        let sizes = ["-c", "512", "-b", "512", "-ub", "512", "-t", "2", "-fa", "off", "--no-ppl", "--chunks"];
        let mut command = Command::new(tool);
        command.arg("-m").arg(&path).arg("-f").arg(text).arg("-o").arg(&written).args(sizes).arg(chunks.to_string());
        let output = command.output().unwrap();
        let peer_seconds = start.elapsed().as_secs_f64();
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
        let theirs = theirs(&written);
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        let all = ours.iter().map(|(name, ours)| largest(ours, &theirs[name]));
        let (of_mean, of_own) = all.fold((0.0, 0.0), |a: (f64, f64), b| (a.0.max(b.0), a.1.max(b.1)));
        println!(
            "{}",
            json!({
                "type": kind, "tensors": ours.len(), "tokens": chunks * LENGTH, "largest_of_mean": of_mean,
                "largest_of_column": of_own, "seconds": seconds, "peer_seconds": peer_seconds,
            })
        );
        worst.insert(kind, of_mean);
    }
    println!("{}", json!(worst));
}
