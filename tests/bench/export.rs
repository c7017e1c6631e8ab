//! Times the way from weights to a GGUF beside the reference tools, in one run with the same threads:
//! `cargo bench --bench export -- FOLDER [--llama-cpp CHECKOUT --python VENV/bin/python --llama-quantize TOOL]
//! [--only PART]… [--type NAME]…`.
//!
//! FOLDER is a model as transformers writes it. PART is one of:
//!
//! - `convert`: safetensors to F16, beside `convert_hf_to_gguf.py` of the checkout, run by a Python that has torch.
//! - `quantise`: F16 to several types, beside the linked llama.cpp, whose bytes ours are held against; and against those of
//!   the tool where it is named. A llama.cpp that was linked before `.cargo/config.toml` told it to round after every
//!   operation gives other bytes: `cargo clean -p llama-cpp-sys-2` builds it again. NAME is one of the types, instead of all.
//! - `adapter`: base and a random adapter of rank 16 on every projection to `Q4_K_M`, beside PEFT's `merge_and_unload`,
//!   conversion and `llama-quantize`. The Python has peft, too.
//! - `again`: the same to another type, which costs no more than the first.
//! - `back`: F16, or the GGUF that `--gguf` names, back to a folder for transformers, which stays where `--keep` says.
//!
//! What is not named is skipped, by name. Seconds are those until the file is there, which the system may hold in memory;
//! `durable` ones are those until it is on the disk. `peak_mib` is the most memory of ours. Prints one JSON object a
//! comparison, and all ratios as the last line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod adapter;
mod gguf_difference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Map, Value, json};
use tunesmith::llama::quantize;
use tunesmith::model::convert::{
    Adapter, FolderSource, GgufSource, Merge, MergeFolder, Source, Target, merge, merge_folder, merge_quantised,
    restored_files, usual_float,
};
use tunesmith::model::gguf::FileType;
use tunesmith::model::weights::{Float, WeightFiles};

use gguf_difference::differences;

/// Threads of either side.
const THREADS: usize = 2;

/// What is quantised to, where nothing is named.
const TYPES: [&str; 6] = ["Q4_K_M", "Q8_0", "Q6_K", "Q4_0", "Q5_0", "Q5_1"];

/// Merges an adapter as its users do.
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
    gguf: Option<PathBuf>,
    keep: Option<PathBuf>,
    only: Vec<String>,
    types: Vec<String>,
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
                "--gguf" => places.gguf = words.next().map(Into::into),
                "--keep" => places.keep = words.next().map(Into::into),
                "--only" => places.only.extend(words.next()),
                "--type" => places.types.extend(words.next()),
                _ => places.folder = word.into(),
            }
        }
        (places.gguf.is_some() || places.folder.join("config.json").exists()).then_some(places)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }

    fn source(&self) -> FolderSource {
        let files = fs_err::read_dir(&self.folder).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.path())
        });
        FolderSource::open(&files.collect::<BTreeMap<_, _>>()).unwrap()
    }

    fn has_python(&self) -> bool {
        self.checkout.is_some() && self.python.is_some()
    }

    fn python(&self, arguments: &[&str]) {
        run(Command::new(self.python.as_ref().unwrap()).args(arguments));
    }

    /// Has the reference converter write a GGUF in 16 bits.
    fn convert(&self, folder: &Path, output: &Path) {
        let script = self.checkout.as_ref().unwrap().join("convert_hf_to_gguf.py");
        let [script, folder, output] = [script.as_path(), folder, output].map(|path| path.to_str().unwrap());
        self.python(&[script, folder, "--outtype", "f16", "--outfile", output]);
    }
}

