//! Converts a folder of safetensors to GGUF beside llama.cpp's own converter, and compares every tensor and every key:
//! `cargo bench --bench convert -- FOLDER LLAMA_CPP [PYTHON]`.
//!
//! `LLAMA_CPP` is the folder of llama.cpp's source; PYTHON is an interpreter that has torch, transformers and numpy.
//! Prints one JSON object for each type of numbers: seconds of both, and what differs. What the reference takes from a model
//! card and from the folder's name is not compared; `general.size_label` is, and a folder whose name has a size in it, such as
//! `Llama-3.2-1B`, gives the reference that size.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod gguf_difference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::json;
use tunesmith::model::convert::{FolderSource, Merge, merge};
use tunesmith::model::gguf::FileType;

use gguf_difference::differences;

fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let paths = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path)).collect()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [folder, llama_cpp, rest @ ..] = words.as_slice() else {
        println!("{}", json!({"skipped": "usage: cargo bench --bench convert -- FOLDER LLAMA_CPP [PYTHON]"}));
        return;
    };
    let python = rest.first().map_or("python3", String::as_str);
    let space = tempfile::tempdir().unwrap();
    for kind in ["f16", "bf16", "f32", "q8_0"] {
        let (ours, theirs) = (space.path().join("ours.gguf"), space.path().join("theirs.gguf"));
        let start = Instant::now();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let float = FileType::from_name(kind).unwrap();
        let source = FolderSource::open(&files(Path::new(folder))).unwrap();
        merge(&source, &ours, &mut Merge { adapter: None, float, threads, earlier: None, progress: &mut |_, _| true })
            .unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let status = Command::new(python)
            .arg(Path::new(llama_cpp).join("convert_hf_to_gguf.py"))
            .arg(folder)
            .args(["--outtype", kind, "--outfile"])
            .arg(&theirs)
            .output()
            .unwrap();
        let reference_seconds = start.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&status.stderr);
        assert!(status.status.success(), "the reference converter failed: {said}");
        let differences = differences(&ours, &theirs);
        println!(
            "{}",
            json!({"type": kind, "seconds": seconds, "reference_seconds": reference_seconds, "differences": differences})
        );
    }
}
