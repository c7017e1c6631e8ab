//! Times near-duplicate finding and counts what it finds: `cargo bench --bench dedup -- [DOCUMENTS]`.
//!
//! Makes DOCUMENTS (100,000) answers of about 100 words, a tenth of them copies of others with words changed so that their
//! true Jaccard similarity is at least 0.8, and a tenth at most 0.6; runs `filter.dedup` with threshold 0.7 from nothing,
//! unchanged, and with one document edited. Prints one JSON object a line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod quiet;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::json;
use tunesmith::node::{self, Cancel, Device, Family, Grant, InputRole, JOB_FORMAT, Job, JobInput, Outcome, Run};
use tunesmith::record::{Conversation, Record, RecordSet, Role, Turn, write};
use tunesmith::store::{Artifact, Digest, RecordsRef, Store};

use quiet::Quiet;

/// Words of a document; a shingle has [`SHINGLE`].
const WORDS: usize = 100;
const SHINGLE: usize = 3;

/// Numbers that chance could have drawn, the same in each run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % limit as u64) as usize
    }

    /// A word of a vocabulary in which some are common, as in a language.
    fn word(&mut self) -> String {
        let rank = self.below(20_000).min(self.below(20_000)).min(self.below(20_000));
        format!("w{rank}")
    }
}

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let (documents, near, far) = corpus(count);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cache"), None).unwrap();
    for (pass, edited) in [("first", None), ("unchanged", None), ("one edited", Some(count / 2))] {
        let rows = rows(&store, &documents, edited);
        store.flush().unwrap();
        let start = Instant::now();
        let outcome = run(&store, rows);
        let seconds = start.elapsed().as_secs_f64();
        let dropped = dropped(&store, &outcome);
        let share = |planted: &BTreeSet<String>| {
            planted.iter().filter(|id| dropped.contains(*id)).count() as f64 / planted.len() as f64
        };
        println!(
            "{}",
            json!({
                "pass": pass, "documents": documents.len(), "seconds": seconds, "dropped": dropped.len(),
                "pairs-from-0.8": near.len(), "found": share(&near), "pairs-to-0.6": far.len(), "wrongly": share(&far),
            })
        );
    }
}

/// Returns documents by id, and the ids of copies that are near and far.
fn corpus(count: usize) -> (BTreeMap<String, Vec<String>>, BTreeSet<String>, BTreeSet<String>) {
    let mut draw = Draw(42);
    let (mut documents, mut near, mut far) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for n in 0..count {
        let id = format!("d{n:07}");
        let kind = n % 10;
        let document: Vec<String> = if kind < 2 && n >= 10 {
            // The copy of a document before it that is no copy.
            let original: &Vec<String> = &documents[&format!("d{:07}", n - n % 10 - 5)];
            let mut copy = original.clone();
            let far_away = kind == 1;
            while (far_away && similarity(original, &copy) > 0.6) || (!far_away && copy == *original) {
                let at = draw.below(WORDS);
                copy[at] = draw.word();
            }
            // More changes, as long as the pair stays at 0.8 or above.
            for _ in 0..draw.below(6) {
                let mut more = copy.clone();
                more[draw.below(WORDS)] = draw.word();
                if far_away || similarity(original, &more) >= 0.8 {
                    copy = more;
                }
            }
            (if far_away { &mut far } else { &mut near }).insert(id.clone());
            copy
        } else {
            (0..WORDS).map(|_| draw.word()).collect()
        };
        documents.insert(id, document);
    }
    (documents, near, far)
}

/// Returns the true Jaccard similarity of two documents' shingles.
fn similarity(a: &[String], b: &[String]) -> f64 {
    let a: BTreeSet<&[String]> = a.windows(SHINGLE).collect();
    let b: BTreeSet<&[String]> = b.windows(SHINGLE).collect();
    a.intersection(&b).count() as f64 / a.union(&b).count() as f64
}

fn rows(store: &Store, documents: &BTreeMap<String, Vec<String>>, edited: Option<usize>) -> RecordsRef {
    let rows = documents.iter().enumerate().map(|(n, (id, words))| {
        let mut text = words.join(" ");
        if edited == Some(n) {
            text.push_str(" edited");
        }
        let turn = |role, text: String| Turn { role, text };
        Record::Row(Conversation {
            id: id.clone(),
            thread: id.clone(),
            turns: vec![turn(Role::User, "q".into()), turn(Role::Assistant, text)],
            ..Conversation::default()
        })
    });
    write(store, rows).unwrap()
}

fn run(store: &Store, rows: RecordsRef) -> Outcome {
    let kind = node::find(Family::Filter, "dedup").unwrap();
    // Originals stay before their copies, whatever the lengths of their answers.
    let settings = json!({"by": "answer", "threshold": 0.7, "shingle-words": SHINGLE, "prefer": ["d??????[2-9]"]});
    let input = JobInput {
        role: InputRole::From,
        node: "rows".into(),
        output: "rows".into(),
        artifact: Artifact::Records(rows),
        fields: BTreeMap::new(),
    };
    let job = Job {
        format: JOB_FORMAT,
        node: "bench".into(),
        kind: "filter.dedup".into(),
        kind_version: kind.info().version,
        key: Digest::of(b""),
        settings: kind.canonical(&settings).unwrap(),
        inputs: vec![input],
        files: Vec::new(),
        store: store.root().to_owned(),
        remote: None,
        rehearsal: None,
        offline: false,
        scratch: store.root().join("scratch"),
        previous: BTreeMap::new(),
        grant: Grant { threads: 2, memory: None, device: Device::Cpu },
        outside: None,
    };
    let cancel = Cancel::default();
    kind.run(&Run { job: &job, store, events: &Quiet, cancel: &cancel, secrets: &Quiet }).unwrap()
}

fn dropped(store: &Store, outcome: &Outcome) -> BTreeSet<String> {
    let Artifact::Records(dropped) = &outcome.outputs["dropped"] else { panic!("rows") };
    let set = RecordSet::open(store, dropped).unwrap();
    set.lines().map(|line| line.unwrap().id().to_owned()).collect()
}