fn run(command: &mut Command) {
    let done = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// How long one side took, in seconds.
#[derive(Clone, Copy)]
struct Took {
    seconds: f64,
    /// Until the file is on the disk.
    durable: f64,
}

/// Times work that writes a file.
fn timed(output: &Path, work: impl FnOnce()) -> Took {
    let start = Instant::now();
    work();
    let seconds = start.elapsed().as_secs_f64();
    fs_err::File::open(output).unwrap().sync_all().unwrap();
    Took { seconds, durable: start.elapsed().as_secs_f64() }
}

/// What was compared so far.
#[derive(Default)]
struct Report(Map<String, Value>);

impl Report {
    fn compare(&mut self, name: &str, ours: Took, peer: &str, theirs: Took, more: Value) {
        let round = |number: f64| (number * 100.0).round() / 100.0;
        let times = round(theirs.seconds / ours.seconds);
        let mut line = json!({
            "what": name, "seconds": round(ours.seconds), "durable_seconds": round(ours.durable), "peer": peer,
            "peer_seconds": round(theirs.seconds), "peer_durable_seconds": round(theirs.durable), "times": times,
            "durable_times": round(theirs.durable / ours.durable),
        });
        line.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        println!("{line}");
        self.0.insert(name.into(), times.into());
    }

    fn skip(&mut self, name: &str, why: &str, ours: Option<Took>, more: Value) {
        let seconds = ours.map(|took| json!({"seconds": took.seconds, "durable_seconds": took.durable}));
        println!("{}", json!({"what": name, "skipped": why, "ours": seconds, "more": more}));
        self.0.insert(name.into(), Value::Null);
    }
}

/// Lets the peak of memory begin anew.
fn forget_peak() {
    fs_err::write("/proc/self/clear_refs", "5").unwrap();
}

/// Returns the most memory since [`forget_peak`], in MiB.
fn peak_mib() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn write(source: &dyn Source, adapter: Option<&Adapter>, output: &Path, file_type: FileType) {
    let (threads, progress) = (THREADS, &mut |_, _| true);
    let how = &mut Merge { adapter, float: FileType::F16, threads, earlier: None, progress };
    if file_type.is_float() {
        merge(source, output, how).unwrap();
    } else {
        merge_quantised(source, output, how, &Target { file_type, overrides: &[], importance: None }).unwrap().unwrap();
    }
}

fn named(name: &str) -> FileType {
    FileType::from_name(name).unwrap()
}

/// safetensors to F16.
fn convert(places: &Places, space: &Path, report: &mut Report) {
    let (ours, peer) = (space.join("f16.gguf"), space.join("peer.gguf"));
    let name = "safetensors to F16";
    // Both sides find the folder in memory.
    write(&places.source(), None, &ours, FileType::F16);
    fs_err::remove_file(&ours).unwrap();
    forget_peak();
    let took = timed(&ours, || write(&places.source(), None, &ours, FileType::F16));
    let more = json!({"peak_mib": peak_mib()});
    if !places.has_python() {
        return report.skip(name, "no --llama-cpp and --python", Some(took), more);
    }
    let theirs = timed(&peer, || places.convert(&places.folder, &peer));
    let more = json!({"peak_mib": more["peak_mib"], "differences": differences(&ours, &peer)});
    report.compare(name, took, "convert_hf_to_gguf.py", theirs, more);
    fs_err::remove_file(peer).unwrap();
}

/// F16 back to safetensors.
fn back(places: &Places, space: &Path, report: &mut Report) {
    let gguf = places.gguf.clone().unwrap_or_else(|| space.join("f16.gguf"));
    if !gguf.exists() {
        write(&places.source(), None, &gguf, FileType::F16);
    }
    let folder = places.keep.clone().unwrap_or_else(|| space.join("back"));
    fs_err::create_dir_all(&folder).unwrap();
    let usual = usual_float(&gguf).unwrap();
    // What was decoded is kept whole, so that it can be held against another decoder's.
    let float = if usual.decoded.is_some() { Float::F32 } else { usual.float };
    forget_peak();
    let took = timed(&folder.join("config.json"), || {
        let (shard_bytes, progress) = (u64::MAX, &mut |_, _| true);
        let how = &mut MergeFolder { adapter: None, float: Some(float), shard_bytes, threads: THREADS, progress };
        merge_folder(&WeightFiles::Gguf(gguf.clone()), &folder, how).unwrap();
        for (name, bytes) in restored_files(&gguf, float).unwrap() {
            fs_err::write(folder.join(name), bytes).unwrap();
        }
    });
    report.skip("GGUF back to safetensors", "no peer", Some(took), json!({"peak_mib": peak_mib()}));
}

/// F16 to several types.
fn quantise(places: &Places, space: &Path, report: &mut Report) {
    let float = space.join("f16.gguf");
    if !float.exists() {
        write(&places.source(), None, &float, FileType::F16);
    }
    for name in TYPES.into_iter().filter(|name| places.types.is_empty() || places.types.iter().any(|kind| kind == name))
    {
        let [ours, peer] = [space.join("ours.gguf"), space.join("peer.gguf")];
        let took = timed(&ours, || write(&GgufSource::open(&float).unwrap(), None, &ours, named(name)));
        let theirs = timed(&peer, || quantize(&float, &peer, named(name).id(), None, THREADS).unwrap());
        let found = differences(&ours, &peer);
        let found_of_tool = places.quantizer.as_ref().map(|quantizer| {
            run(Command::new(quantizer).args([&float, &peer]).args([name, "2"]));
            differences(&ours, &peer)
        });
        let more = json!({"differences": found, "differences_from_llama_quantize": found_of_tool});
        report.compare(&format!("F16 to {name}"), took, "llama_model_quantize", theirs, more);
        fs_err::remove_file(ours).unwrap();
        fs_err::remove_file(peer).unwrap();
    }
}

/// Base and adapter to `Q4_K_M`.
fn with_adapter(places: &Places, space: &Path, report: &mut Report) {
    let name = "base and adapter to Q4_K_M";
    let (folder, ours) = (space.join("adapter"), space.join("ours.gguf"));
    let files = adapter::write(&places.folder, &folder);
    let to = |kind: &str| {
        timed(&ours, || write(&places.source(), Some(&Adapter::read(&files).unwrap()), &ours, named(kind)))
    };
    forget_peak();
    let took = to("Q4_K_M");
    let more = json!({"peak_mib": peak_mib(), "files": fs_err::read_dir(space).unwrap().count()});
    if let (true, true, Some(quantizer)) = (places.wants("adapter"), places.has_python(), &places.quantizer) {
        let [merged, float, peer] = ["merged", "merged.gguf", "peer.gguf"].map(|name| space.join(name));
        let theirs = timed_peer(places, quantizer, [&folder, &merged, &float, &peer]);
        // PEFT rounds what it merges to the checkpoint's 16 bits, so that some last bits differ.
        report.compare(name, took, "peft, convert_hf_to_gguf.py, llama-quantize", theirs, more);
    } else {
        report.skip(name, "no --llama-cpp, --python and --llama-quantize", Some(took), more);
    }
    if places.wants("again") {
        for kind in ["Q5_K_M", "Q8_0"] {
            report.skip(&format!("the same to {kind} later"), "no peer", Some(to(kind)), Value::Null);
        }
    }
}

fn timed_peer(places: &Places, quantizer: &Path, [adapter, merged, float, peer]: [&Path; 4]) -> Took {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    timed(peer, || {
        places.python(&["-c", MERGE, &text(&places.folder), &text(adapter), &text(merged)]);
        places.convert(merged, float);
        run(Command::new(quantizer).args([float, peer]).args(["Q4_K_M", "2"]));
    })
}

fn main() {
    let Some(places) = Places::of_arguments() else {
        let usage = "cargo bench --bench export -- FOLDER [--llama-cpp CHECKOUT --python PYTHON --llama-quantize TOOL]";
        println!("{}", json!({"skipped": format!("usage: {usage} [--only PART]")}));
        return;
    };
    let space = tempfile::tempdir_in(".").unwrap();
    let mut report = Report::default();
    if places.wants("convert") {
        convert(&places, space.path(), &mut report);
    }
    if places.wants("quantise") {
        quantise(&places, space.path(), &mut report);
    }
    if places.wants("back") {
        back(&places, space.path(), &mut report);
    }
    if places.wants("adapter") || places.wants("again") {
        fs_err::remove_file(space.path().join("f16.gguf")).ok();
        with_adapter(&places, space.path(), &mut report);
    }
    println!("{}", Value::Object(report.0));
}
