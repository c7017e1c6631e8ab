//! `filter.split`: rows to train on and rows held out to evaluate.
//!
//! Where a row goes depends on its thread and the seed alone, so new rows never move old ones and rows of one thread
//! stay together. The share that is held out is therefore only close to `eval`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::node::{
    Content, Count, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run, SettingProblem, Weight,
    settings,
};
use crate::record::{Line, Mapped, Record, map_records};
use crate::store::{Artifact, Digest};

/// The kind.
#[derive(Debug)]
pub(super) struct Split;

/// History: 1, the first.
const VERSION: u32 = 1;

/// The remark on a correction that is evaluated and not trained.
const HELD_OUT: &str = "corrections held out";

static INFO: KindInfo = KindInfo {
    family: Family::Filter,
    name: "split",
    version: VERSION,
    summary: "rows to train on, and rows held out to evaluate",
    inputs: &[Content::Rows],
    outputs: &[
        OutputInfo { name: "train", content: Content::Rows },
        OutputInfo { name: "eval", content: Content::Rows },
    ],
    fields: &["train", "eval"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

/// Settings of `filter.split`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The share of threads that is held out, from 0 to 1.
    #[serde(default = "one_in_twenty")]
    #[schemars(range(min = 0.0, max = 1.0))]
    eval: f64,
    /// What is never parted: the rows of a thread, or nothing but a row.
    #[serde(default)]
    by: By,
    /// Another number holds out other rows.
    #[serde(default)]
    seed: u64,
}

/// What a split never parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum By {
    /// The rows of one issue, pull request or document.
    #[default]
    Thread,
    /// A row.
    Row,
}

const fn one_in_twenty() -> f64 {
    0.05
}

impl Kind for Split {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let canonical = settings::canonical::<Settings>(settings)?;
        match canonical.get("eval").and_then(Value::as_f64) {
            Some(eval) if (0.0..=1.0).contains(&eval) => Ok(canonical),
            _ => Err(vec![SettingProblem {
                path: vec!["eval".into()],
                code: "settings::out_of_range",
                message: "`eval` is a share, from 0 to 1".into(),
                label: "not between 0 and 1".into(),
                help: Some("`eval = 0.05` holds out one thread in twenty".into()),
            }]),
        }
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let rows = super::rows::merged(run, run.inputs())?;
        let scope = Digest::of(format!("filter.split {VERSION} {HELD_OUT} {}", run.job.settings).as_bytes());
        let result = map_records::<2, NodeError, _>(run.store, scope, &rows, |line| {
            run.check_cancelled()?;
            Ok(split(&settings, line)?)
        })?;
        let [train, eval] = result.outputs;
        if eval.count == 0 && rows.count > 0 && settings.eval > 0.0 {
            run.warn(format!(
                "no row of {} is held out for evaluation: raise `eval`, choose another `seed`, or add rows",
                rows.count
            ));
        }
        let corrections = result.counts.of(HELD_OUT);
        if corrections > 0 {
            run.warn(format!(
                "{corrections} corrections are held out for evaluation with their threads, so nothing is learnt from \
                 them: another `seed` holds out others, `by = \"row\"` parts them from their threads"
            ));
        }
        let outputs = [("train", train), ("eval", eval)];
        Ok(Outcome {
            outputs: outputs.iter().map(|(name, rows)| ((*name).into(), Artifact::Records(*rows))).collect(),
            fields: outputs.iter().map(|(name, rows)| ((*name).into(), json!(rows.count))).collect(),
            report: outputs
                .iter()
                .map(|(name, rows)| Count { what: format!("rows: {name}"), count: rows.count })
                .collect(),
        })
    }
}

