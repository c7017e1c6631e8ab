//! `filter.dedup`: of rows that say the same, one stays.
//!
//! Rows are equal when they have the same words in the same order, whatever case, punctuation, markup and spacing. They
//! are near when the runs of words that both have are at least `threshold` of all runs that one of them has (Jaccard
//! similarity of word shingles). `filter.conversations` drops rows that are equal to the letter, since its rows need an id
//! each and corrections must win; what is alike is decided here alone.

mod groups;
mod sketch;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::groups::{Buckets, by_preference, drop_equal, drop_near};
use self::sketch::{Sketch, shingles};
use super::rows;
use crate::node::{Kind, KindInfo, NodeError, Outcome, Run, SettingProblem, settings};
use crate::record::{Chunk, Counts, RecordSet, Verdict, reduce, summarize};
use crate::store::Digest;

/// The kind.
#[derive(Debug)]
pub(super) struct Dedup;

/// History: 1, the first.
const VERSION: u32 = 1;

/// Raised when [`Sketch`] is made or written in another way.
const SKETCH: u32 = 1;

static INFO: KindInfo =
    rows::info("dedup", VERSION, "one row of those that say the same: equal words, or nearly the same");

/// Settings of `filter.dedup`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// What is compared: all turns but the system prompt, the first question, or the answers.
    #[serde(default)]
    by: By,
    /// The similarity from which rows are near duplicates, from 0.3 to 1; with 1 only rows of equal words are dropped.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 0.3, max = 1.0))]
    threshold: f64,
    /// How many words in a row make a shingle: more of them make small changes count more.
    #[serde(default = "default_shingle")]
    #[schemars(range(min = 1, max = 32))]
    shingle_words: usize,
    /// Globs of ids of rows that stay before others, the most important first. Among the rest the row with the longer
    /// answer stays, then the one whose id comes first. By default corrections come first.
    #[serde(default = "corrections")]
    prefer: Vec<String>,
}

/// What is compared of two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum By {
    /// All turns but the system prompt.
    #[default]
    Conversation,
    /// The first question.
    Question,
    /// The answers.
    Answer,
}

const fn default_threshold() -> f64 {
    0.8
}

const fn default_shingle() -> usize {
    3
}

fn corrections() -> Vec<String> {
    vec!["correction-*".into()]
}

impl Kind for Dedup {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = settings::canonical::<Settings>(settings)?;
        let mut problems = Vec::new();
        if value["threshold"].as_f64().is_none_or(|threshold| !(0.3..=1.0).contains(&threshold)) {
            problems.push(settings::out_of_range(&["threshold"], "a share from 0.3 to 1; 0.8 is the default"));
        }
        if value["shingle-words"].as_u64().is_none_or(|words| !(1..=32).contains(&words)) {
            problems.push(settings::out_of_range(&["shingle-words"], "a whole number from 1 to 32; 3 is the default"));
        }
        problems.extend(settings::glob_problems("prefer", &value["prefer"]));
        settings::accepted(value, problems)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let input = rows::merged(run, run.inputs())?;
        let set = RecordSet::open(run.store, &input)?;
        let preferred = rows::globs(run, &settings.prefer, |_| {})?;
        let Settings { by, shingle_words, prefer, .. } = &settings;
        let scope = Digest::of(format!("filter.dedup sketches {SKETCH} {by:?} {shingle_words} {prefer:?}").as_bytes());
        let sketches = summarize(run.store, scope, &set, |line| {
            run.check_cancelled()?;
            Ok::<_, NodeError>(Sketch::of(&rows::row(run, line)?, &settings, &preferred))
        })?;
        let mut counts = Counts::default();
        let verdicts = decided(run, &set, &sketches, &settings, &mut counts)?;
        let name = format!("filter.dedup {VERSION} {}", run.job.settings);
        Ok(rows::outcome(reduce::<2>(run.store, &name, &set, &verdicts, |row| row)?, &counts))
    }
}

/// Returns the verdicts by chunk.
fn decided(
    run: &Run<'_>,
    set: &RecordSet<'_>,
    sketches: &[Vec<Sketch>],
    settings: &Settings,
    counts: &mut Counts,
) -> Result<Vec<Vec<Verdict>>, NodeError> {
    let all: Vec<&Sketch> = sketches.iter().flatten().collect();
    let order = by_preference(&all);
    let mut verdicts = vec![Verdict::Kept; all.len()];
    drop_equal(&all, &order, &mut verdicts, counts);
    if settings.threshold < 1.0 {
        let buckets = Buckets::of(&all, &verdicts, settings.threshold);
        run.check_cancelled()?;
        let shingles = with_company(run, set, sketches, &buckets, settings)?;
        drop_near(&all, &order, &buckets, &shingles, settings.threshold, &mut verdicts, counts);
    }
    let mut verdicts = verdicts.into_iter();
    Ok(sketches.iter().map(|chunk| verdicts.by_ref().take(chunk.len()).collect()).collect())
}

/// Returns the shingles of the rows that share a bucket, by place in the set. Only chunks with such a row are read.
fn with_company(
    run: &Run<'_>,
    set: &RecordSet<'_>,
    sketches: &[Vec<Sketch>],
    buckets: &Buckets,
    settings: &Settings,
) -> Result<BTreeMap<usize, Vec<u32>>, NodeError> {
    let starts = sketches.iter().scan(0, |start, chunk| {
        let here = *start;
        *start += chunk.len();
        Some((here, chunk.len()))
    });
    let starts: Vec<(usize, usize)> = starts.collect();
    let of_chunk = |(chunk, (start, count)): (&_, &(usize, usize))| {
        run.check_cancelled()?;
        let mut shingled = Vec::new();
        if (*start..start + count).any(|row| buckets.has_company(row)) {
            for (at, line) in Chunk::read(run.store, chunk)?.lines()?.iter().enumerate() {
                if buckets.has_company(start + at) {
                    shingled.push((start + at, shingles(&rows::row(run, line)?, settings)));
                }
            }
        }
        Ok(shingled)
    };
    let shingled = set.chunks().par_iter().zip(&starts).map(of_chunk);
    let shingled = shingled.collect::<Result<Vec<Vec<_>>, NodeError>>()?;
    Ok(shingled.into_iter().flatten().collect())
}
