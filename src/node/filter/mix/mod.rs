//! `filter.mix`: how much of each source a dataset has.
//!
//! A source is an input, by its node's name, or the rows whose ids fit a glob. `max` and `share` choose rows by a hash of
//! their ids and the seed, so a row that is added moves few others; `weight` says how often training takes a row. Rows of
//! no source stay as they are.

mod quota;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::quota::{Stock, quotas};
use super::rows;
use crate::node::{JobInput, Kind, KindInfo, NodeError, Outcome, Run, SettingProblem, settings};
use crate::record::{Counts, Mapped, Record, RecordSet, Verdict, map_records, merge, reduce, summarize};
use crate::store::{Digest, RecordsRef};

/// The kind.
#[derive(Debug)]
pub(super) struct Mix;

/// History: 1, the first.
const VERSION: u32 = 1;

static INFO: KindInfo = rows::info("mix", VERSION, "shares, caps and weights of the sources of a dataset");

/// Settings of `filter.mix`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// By the name of an input, or a glob of rows' ids in which `*` stands for any characters: what the source may have. An
    /// input's name comes before globs, a longer glob before a shorter one; `"*"` has the rest.
    sources: BTreeMap<String, Source>,
    /// Another number chooses other rows.
    #[serde(default)]
    seed: u64,
}

/// What a source may have.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Source {
    /// The most rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    /// The largest share of all rows that stay, from above 0 to 1; counted in rows, before weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    share: Option<f64>,
    /// How often training takes a row of this source, from above 0 to 100; multiplied with the row's own weight. With 2.5 a
    /// row comes twice in each epoch, and every other one once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    weight: Option<f64>,
}

/// What can be wrong with a mix.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum MixError {
    #[error("no mix of {rows} rows keeps every source within its `share`")]
    #[diagnostic(
        code(filter::mix::shares),
        help("every row is of a source with a `share`, and they sum to less than 1: raise one, or leave one out")
    )]
    Shares { rows: u64 },
}

impl Kind for Mix {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = settings::canonical::<Settings>(settings)?;
        let mut problems = Vec::new();
        for (name, source) in value["sources"].as_object().into_iter().flatten() {
            let number = |key: &str| source.get(key).and_then(Value::as_f64);
            if number("share").is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
                problems.push(settings::out_of_range(&["sources", name, "share"], "a share above 0 and up to 1"));
            }
            if number("weight").is_some_and(|weight| !(weight > 0.0 && weight <= 100.0)) {
                problems.push(settings::out_of_range(&["sources", name, "weight"], "a number above 0 and up to 100"));
            }
            problems.extend(settings::glob_problem(vec!["sources".into(), name.clone()], name));
        }
        settings::accepted(value, problems)
    }

    fn reads_input_names(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let sources = Sources::of(run, &settings)?;
        let mut inputs = Vec::new();
        for input in run.inputs() {
            inputs.push(sources.sorted(run, input, settings.seed)?);
        }
        let mut counts = Counts::default();
        let kept = sources.chosen(run, &inputs, &mut counts)?;
        let mut outputs: [Vec<(&str, RecordsRef)>; 2] = Default::default();
        for (input, verdicts) in inputs.iter().zip(&kept) {
            let name = format!("filter.mix {VERSION} {}", input.node);
            let [rows, dropped] = reduce::<2>(run.store, &name, &input.set, verdicts, |row| row)?;
            outputs[0].push((input.node, sources.weighted(run, input.node, &rows)?));
            outputs[1].push((input.node, dropped));
        }
        let [rows, dropped] = outputs.map(|sets| merge(run.store, &sets));
        Ok(rows::outcome([rows?, dropped?], &counts))
    }
}

/// The sources, those of globs from the longest on.
struct Sources<'s> {
    all: Vec<(&'s str, &'s Source, GlobMatcher)>,
}

/// One input, each row with its source's place among [`Sources`] and its lot.
struct Sorted<'r> {
    node: &'r str,
    set: RecordSet<'r>,
    rows: Vec<Vec<(u32, u64)>>,
}

/// The place of rows of no source.
const NONE: u32 = u32::MAX;

impl<'s> Sources<'s> {
    fn of(run: &Run<'_>, settings: &'s Settings) -> Result<Self, NodeError> {
        let mut all = Vec::new();
        for (name, source) in &settings.sources {
            let glob = Glob::new(name).map_err(|error| run.bad_job(error.to_string()))?;
            all.push((name.as_str(), source, glob.compile_matcher()));
        }
        all.sort_by_key(|(name, ..)| std::cmp::Reverse(name.len()));
        Ok(Self { all })
    }

    /// Returns the place of the source that a row of an input is of.
    fn place(&self, node: &str, id: &str) -> u32 {
        let by_name = self.all.iter().position(|(name, ..)| *name == node);
        by_name.or_else(|| self.all.iter().position(|(.., glob)| glob.is_match(id))).map_or(NONE, |place| place as u32)
    }