fn split(settings: &Settings, line: &Line<'_>) -> Result<Mapped<2>, crate::record::RecordError> {
    let thread = match settings.by {
        By::Row => line.id().to_owned(),
        By::Thread => match line.thread() {
            Some(thread) if !thread.is_empty() => thread.to_owned(),
            _ => match line.record()? {
                Record::Row(row) if !row.thread.is_empty() => row.thread,
                _ => line.id().to_owned(),
            },
        },
    };
    let hash = Digest::of(format!("{} {thread}", settings.seed).as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&hash.as_bytes()[..8]);
    // 53 bits fill a float's mantissa, so the fraction is below 1.
    let fraction = (u64::from_le_bytes(head) >> 11) as f64 / (1_u64 << 53) as f64;
    let mut mapped = Mapped::default();
    let is_held_out = fraction < settings.eval;
    if is_held_out && line.id().starts_with("correction-") {
        mapped.counts.add(HELD_OUT, 1);
    }
    mapped.rows[usize::from(is_held_out)].push(line.clone().into_owned());
    Ok(mapped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::bench::{Bench, report};
    use crate::record::{Conversation, write};

    fn rows(range: std::ops::Range<usize>) -> Vec<Record> {
        let row =
            |n: usize| Conversation { id: format!("r{n}"), thread: format!("t{}", n / 2), ..Conversation::default() };
        range.map(|n| Record::Row(row(n))).collect()
    }

    #[test]
    fn a_split_is_a_partition_by_thread_that_new_rows_do_not_move() {
        let bench = Bench::new();
        let settings = json!({"eval": 0.2});
        let all = write(&bench.store, rows(0..1_000)).unwrap();
        let outcome = bench.run_on(&Split, &settings, &[("rows", all)]).unwrap();
        let (train, eval) = (bench.read(&outcome, "train"), bench.read(&outcome, "eval"));
        assert_eq!(train.len() + eval.len(), 1_000);
        assert!((150..250).contains(&eval.len()), "{}", eval.len());
        assert_eq!(report(&outcome), [format!("rows: train: {}", train.len()), format!("rows: eval: {}", eval.len())]);
        let thread = |record: &Record| match record {
            Record::Row(row) => row.thread.clone(),
            other => panic!("{other:?}"),
        };
        assert!(eval.iter().all(|held| train.iter().all(|row| thread(row) != thread(held))));

        let more = write(&bench.store, rows(0..1_500)).unwrap();
        let later = bench.run_on(&Split, &settings, &[("rows", more)]).unwrap();
        let held = bench.read(&later, "eval");
        assert!(eval.iter().all(|row| held.contains(row)));
        let cold = Bench::new();
        let same = write(&cold.store, rows(0..1_500)).unwrap();
        assert_eq!(cold.run_on(&Split, &settings, &[("rows", same)]).unwrap(), later);
    }

    #[test]
    fn a_split_that_holds_nothing_out_warns_and_shares_are_between_0_and_1() {
        let bench = Bench::new();
        let one = write(&bench.store, rows(0..1)).unwrap();
        bench.run_on(&Split, &json!({"eval": 0.0001}), &[("rows", one)]).unwrap();
        assert_eq!(bench.events.warnings().len(), 1);
        let problems = Split.canonical(&json!({"eval": 5})).unwrap_err();
        assert_eq!(
            (problems[0].code, problems[0].path.as_slice()),
            ("settings::out_of_range", &["eval".to_owned()][..])
        );
    }

    #[test]
    fn corrections_that_are_held_out_are_told() {
        let bench = Bench::new();
        let correction =
            |id: &str| Record::Row(Conversation { id: id.into(), thread: "o/r#1".into(), ..Conversation::default() });
        let rows = write(&bench.store, ["correction-1", "correction-2", "o/r#1:answer"].map(correction)).unwrap();
        bench.run_on(&Split, &json!({"eval": 0.0}), &[("rows", rows)]).unwrap();
        assert!(bench.events.warnings().is_empty());
        bench.run_on(&Split, &json!({"eval": 1.0}), &[("rows", rows)]).unwrap();
        let warnings = bench.events.warnings();
        let [text] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(text.starts_with("2 corrections are held out"), "{text}");
    }

    #[test]
    fn the_rows_of_version_1_are_pinned() {
        let bench = Bench::new();
        let all = write(&bench.store, rows(0..100)).unwrap();
        let outcome = bench.run_on(&Split, &json!({}), &[("rows", all)]).unwrap();
        assert_eq!(
            Bench::records(&outcome, "eval").root.to_string(),
            "2bd0dcc4f09b4c873ae07ed227d4d45498a5ae5f75560bdbfd32db3d42102dce"
        );
    }
}
