//! `eval.ladder` on a tiny model, an adapter, and files of several types.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Ladder;
use crate::llama::{Context, ContextOptions, Model, Token};
use crate::model::convert::sample::{config, write_adapter};
use crate::model::convert::{self, GgufSource, Merge, Target, merge_quantised};
use crate::model::gguf::{FileType, TensorType, tiny};
use crate::model::lora::Adapter;
use crate::model::rows::{OverLength, RowMaker, TokenRow};
use crate::model::transformer::{Batch, Transformer};
use crate::model::weights::{Base, Storage, WeightFiles};
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _, NodeError, Outcome};
use crate::record::{Conversation, Record, Role, Turn};
use crate::store::Artifact;

/// A base, an adapter, and rows.
struct Project {
    bench: Bench,
    base: PathBuf,
    adapter: BTreeMap<String, PathBuf>,
}

fn rows() -> Vec<Conversation> {
    let row = |number: u32| Conversation {
        id: format!("row-{number}"),
        thread: format!("row-{number}"),
        turns: vec![
            Turn { role: Role::User, text: format!("what is {number}") },
            Turn { role: Role::Assistant, text: format!("the thing after {}, and on and on", number - 1) },
        ],
        ..Conversation::default()
    };
    (1..6).map(row).collect()
}

impl Project {
    fn new() -> Self {
        let bench = Bench::new();
        let base = bench.folder().join("base.gguf");
        tiny::write(&base, &tiny::tensors(3), TensorType::F16).unwrap();
        let modules = [("model.layers.0.self_attn.q_proj", 256, 256), ("model.layers.1.mlp.down_proj", 256, 512)];
        let config = config(r#","target_modules":".*(layers.0.self_attn.q_proj|layers.1.mlp.down_proj)""#);
        let adapter = write_adapter(bench.folder(), &modules, &config);
        Self { bench, base, adapter }
    }

    /// Returns an input: base and adapter, merged and quantised.
    fn gguf(&self, node: &str, file_type: &str) -> JobInput {
        let path = self.bench.folder().join(node);
        let adapter = convert::Adapter::read(&self.adapter).unwrap();
        let progress = &mut |_, _| true;
        let mut how = Merge { adapter: Some(&adapter), float: FileType::F16, threads: 1, earlier: None, progress };
        let source = GgufSource::open(&self.base).unwrap();
        let target = Target { file_type: FileType::from_name(file_type).unwrap(), overrides: &[], importance: None };
        if target.file_type.is_float() {
            convert::merge(&source, &path, &mut how).unwrap();
        } else {
            merge_quantised(&source, &path, &mut how, &target).unwrap().unwrap();
        }
        self.input(InputRole::From, node, &path)
    }

    fn input(&self, role: InputRole, node: &str, path: &Path) -> JobInput {
        let file = self.bench.store.put_file(path).unwrap();
        self.bench.input(role, node, "gguf", Some(Artifact::File(file)), json!({}))
    }

    fn rows(&self) -> JobInput {
        let records = crate::record::write(&self.bench.store, rows().into_iter().map(Record::Row)).unwrap();
        self.bench.input(InputRole::From, "dataset", "eval", Some(Artifact::Records(records)), json!({}))
    }

    fn adapter(&self) -> JobInput {
        let put = |(name, path): (&String, &PathBuf)| (name.clone(), self.bench.store.put_file(path).unwrap());
        let files = self.adapter.iter().map(put).collect();
        self.bench.input(InputRole::From, "expert", "adapter", Some(Artifact::Folder { files }), json!({}))
    }

    fn run(&self, settings: &Value, mut inputs: Vec<JobInput>) -> Result<Outcome, NodeError> {
        inputs.push(self.input(InputRole::Model, "model", &self.base));
        self.bench.run(&Ladder, &Ladder.canonical(settings).unwrap(), inputs, &[])
    }

    /// The token rows, made without the kind.
    fn token_rows(&self) -> Vec<TokenRow> {
        let base = Base::open(&WeightFiles::Gguf(self.base.clone())).unwrap();
        let (tokenizer, template) = (base.tokenizer().unwrap(), base.template().unwrap());
        let maker = RowMaker {
            tokenizer: &tokenizer,
            template: &template,
            max_tokens: 2048,
            over_length: OverLength::Truncate,
        };
        rows().iter().map(|row| maker.row(row).unwrap().0.unwrap()).collect()
    }
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    logits.iter().map(|logit| f64::from(*logit) - sum.ln()).collect()
}

/// Computes loss and divergence of a GGUF the plain way: all logits of all tokens, in memory.
fn plainly(project: &Project, gguf: &Path) -> (f64, f64) {
    let base = Base::open(&WeightFiles::Gguf(project.base.clone())).unwrap();
    let adapter = Adapter::from_files(base.config(), &project.adapter).unwrap();
    let transformer = Transformer::load(&base, Storage::Dense, |_| {}).unwrap();
    let model = Model::load(gguf).unwrap();
    let options = ContextOptions { length: 512, threads: 1, interrupt: &|| false };
    let mut context = Context::new(&model, &options).unwrap();
    let (mut loss, mut kl, mut count) = (0.0, 0.0, 0.0);
    for row in project.token_rows() {
        let expected = transformer.logits(Some(&adapter), &Batch::new([(0, &row)])).unwrap();
        let tokens: Vec<Token> = row.ids.iter().map(|id| *id as Token).collect();
        let found = context.all_logits(&tokens).unwrap();
        for at in (1..tokens.len()).filter(|at| row.trained[*at]) {
            let (expected, found) = (log_softmax(&expected[at - 1]), log_softmax(&found[at - 1]));
            loss -= found[tokens[at] as usize];
            kl += expected.iter().zip(&found).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            count += 1.0;
        }
    }
    (loss / count, kl / count)
}

#[test]
fn each_step_is_measured_and_the_worst_is_named() {
    let project = Project::new();
    let ggufs = [project.gguf("small", "Q2_K"), project.gguf("large", "Q8_0")];
    let inputs = [project.rows(), project.adapter()].into_iter().chain(ggufs).collect();
    let outcome = project.run(&json!({}), inputs).unwrap();
    let number = |name: &str| outcome.fields[name].as_f64().unwrap_or_else(|| panic!("{name}: {outcome:?}"));
    for (node, rung) in [("small", "Q2_K"), ("large", "Q8_0")] {
        let (loss, kl) = plainly(&project, &project.bench.folder().join(node));
        assert!((number(&format!("{rung}.loss")) - loss).abs() < 1e-5, "{rung} {loss} {outcome:?}");
        assert!((number(&format!("{rung}.kl")) - kl).abs() < 1e-5, "{rung} {kl} {outcome:?}");
    }
    assert_eq!((&outcome.fields["adapter.kl"], &outcome.fields["adapter.same-top"]), (&json!(0.0), &json!(1.0)));
    // Rounding to 16 bits and another program cost next to nothing; fewer bits cost more.
    assert!(number("merged.kl") < 1e-4 && number("F16.kl") < 1e-4, "{outcome:?}");
    assert!(number("F16.kl") < number("Q8_0.kl") && number("Q8_0.kl") < number("Q2_K.kl"), "{outcome:?}");
    assert!(number("base.kl") > 1e-3, "{outcome:?}");
    let steps = [("adapter", "base"), ("merged", "adapter"), ("F16", "merged"), ("Q2_K", "F16"), ("Q8_0", "F16")];
    let lost = |(rung, from): (&str, &str)| number(&format!("{rung}.loss")) - number(&format!("{from}.loss"));
    let worst = steps.into_iter().max_by(|a, b| lost(*a).total_cmp(&lost(*b))).unwrap();
    assert_eq!(outcome.fields["worst"], worst.0);
    assert!((number("worst-loss") - lost(worst)).abs() < 1e-12);
    let trained: usize = project.token_rows().iter().map(TokenRow::trained_tokens).sum();
    assert_eq!((&outcome.fields["rows"], &outcome.fields["trained-tokens"]), (&json!(5), &json!(trained)));
    let said = project.bench.events.notes();
    assert!(said.iter().any(|line| line.starts_with("Q2_K: loss ")), "{said:?}");
    assert!(said.last().unwrap().ends_with("nats a token"), "{said:?}");
    let progress = project.bench.events.progress();
    let last = progress.last().unwrap();
    assert_eq!((last.done, last.total, last.detail.as_str()), (30, Some(30), "Q8_0"));
}

#[test]
fn a_ladder_repeats_itself_and_takes_as_many_rows_as_asked() {
    let project = Project::new();
    let run = |tokens: u64| {
        let inputs = vec![project.rows(), project.adapter(), project.gguf("half", "F16"), project.gguf("same", "Q8_0")];
        project.run(&json!({"trained-tokens": tokens}), inputs).unwrap()
    };
    let few = run(20);
    assert_eq!(few, run(20));
    assert_eq!(few.fields["rows"], 1);
    let Artifact::File(file) = &few.outputs["rungs"] else { panic!("{few:?}") };
    let text = fs_err::read_to_string(project.bench.store.path(file).unwrap()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    // The file in 16 bits that is given takes the place of one that would be made.
    assert_eq!(names, ["base", "adapter", "merged", "F16", "Q8_0"]);
    assert_eq!((&lines[3]["from"], &lines[4]["from"]), (&json!("merged"), &json!("F16")));
}

#[test]
fn files_of_one_type_are_told_apart_by_their_nodes_and_what_lacks_is_told() {
    let project = Project::new();
    let inputs = vec![project.rows(), project.adapter(), project.gguf("one", "Q8_0"), project.gguf("two", "Q8_0")];
    let outcome = project.run(&json!({}), inputs).unwrap();
    assert_eq!(outcome.fields["one.kl"], outcome.fields["two.kl"]);
    let code = |inputs: Vec<JobInput>| project.run(&json!({}), inputs).unwrap_err().code.unwrap();
    assert_eq!(code(vec![project.rows()]), "eval::one_adapter");
    assert_eq!(code(vec![project.adapter()]), "eval::no_rows");
    let problem = Ladder.canonical(&json!({"trained-tokens": 0})).unwrap_err().remove(0);
    assert_eq!(problem.message, "a loss over no tokens is none");
}
