//! `filter.synthesize`: questions and answers that a model writes from documents and threads, through an endpoint that
//! speaks `OpenAI`'s chat completions, such as a llama.cpp server on this machine.
//!
//! Every answer is kept under the digest of its request, so a run that stopped goes on where it was, and an edited record
//! costs one request. What the model writes is taken apart strictly: what is cut, empty or no JSON of pairs is counted
//! and never becomes a row. Two endpoints answer differently, so the kind promises no bytes; a kept answer stays.

mod answer;
mod error;
mod prompt;
mod setup;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use error::{SynthesizeError, failure};
use setup::Settings;

use super::rows;
use crate::node::endpoint::{Endpoint, EndpointError, EndpointSettings, Request};
use crate::node::{
    Content, Count, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run, SettingProblem, Weight,
};
use crate::record::{Conversation, Line, Mapped, Record, RecordSet, Role, SourceRef, Turn, map_records};
use crate::store::{Artifact, Digest, RecordsRef};

/// The kind.
#[derive(Debug)]
pub(super) struct Synthesize;

/// History: 1, the first. 2, a record's text stands between fences that it does not have, what looks like a placeholder in a
/// title stays, a title is one line, and an answer with several JSON texts is none.
const VERSION: u32 = 2;
/// Records whose requests are in memory at a time, for each request that is under way.
const BATCH: usize = 64;

static INFO: KindInfo = KindInfo {
    family: Family::Filter,
    name: "synthesize",
    version: VERSION,
    summary: "questions and answers that a model behind an OpenAI-compatible endpoint writes from documents and threads",
    inputs: &[Content::Records],
    outputs: &[OutputInfo { name: "rows", content: Content::Rows }],
    fields: &["records", "rows"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &["system"],
    pinned: false,
    effect: false,
};

impl Kind for Synthesize {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        setup::canonical(settings)
    }

    /// Where the endpoint is says nothing of what answers there: `model` does.
    fn outside_key(&self) -> &'static [&'static str] {
        EndpointSettings::OUTSIDE_KEY
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let records = rows::merged(run, run.inputs())?;
        let endpoint = Endpoint::new(run, &settings.endpoint, "synthesize").map_err(|error| failure(error.into()))?;
        let work = Work { run, endpoint, settings: &settings };
        work.ask_all(&records).map_err(failure)?;
        let scope = Digest::of(format!("filter.synthesize {VERSION} {}", settings.key()).as_bytes());
        let result = map_records::<1, SynthesizeError, _>(run.store, scope, &records, |line| work.rows(line));
        let result = result.map_err(failure)?;
        let [rows] = result.outputs;
        if rows.count == 0 && records.count > 0 {
            run.warn("the model wrote no pair that can be used: `tunesmith show` counts why");
        }
        Ok(Outcome {
            outputs: BTreeMap::from([("rows".into(), Artifact::Records(rows))]),
            fields: BTreeMap::from([("records".into(), json!(records.count)), ("rows".into(), json!(rows.count))]),
            report: Count::all(&result.counts),
        })
    }
}

/// One run.
struct Work<'a, 'r> {
    run: &'a Run<'r>,
    endpoint: Endpoint<'a, 'r>,
    settings: &'a Settings,
}

impl Work<'_, '_> {
    /// Asks for every record that has no kept answer, as many at a time as `parallel` says.
    fn ask_all(&self, records: &RecordsRef) -> Result<(), SynthesizeError> {
        let threads = self.settings.endpoint.parallel;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(EndpointError::Threads)?;
        let (done, mut asked) = (AtomicU64::new(0), 0);
        let set = RecordSet::open(self.run.store, records)?;
        let mut lines = set.lines();
        loop {
            let batch = lines.by_ref().take(threads * BATCH).collect::<Result<Vec<_>, _>>()?;
            if batch.is_empty() {
                break;
            }
            let mut requests: Vec<Request> = Vec::new();
            for line in &batch {
                requests.extend(prompt::request(&line.record()?, self.settings).ok().map(|(request, _)| request));
            }
            done.fetch_add((batch.len() - requests.len()) as u64, Ordering::Relaxed);
            asked += self.endpoint.ask_all(&pool, &requests, |now| {
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                self.run.progress(done, Some(records.count), "records", &format!("{} asked", asked + now));
            })?;
        }
        self.run.note(format!("{asked} requests for {} records", records.count));
        Ok(())
    }

    /// Makes the rows of a record of what the endpoint answered.
    fn rows(&self, line: &Line<'_>) -> Result<Mapped, SynthesizeError> {
        let mut mapped = Mapped::default();
        let record = line.record()?;
        let (request, is_cut) = match prompt::request(&record, self.settings) {
            Ok(request) => request,
            Err(reason) => {
                mapped.counts.add(format!("dropped {reason}"), 1);
                return Ok(mapped);
            }
        };
        mapped.counts.add("text cut between lines: longer than max-text-characters", u64::from(is_cut));
        let kept = self.endpoint.get(&request)?;
        let pairs = answer::pairs(&kept, self.settings.pairs.per_record, &mut mapped.counts);
        let source = SourceRef { id: line.id().to_owned(), digest: line.digest(), comments: Vec::new() };
        for (number, pair) in pairs.into_iter().enumerate() {
            let system = self.settings.pairs.system.iter().map(|text| Turn { role: Role::System, text: text.clone() });
            let spoken = [(Role::User, pair.question), (Role::Assistant, pair.answer)];
            let turns = system.chain(spoken.map(|(role, text)| Turn { role, text })).collect();
            let row = Conversation {
                id: format!("{}:synthetic-{}", line.id(), number + 1),
                thread: line.id().to_owned(),
                turns,
                sources: vec![source.clone()],
                weight: None,
            };
            mapped.push(0, &Record::Row(row))?;
        }
        Ok(mapped)
    }
}
