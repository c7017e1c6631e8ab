//! Rows that stand for all of a training's, so that a forecast need not read them all as tokens.

use std::borrow::Cow;

use super::super::inputs::{Reader, Row};
use super::super::warm::Warm;
use crate::node::{JobInput, NodeError, Run};
use crate::record::{Line, Record, RecordSet};
use crate::store::Artifact;

/// Rows of which a forecast reads the tokens, at the least, where there are more.
const SAMPLED: usize = 200;
/// The longest of all rows that it reads beside them, since memory depends on these.
const LONGEST: usize = 8;

/// Rows that stand for all.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Sample<'a> {
    pub(super) rows: Cow<'a, [Row]>,
    /// Some of the longest, which do not count beside their length.
    pub(super) longest: Vec<Row>,
    /// How many rows there are for each of `rows`, by their weights.
    pub(super) times: f64,
    /// Tokens of all rows.
    pub(super) tokens: f64,
}

impl<'a> Sample<'a> {
    /// Takes all rows.
    pub(in super::super) fn all(rows: &'a [Row]) -> Self {
        let tokens = tokens(rows) as f64;
        Self { rows: Cow::Borrowed(rows), longest: Vec::new(), times: 1.0, tokens }
    }

    /// Reads some rows of inputs, the longest among them. With a warm start, rows that it has learnt are drawn apart from
    /// those that it has not, however few these are.
    pub(super) fn of(
        run: &Run<'_>,
        reader: &Reader<'_>,
        inputs: &[&JobInput],
        warm: Option<&Warm>,
    ) -> Result<Self, NodeError> {
        let (mut new, mut learnt, mut longest) = (Drawn::default(), Drawn::default(), Longest::default());
        for input in inputs {
            let Artifact::Records(records) = &input.artifact else { continue };
            for line in RecordSet::open(run.store, records)?.lines() {
                let line = line?;
                longest.offer(&line)?;
                let is_learnt = warm.is_some_and(|warm| warm.has_learnt(line.id(), &line.digest()));
                if is_learnt { learnt.offer(&line) } else { new.offer(&line) }?;
            }
        }
        let read = |records: &[Record]| -> Result<Vec<Row>, NodeError> {
            let rows = records.iter().map(|record| row(reader, record)).filter_map(Result::transpose);
            rows.collect()
        };
        let replay = warm.map_or(1.0, |warm| warm.replay);
        let parts = [(new.times(), read(&new.kept)?), (learnt.times() * replay, read(&learnt.kept)?)];
        let all_tokens = new.times() * tokens(&parts[0].1) as f64 + learnt.times() * tokens(&parts[1].1) as f64;
        if warm.is_some() && parts[0].1.iter().all(|row| row.weight == 0.0) {
            // A warm start without a new row trains nothing.
            return Ok(Self { tokens: all_tokens, ..Self::default() });
        }
        // Rows of the part that stands for the most count once.
        let times = parts.iter().filter(|(_, rows)| !rows.is_empty()).map(|(times, _)| *times).fold(0.0, f64::max);
        let weighed = |(factor, rows): (f64, Vec<Row>)| {
            rows.into_iter().map(move |row| Row { weight: row.weight * factor / times, ..row })
        };
        Ok(Self {
            rows: parts.into_iter().flat_map(weighed).collect(),
            longest: read(&longest.records())?,
            times,
            tokens: all_tokens,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn tokens(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.tokens.ids.len()).sum()
}

fn row(reader: &Reader<'_>, record: &Record) -> Result<Option<Row>, NodeError> {
    let Some(conversation) = record.conversation() else { return Ok(None) };
    Ok(reader.row(conversation)?.0)
}

/// Records drawn from many that come one after the other: every so many, which is twice as many whenever twice the wanted
/// number is reached.
#[derive(Default)]
struct Drawn {
    kept: Vec<Record>,
    every: usize,
    seen: usize,
}

impl Drawn {
    fn offer(&mut self, line: &Line<'_>) -> Result<(), NodeError> {
        self.every = self.every.max(1);
        if self.seen.is_multiple_of(self.every) {
            self.kept.push(line.record()?);
        }
        self.seen += 1;
        if self.kept.len() == 2 * SAMPLED {
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
        Ok(())
    }

    /// Returns how many there are for each that was kept.
    fn times(&self) -> f64 {
        if self.kept.is_empty() { 0.0 } else { self.seen as f64 / self.kept.len() as f64 }
    }
}

/// The longest records by their bytes.
#[derive(Default)]
struct Longest(Vec<(usize, Record)>);

impl Longest {
    fn offer(&mut self, line: &Line<'_>) -> Result<(), NodeError> {
        let length = line.json().len();
        if self.0.len() < LONGEST || self.0.iter().any(|(other, _)| *other < length) {
            self.0.push((length, line.record()?));
            self.0.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
            self.0.truncate(LONGEST);
        }
        Ok(())
    }

    fn records(self) -> Vec<Record> {
        self.0.into_iter().map(|(_, record)| record).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::{Method, inputs, training};
    use super::*;
    use crate::model::weights::Base;
    use crate::node::bench::Bench;
    use crate::node::train::lora::LORA;
    use crate::node::train::tests::{grant, model, row, rows, settings, with_grant};
    use crate::record::Conversation;

    #[test]
    fn as_many_as_wanted_are_drawn_evenly_from_any_number() {
        for count in [0, 1, 199, 200, 399, 400, 401, 10_000] {
            let mut drawn = Drawn::default();
            let record = row(0, "text");
            let line = Line::of(&record).unwrap();
            (0..count).for_each(|_| drawn.offer(&line).unwrap());
            assert!(drawn.kept.len() >= count.min(SAMPLED) && drawn.kept.len() < 2 * SAMPLED, "{count}");
            assert!((drawn.times() * drawn.kept.len() as f64 - count as f64).abs() < 1e-6, "{count}");
        }
    }

    #[test]
    fn rows_of_which_nothing_is_trained_are_not_counted() {
        let bench = Bench::new();
        let given = (0..900).map(|index| match row(index, "the one after the one before") {
            Record::Row(conversation) if index % 3 == 0 => {
                Record::Row(Conversation { turns: conversation.turns[..1].to_vec(), ..conversation })
            }
            row => row,
        });
        let inputs = vec![rows(&bench, given.collect()), model(&bench)];
        let asked = settings(&LORA, &json!({"untrained-rows": "drop"}));
        with_grant(&bench, (&LORA, &asked), inputs, grant(2, None), |run| {
            let settings = training::settings(run, Method::Lora).unwrap();
            let base = Base::open(&run.weight_files().unwrap()).unwrap();
            let reader = Reader::new(&base, &settings).unwrap();
            let sample = Sample::of(run, &reader, &inputs::parted(run, &settings).unwrap().0, None).unwrap();
            let counted = sample.times * sample.rows.iter().map(|row| row.weight).sum::<f64>();
            assert!((590.0..610.0).contains(&counted), "{counted}");
            assert!(sample.rows.len() < 300, "{}", sample.rows.len());
            let all = inputs::read(run, &reader, None).unwrap().rows;
            let tokens = tokens(&all) as f64;
            assert!((sample.tokens / tokens - 1.0).abs() < 0.05, "{} of {tokens}", sample.tokens);
        });
    }
}
