//! The law of plans: a build runs what the plan says, and what comes out is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;

use super::space::{Ask, Space};
use crate::engine::{Plan, Planned};
use crate::graph::Graph;
use crate::store::Digest;

/// A pipeline of at most twelve nodes: sources first, then joins that read nodes before them.
#[derive(Clone, Debug)]
struct Pipeline {
    /// The content of each source's file.
    files: Vec<String>,
    joins: Vec<Join>,
}

#[derive(Clone, Debug)]
struct Join {
    from: BTreeSet<usize>,
    suffix: u8,
    /// How many bytes it lets through: what makes early cutoff happen.
    cut: usize,
    heavy: bool,
}

/// One thing that a user does.
#[derive(Clone, Debug)]
enum Step {
    File { at: prop::sample::Index, text: u8, padded: bool },
    Suffix { at: prop::sample::Index, suffix: u8 },
    Build { target: Option<prop::sample::Index>, force: Option<prop::sample::Index> },
}

fn pipeline() -> impl Strategy<Value = Pipeline> {
    let files = prop::collection::vec((0..3u8).prop_map(|text| text.to_string()), 1..4);
    let join =
        (prop::collection::vec(any::<prop::sample::Index>(), 1..4), 0..3u8, 0..4usize, prop::bool::weighted(0.2));
    (files, prop::collection::vec(join, 0..9)).prop_map(|(files, joins)| {
        let count = files.len();
        let joins = joins.into_iter().enumerate().map(|(at, (from, suffix, cut, heavy))| Join {
            from: from.iter().map(|index| index.index(count + at)).collect(),
            suffix,
            cut,
            heavy,
        });
        Pipeline { files, joins: joins.collect() }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 0..3u8, any::<bool>()).prop_map(|(at, text, padded)| Step::File { at, text, padded }),
        (index(), 0..3u8).prop_map(|(at, suffix)| Step::Suffix { at, suffix }),
        (prop::option::of(index()), prop::option::weighted(0.2, index()))
            .prop_map(|(target, force)| Step::Build { target, force }),
    ]
}

impl Pipeline {
    fn len(&self) -> usize {
        self.files.len() + self.joins.len()
    }

    fn write(&self, space: &Space) {
        let mut text = String::new();
        for (n, file) in self.files.iter().enumerate() {
            writeln!(text, "[source.n{n}]\ntype = \"text\"\npath = \"{n}.txt\"").unwrap();
            let path = format!("tree/{n}.txt");
            if !space.path(&path).exists() || space.read(&path) != *file {
                space.write(&path, file);
            }
        }
        for (n, join) in self.joins.iter().enumerate() {
            let from: Vec<String> = join.from.iter().map(|from| format!("\"n{from}\"")).collect();
            let (family, kind) = if join.heavy { ("train", "brew") } else { ("filter", "join") };
            let (name, from) = (n + self.files.len(), from.join(", "));
            writeln!(text, "[{family}.n{name}]\ntype = \"{kind}\"\nfrom = [{from}]").unwrap();
            writeln!(text, "suffix = \"{}\"\ncut = {}", join.suffix, join.cut).unwrap();
        }
        space.manifest(&text);
    }

    /// Returns what each node must give, worked out without an engine.
    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.files.iter().map(|file| file.trim_end().to_owned()).collect();
        for join in &self.joins {
            let mut text: String = join.from.iter().map(|from| texts[*from].as_str()).collect();
            text += &join.suffix.to_string();
            text.truncate(join.cut);
            texts.push(text);
        }
        texts
    }

    fn apply(&mut self, step: &Step) -> Option<Ask> {
        let count = self.len();
        match step {
            Step::File { at, text, padded } => {
                let at = at.index(self.files.len());
                self.files[at] = format!("{text}{}", if *padded { "\n" } else { "" });
            }
            Step::Suffix { at, suffix } if !self.joins.is_empty() => {
                let at = at.index(self.joins.len());
                self.joins[at].suffix = *suffix;
            }
            Step::Suffix { .. } => {}
            Step::Build { target, force } => {
                let name = |index: &prop::sample::Index| format!("n{}", index.index(count));
                let mut ask = Ask { targets: target.iter().map(name).collect(), ..Ask::default() };
                ask.mode.force = force.iter().map(name).collect();
                return Some(ask);
            }
        }
        None
    }
}

/// What a plan says about each node.
#[derive(Debug, PartialEq)]
enum Word {
    Fresh(Digest),
    Run,
    Perhaps,
}

fn words(graph: &Graph, plan: Plan) -> BTreeMap<String, Word> {
    let word = |planned| match planned {
        Planned::Fresh(known) => Word::Fresh(known.key),
        Planned::Run(..) => Word::Run,
        Planned::Perhaps(_) => Word::Perhaps,
        other => panic!("{other:?}"),
    };
    plan.nodes.into_iter().map(|(index, planned)| (graph[index].name.clone(), word(planned))).collect()
}

/// Plans, builds, and compares; `keys` are all keys that have a result.
fn check(space: &Space, pipeline: &Pipeline, ask: &Ask, keys: &mut BTreeSet<Digest>) -> Result<(), TestCaseError> {
    let before = space.store().stat().unwrap();
    let plan = space.plan(ask, words);
    prop_assert_eq!(&space.store().stat().unwrap(), &before, "a plan writes no result");
    prop_assert!(space.notes().is_empty(), "a plan runs nothing");
    let built = space.build_with(ask);
    prop_assert!(built.errors.is_empty(), "{:?}", built.errors);
    prop_assert_eq!(plan.keys().collect::<Vec<_>>(), built.nodes.keys().collect::<Vec<_>>());
    let texts = pipeline.texts();
    let mut made = BTreeSet::new();
    for (name, word) in &plan {
        let known = &built.known[name];
        let ran = built.nodes[name].starts_with("built");
        let forced = ask.mode.force.contains(name);
        // Of two nodes with one key either runs.
        let twin = built
            .known
            .iter()
            .any(|(other, of)| other != name && of.key == known.key && built.nodes[other].starts_with("built"));
        match word {
            Word::Fresh(key) => prop_assert!(!ran && known.key == *key, "{} ran", name),
            Word::Run => prop_assert!(ran || twin, "{} did not run", name),
            Word::Perhaps => {
                let needed = forced || !keys.contains(&known.key);
                prop_assert!(if needed { ran || twin } else { !ran }, "{}: needed {}, ran {}", name, needed, ran);
            }
        }
        made.insert(known.key);
        let at: usize = name[1..].parse().unwrap();
        prop_assert_eq!(&space.text_of(known), &texts[at], "{}", name);
    }
    keys.extend(made);
    space.notes();
    let again = Ask { targets: ask.targets.clone(), ..Ask::default() };
    prop_assert!(space.plan(&again, |_, plan| plan.is_fresh()), "a plan after a build is fresh");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_build_runs_what_the_plan_says(mut pipeline in pipeline(), steps in prop::collection::vec(step(), 1..10)) {
        let space = Space::new("");
        let mut keys = BTreeSet::new();
        pipeline.write(&space);
        for step in steps.iter().chain([&Step::Build { target: None, force: None }]) {
            let ask = pipeline.apply(step);
            pipeline.write(&space);
            if let Some(ask) = ask {
                check(&space, &pipeline, &ask, &mut keys)?;
            }
        }
    }
}
