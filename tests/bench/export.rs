//! Times the way from weights to a GGUF beside the reference tools, in one run with the same threads:
//! `cargo bench --bench export -- FOLDER [--llama-cpp CHECKOUT --python VENV/bin/python --llama-quantize TOOL]`.
//!
//! FOLDER is a model as transformers writes it. Quantising alone is compared with the linked llama.cpp. With a checkout
//! of llama.cpp and a Python that has torch and peft, the conversion is compared with `convert_hf_to_gguf.py`, and, with
//! `llama-quantize`, the whole way from base and adapter with `merge_and_unload`, conversion and quantisation. What is
//! not named is skipped, by name. Prints one JSON object a comparison, and all ratios as the last line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Map, Value, json};
use tunesmith::llama::quantize;
use tunesmith::model::convert::{Adapter, FolderSource, GgufSource, Merge, Source, Target, merge, merge_quantised};
use tunesmith::model::gguf::FileType;

/// Threads of either side.
const THREADS: usize = 2;

/// Makes an adapter of rank 16 on every projection, with numbers in both of its matrices.
const MAKE_ADAPTER: &str = "
import sys, torch
from transformers import AutoModelForCausalLM
from peft import LoraConfig, get_peft_model
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype='auto')
targets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
get_peft_model(model, LoraConfig(r=16, target_modules=targets, init_lora_weights=False)).save_pretrained(sys.argv[2])
";

/// Merges it as its users do.
const MERGE: &str = "
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from peft import PeftModel
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype='auto')
PeftModel.from_pretrained(model, sys.argv[2]).merge_and_unload().save_pretrained(sys.argv[3])
AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[3])
";

/// Where things are.
#[derive(Default)]
struct Places {
    folder: PathBuf,
    checkout: Option<PathBuf>,
    python: Option<PathBuf>,
    quantizer: Option<PathBuf>,
}

impl Places {
    fn of_arguments() -> Option<Self> {
        let mut places = Self::default();
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            match word.as_str() {
                "--llama-cpp" => places.checkout = words.next().map(Into::into),
                "--python" => places.python = words.next().map(Into::into),
                "--llama-quantize" => places.quantizer = words.next().map(Into::into),
                _ => places.folder = word.into(),
            }
        }
        places.folder.join("config.json").exists().then_some(places)
    }

    fn source(&self) -> FolderSource {
        let files = fs_err::read_dir(&self.folder).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.path())
        });
        FolderSource::open(&files.collect::<BTreeMap<_, _>>()).unwrap()
    }

    fn python(&self, arguments: &[&str]) {
        let python = self.python.as_ref().unwrap();
        let done = Command::new(python).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(done.success(), "{} {arguments:?}", python.display());
    }

    /// Has the reference converter write a GGUF in 16 bits.
    fn convert(&self, folder: &Path, output: &Path) {
        let script = self.checkout.as_ref().unwrap().join("convert_hf_to_gguf.py");
        let [script, folder, output] = [script.as_path(), folder, output].map(|path| path.to_str().unwrap());
        self.python(&[script, folder, "--outtype", "f16", "--outfile", output]);
    }
}

/// What was compared so far.
#[derive(Default)]
struct Report(Map<String, Value>);

impl Report {
    fn compare(&mut self, name: &str, ours: f64, peer: &str, theirs: f64, equal: bool) {
        let ratio = (theirs / ours * 100.0).round() / 100.0;
        println!(
            "{}",
            json!({"what": name, "seconds": ours, "peer": peer, "peer_seconds": theirs, "times": ratio, "equal": equal})
        );
        self.0.insert(name.into(), ratio.into());
    }

    fn skip(&mut self, name: &str, why: &str) {
        println!("{}", json!({"what": name, "skipped": why}));
        self.0.insert(name.into(), Value::Null);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

fn write(source: &dyn Source, adapter: Option<&Adapter>, output: &Path, file_type: FileType) {
    let how = &mut Merge { adapter, float: FileType::F16, threads: THREADS, progress: &mut |_, _| true };
    if file_type.is_float() {
        merge(source, output, how).unwrap();
    } else {
        merge_quantised(source, output, how, &Target { file_type, overrides: &[], importance: None }).unwrap().unwrap();
    }
}

/// Returns whether two files have the same bytes.
fn same(a: &Path, b: &Path) -> bool {
    fs_err::read(a).unwrap() == fs_err::read(b).unwrap()
}

fn main() {
    let Some(places) = Places::of_arguments() else {
        println!(
            "{}",
            json!({"skipped": "usage: cargo bench --bench export -- FOLDER [--llama-cpp CHECKOUT --python PYTHON --llama-quantize TOOL]"})
        );
        return;
    };
    let space = tempfile::tempdir_in(".").unwrap();
    let at = |name: &str| space.path().join(name);
    let mut report = Report::default();
    let q4 = FileType::from_name("Q4_K_M").unwrap();

    let float = at("f16.gguf");
    write(&places.source(), None, &float, FileType::F16);
    let (seconds, ()) = timed(|| write(&places.source(), None, &float, FileType::F16));
    if places.checkout.is_some() && places.python.is_some() {
        let (theirs, ()) = timed(|| places.convert(&places.folder, &at("peer.gguf")));
        report.compare("safetensors to F16", seconds, "convert_hf_to_gguf.py", theirs, true);
        fs_err::remove_file(at("peer.gguf")).unwrap();
    } else {
        report.skip("safetensors to F16", "no --llama-cpp and --python");
    }

    for name in ["Q4_K_M", "Q8_0", "Q6_K"] {
        let file_type = FileType::from_name(name).unwrap();
        let [ours, peer] = [at("ours.gguf"), at("peer.gguf")];
        let (seconds, ()) = timed(|| write(&GgufSource::open(&float).unwrap(), None, &ours, file_type));
        let (theirs, ()) = timed(|| quantize(&float, &peer, file_type.id(), None, THREADS).unwrap());
        report.compare(&format!("F16 to {name}"), seconds, "llama_model_quantize", theirs, same(&ours, &peer));
    }

    let name = "base and adapter to Q4_K_M";
    let Places { checkout: Some(_), python: Some(_), quantizer: Some(quantizer), .. } = &places else {
        report.skip(name, "no --llama-cpp, --python and --llama-quantize");
        println!("{}", Value::Object(report.0));
        return;
    };
    let (folder, adapter) = (places.folder.to_str().unwrap(), at("adapter"));
    places.python(&["-c", MAKE_ADAPTER, folder, adapter.to_str().unwrap()]);
    let files = ["adapter_config.json", "adapter_model.safetensors"].map(|file| (file.to_owned(), adapter.join(file)));
    let (seconds, ()) = timed(|| {
        let adapter = Adapter::read(&files.into()).unwrap();
        write(&places.source(), Some(&adapter), &at("ours.gguf"), q4);
    });
    let (theirs, ()) = timed(|| {
        let merged = at("merged");
        places.python(&["-c", MERGE, folder, adapter.to_str().unwrap(), merged.to_str().unwrap()]);
        places.convert(&merged, &at("merged.gguf"));
        let done = Command::new(quantizer)
            .arg(at("merged.gguf"))
            .arg(at("peer.gguf"))
            .args(["Q4_K_M", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "{}", quantizer.display());
    });
    // PEFT rounds what it merges to the checkpoint's 16 bits, so that some last bits differ.
    report.compare(name, seconds, "peft, convert_hf_to_gguf.py, llama-quantize", theirs, false);
    println!("{}", Value::Object(report.0));
}