    /// Gives each row of an input its source and its lot.
    fn sorted<'r>(&self, run: &'r Run<'_>, input: &'r JobInput, seed: u64) -> Result<Sorted<'r>, NodeError> {
        let set = RecordSet::open(run.store, &rows::input(run, input)?)?;
        let names: Vec<&str> = self.all.iter().map(|(name, ..)| *name).collect();
        let scope = format!("filter.mix lots {VERSION} {seed} {names:?} {}", input.node);
        let rows = summarize(run.store, Digest::of(scope.as_bytes()), &set, |line| {
            run.check_cancelled()?;
            let hash = Digest::of(format!("{seed} {}", line.id()).as_bytes());
            let mut head = [0; 8];
            head.copy_from_slice(&hash.as_bytes()[..8]);
            Ok::<_, NodeError>((self.place(&input.node, line.id()), u64::from_le_bytes(head)))
        })?;
        Ok(Sorted { node: &input.node, set, rows })
    }

    /// Returns which rows stay, by input and chunk.
    fn chosen(
        &self,
        run: &Run<'_>,
        inputs: &[Sorted<'_>],
        counts: &mut Counts,
    ) -> Result<Vec<Vec<Vec<Verdict>>>, NodeError> {
        // Lots by source, the last for rows of none.
        let mut lots: Vec<Vec<(u64, usize, usize, usize)>> = vec![Vec::new(); self.all.len() + 1];
        for (n, input) in inputs.iter().enumerate() {
            for (chunk, rows) in input.rows.iter().enumerate() {
                for (at, (source, lot)) in rows.iter().enumerate() {
                    lots[(*source as usize).min(self.all.len())].push((*lot, n, chunk, at));
                }
            }
        }
        let stock = |(n, lots): (usize, &Vec<_>)| {
            let source = self.all.get(n).map(|(_, source, _)| *source);
            let max = source.and_then(|source| source.max).unwrap_or(u64::MAX);
            Stock { rows: max.min(lots.len() as u64), share: source.and_then(|source| source.share) }
        };
        let stocks: Vec<Stock> = lots.iter().enumerate().map(stock).collect();
        let rows = lots.iter().map(|lots| lots.len() as u64).sum();
        let quotas = quotas(&stocks).ok_or(MixError::Shares { rows })?;
        let kept = |input: &Sorted<'_>| input.rows.iter().map(|rows| vec![Verdict::Kept; rows.len()]).collect();
        let mut verdicts: Vec<Vec<Vec<Verdict>>> = inputs.iter().map(kept).collect();
        for (n, lots) in lots.iter_mut().enumerate() {
            lots.sort_unstable();
            let name = self.all.get(n).map_or("rows of no source", |(name, ..)| name);
            if lots.is_empty() && n < self.all.len() {
                run.warn(format!("no row is of the source `{name}`: it is neither an input's name nor fits an id"));
            }
            let (capped, kept) = (stocks[n].rows, quotas[n]);
            counts.add(format!("{name}: read"), lots.len() as u64);
            counts.add(format!("{name}: rows"), kept);
            counts.add(format!("{name}: dropped row: over its `max`"), lots.len() as u64 - capped);
            counts.add(format!("{name}: dropped row: over its `share`"), capped - kept);
            for (_, input, chunk, at) in &lots[kept as usize..] {
                verdicts[*input][*chunk][*at] = Verdict::Dropped;
            }
        }
        Ok(verdicts)
    }

    /// Gives the rows of an input their sources' weights.
    fn weighted(&self, run: &Run<'_>, node: &str, rows: &RecordsRef) -> Result<RecordsRef, NodeError> {
        let weights: Vec<(&str, Option<f64>)> =
            self.all.iter().map(|(name, source, _)| (*name, source.weight)).collect();
        if weights.iter().all(|(_, weight)| weight.is_none()) {
            return Ok(*rows);
        }
        let scope = Digest::of(format!("filter.mix weights {VERSION} {weights:?} {node}").as_bytes());
        let result = map_records::<1, NodeError, _>(run.store, scope, rows, |line| {
            run.check_cancelled()?;
            let mut mapped = Mapped::default();
            let weight = self.all.get(self.place(node, line.id()) as usize).and_then(|(_, source, _)| source.weight);
            match weight {
                Some(weight) => {
                    let mut row = rows::row(run, line)?;
                    row.weight = Some(row.weight.unwrap_or(1.0) * weight);
                    mapped.push(0, &Record::Row(row))?;
                }
                None => mapped.rows[0].push(line.clone().into_owned()),
            }
            Ok::<_, NodeError>(mapped)
        })?;
        Ok(result.outputs[0])
    }
}
