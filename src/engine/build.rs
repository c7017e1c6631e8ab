//! A build: decisions and runs, in parallel, until everything selected is fresh or failed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::execute::{Executor, Failure, Ran, objects_of};
use super::out::OutState;
use super::plan::{Deploy, as_they_are, is_held_effect};
use super::resolve::Prepared;
use super::{Decision, EngineError, Known, Observer, OutWrite, Resolver, Said, StaleReason};
use crate::graph::NodeIndex;
use crate::node::{Cancel, FailureClass, Grant, NodeError, Secrets, Weight};
use crate::store::{Artifact, Store};

/// How a build runs.
pub struct BuildOptions<'a> {
    /// The nodes to bring up to date, with all that they need.
    pub selected: BTreeSet<NodeIndex>,
    /// Which effects run.
    pub deploy: Deploy,
    /// Light nodes at a time.
    pub jobs: usize,
    /// Threads of the machine that a heavy node gets.
    pub threads: usize,
    /// Bytes of memory that a heavy node gets, if limited.
    pub memory: Option<u64>,
    /// After a failure, still build what does not depend on it.
    pub keep_going: bool,
    /// Write `out` files over edits of a person.
    pub overwrite: bool,
    /// The program that heavy nodes run in.
    pub worker: Option<&'a Path>,
    /// Takes what happens.
    pub observer: &'a dyn Observer,
    /// Stops the build.
    pub cancel: &'a Cancel,
    /// Gives secrets.
    pub secrets: &'a dyn Secrets,
}

/// What became of a node.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was fresh.
    Fresh(Arc<Known>),
    /// It ran.
    Built {
        /// What it gave.
        known: Arc<Known>,
        /// Why it ran.
        reason: StaleReason,
        /// Whether the bytes are those of the last build.
        unchanged: bool,
    },
    /// It failed.
    Failed(NodeError),
    /// It did not run: this node before it has no result.
    Skipped(NodeIndex),
    /// It is an effect that was not asked for.
    NotDeployed,
    /// The build ended before its turn.
    NotReached,
}

/// A node's part of a build.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// The node.
    pub index: NodeIndex,
    /// What became of it.
    pub outcome: Outcome,
    /// When its run started, from the build's start.
    pub started: Duration,
    /// How long it ran.
    pub duration: Duration,
    /// What was done about its `out`.
    pub out: Option<OutWrite>,
}

/// What became of a build.
#[derive(Clone, Debug, Default)]
pub struct BuildReport {
    /// One entry for each selected node, in topological order.
    pub nodes: Vec<NodeReport>,
    /// How long it took.
    pub duration: Duration,
}

impl BuildReport {
    /// Returns the failures with their nodes.
    pub fn failures(&self) -> impl Iterator<Item = (NodeIndex, &NodeError)> {
        self.nodes.iter().filter_map(|node| match &node.outcome {
            Outcome::Failed(error) => Some((node.index, error)),
            _ => None,
        })
    }

    /// Returns how many nodes ran.
    pub fn built(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node.outcome, Outcome::Built { .. })).count()
    }
}

/// Builds.
///
/// # Errors
/// Errors of the store and of the lock, which end the build at once. A node's failure is in the report.
pub fn build(resolver: &Resolver<'_>, options: &BuildOptions<'_>) -> Result<BuildReport, EngineError> {
    let mut builder = Builder::new(resolver, options)?;
    let result = std::thread::scope(|scope| builder.drive(scope));
    resolver.store.flush()?;
    result?;
    Ok(builder.report())
}

/// Returns whether every byte of an artifact is there and right.
fn is_whole(store: &Store, artifact: &Artifact) -> bool {
    match artifact {
        Artifact::Records(_) => {
            objects_of(store, artifact).is_ok_and(|objects| objects.iter().all(|digest| store.get(digest).is_ok()))
        }
        Artifact::File(_) | Artifact::Folder { .. } => store.files_are_whole(artifact),
    }
}

/// A run that ended.
struct Ended {
    index: NodeIndex,
    started: Duration,
    reason: StaleReason,
    result: Result<Ran, Failure>,
}

struct Builder<'a> {
    resolver: &'a Resolver<'a>,
    options: &'a BuildOptions<'a>,
    begun: Instant,
    known: Vec<Option<Arc<Known>>>,
    /// Selected nodes without an outcome, in topological order.
    open: BTreeSet<NodeIndex>,
    running: BTreeMap<NodeIndex, Weight>,
    reports: BTreeMap<NodeIndex, NodeReport>,
    /// Producers that were rebuilt since a reader found their bytes damaged: once each.
    healed: BTreeSet<NodeIndex>,
    stopping: bool,
}

impl<'a> Builder<'a> {
    fn new(resolver: &'a Resolver<'a>, options: &'a BuildOptions<'a>) -> Result<Self, EngineError> {
        Ok(Self {
            resolver,
            options,
            begun: Instant::now(),
            known: as_they_are(resolver, &options.selected)?,
            open: options.selected.clone(),
            running: BTreeMap::new(),
            reports: BTreeMap::new(),
            healed: BTreeSet::new(),
            stopping: false,
        })
    }

    /// Starts what can run and takes in what ended, until nothing is left.
    fn drive<'s>(&mut self, scope: &'s std::thread::Scope<'s, 'a>) -> Result<(), EngineError>
    where
        'a: 's,
    {
        let (sender, ended) = mpsc::channel::<Ended>();
        loop {
            if self.options.cancel.is_cancelled() {
                self.stopping = true;
            }
            if !self.stopping {
                self.start_ready(scope, &sender)?;
            }
            if self.running.is_empty() {
                return Ok(());
            }
            // The channel cannot close: `sender` lives in this function.
            if let Ok(ended) = ended.recv() {
                self.running.remove(&ended.index);
                self.take_in(ended)?;
            }
        }
    }

    fn start_ready<'s>(
        &mut self,
        scope: &'s std::thread::Scope<'s, 'a>,
        sender: &mpsc::Sender<Ended>,
    ) -> Result<(), EngineError>
    where
        'a: 's,
    {
        for index in self.resolver.graph.indices() {
            if !self.open.contains(&index) || self.running.contains_key(&index) || !self.inputs_settled(index) {
                continue;
            }
            if let Some(lacking) = self.lacking_input(index) {
                self.skip(index, lacking);
                continue;
            }
            if is_held_effect(self.resolver, index, &self.options.deploy)? {
                self.settle(index, Outcome::NotDeployed, Duration::ZERO, Duration::ZERO);
                self.say(index, &Said::NotDeployed);
                continue;
            }
            let weight = self.resolver.kind(&self.resolver.graph[index])?.info().weight;
            if !self.has_room(weight) {
                continue;
            }
            match self.resolver.decide(index, &self.known) {
                Ok(Decision::Fresh(known)) => self.settle_known(index, Outcome::Fresh(known), Duration::ZERO)?,
                Ok(Decision::Run(prepared, reason)) => {
                    self.running.insert(index, weight);
                    self.spawn(scope, sender.clone(), index, *prepared, reason);
                }
                // Every input is settled and known, so there is nothing to wait for.
                Ok(Decision::Waits(_)) => {}
                Err(error @ EngineError::Store(_)) => return Err(error),
                Err(error) => self.fail(index, error.into(), Duration::ZERO, Duration::ZERO),
            }
            if self.stopping {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Light nodes share the machine; a heavy one gets all of its threads and so runs alone among the heavy ones.
    fn has_room(&self, weight: Weight) -> bool {
        let heavy = self.running.values().filter(|weight| **weight == Weight::Heavy).count();
        match weight {
            Weight::Light => self.running.len() - heavy < self.options.jobs.max(1),
            Weight::Heavy => heavy == 0,
        }
    }

    fn spawn<'s>(
        &self,
        scope: &'s std::thread::Scope<'s, 'a>,
        sender: mpsc::Sender<Ended>,
        index: NodeIndex,
        prepared: Prepared,
        reason: StaleReason,
    ) where
        'a: 's,
    {
        let executor = Executor {
            resolver: self.resolver,
            observer: self.options.observer,
            cancel: self.options.cancel,
            secrets: self.options.secrets,
            worker: self.options.worker,
            grant: Grant { threads: self.options.threads, memory: self.options.memory },
        };
        let begun = self.begun;
        let node = &self.resolver.graph[index];
        scope.spawn(move || {
            let started = begun.elapsed();
            let result = executor.run(node, &prepared, &reason);
            // The receiver outlives every run.
            sender.send(Ended { index, started, reason, result }).ok();
        });
    }

    fn take_in(&mut self, ended: Ended) -> Result<(), EngineError> {
        let Ended { index, started, reason, result } = ended;
        match result {
            Ok(ran) if ran.ran => {
                let duration_ms = ran.duration.as_millis() as u64;
                self.say(index, &Said::Built { duration_ms, unchanged: ran.unchanged });
                let outcome = Outcome::Built { known: ran.known, reason, unchanged: ran.unchanged };
                self.settle_known(index, outcome, started)?;
                if let Some(report) = self.reports.get_mut(&index) {
                    report.duration = ran.duration;
                }
                Ok(())
            }
            Ok(ran) => self.settle_known(index, Outcome::Fresh(ran.known), started),
            Err(Failure::Node(error)) => {
                if !self.heal(index, &error)? {
                    let duration = self.begun.elapsed().saturating_sub(started);
                    self.fail(index, error, started, duration);
                }
                Ok(())
            }
            Err(Failure::Engine(error)) => Err(error),
        }
    }

    /// When a run found bytes of an input missing or damaged, forgets their producers' records so that they run again.
    /// Returns whether there is something to try again.
    fn heal(&mut self, index: NodeIndex, error: &NodeError) -> Result<bool, EngineError> {
        let is_about_bytes = error
            .code
            .as_deref()
            .is_some_and(|code| ["store::missing_object", "store::damaged_object"].contains(&code));
        if !is_about_bytes {
            return Ok(false);
        }
        let mut again = false;
        for edge in &self.resolver.graph[index].inputs {
            let Some(known) = self.known[edge.from.get()].clone() else { continue };
            let broken = known.outputs.values().any(|artifact| !is_whole(self.resolver.store, artifact));
            if broken && self.healed.insert(edge.from) {
                self.resolver.store.drop_action(&known.key)?;
                self.known[edge.from.get()] = None;
                self.reports.remove(&edge.from);
                self.open.insert(edge.from);
                again = true;
            }
        }
        Ok(again)
    }

    fn inputs_settled(&self, index: NodeIndex) -> bool {
        self.edges(index).all(|from| self.reports.contains_key(&from) || !self.options.selected.contains(&from))
    }

    fn lacking_input(&self, index: NodeIndex) -> Option<NodeIndex> {
        self.edges(index).find(|from| self.known[from.get()].is_none())
    }

    fn edges(&self, index: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        self.resolver.graph[index].inputs.iter().map(|edge| edge.from)
    }

    fn settle_known(&mut self, index: NodeIndex, outcome: Outcome, started: Duration) -> Result<(), EngineError> {
        let known = match &outcome {
            Outcome::Fresh(known) | Outcome::Built { known, .. } => Arc::clone(known),
            _ => return Ok(()),
        };
        if matches!(outcome, Outcome::Fresh(_)) {
            self.say(index, &Said::Fresh);
        }
        self.known[index.get()] = Some(Arc::clone(&known));
        self.settle(index, outcome, started, Duration::ZERO);
        let node = &self.resolver.graph[index];
        let Some(path) = &node.out else { return Ok(()) };
        let state = OutState { resolver: self.resolver, node, path };
        let what = state.write(&known, self.options.overwrite)?;
        self.say(index, &Said::Out { path: path.clone(), what: what.clone() });
        if let Some(report) = self.reports.get_mut(&index) {
            report.out = Some(what);
        }
        Ok(())
    }

    fn settle(&mut self, index: NodeIndex, outcome: Outcome, started: Duration, duration: Duration) {
        self.open.remove(&index);
        self.reports.insert(index, NodeReport { index, outcome, started, duration, out: None });
    }

    fn fail(&mut self, index: NodeIndex, error: NodeError, started: Duration, duration: Duration) {
        self.say(index, &Said::Failed { error: error.clone() });
        let gate = error.class == FailureClass::GateNotMet;
        self.settle(index, Outcome::Failed(error), started, duration);
        // An unmet gate stops what names it, and nothing else.
        if !self.options.keep_going && !gate {
            self.stopping = true;
        }
    }

    fn skip(&mut self, index: NodeIndex, lacking: NodeIndex) {
        let cause = match self.reports.get(&lacking).map(|report| &report.outcome) {
            Some(Outcome::Skipped(cause)) => *cause,
            _ => lacking,
        };
        let because = self.resolver.graph[cause].name.clone();
        self.say(index, &Said::Skipped { because });
        self.settle(index, Outcome::Skipped(cause), Duration::ZERO, Duration::ZERO);
    }

    fn say(&self, index: NodeIndex, said: &Said) {
        self.options.observer.said(&self.resolver.graph[index].name, said);
    }

    fn report(mut self) -> BuildReport {
        for index in std::mem::take(&mut self.open) {
            self.settle(index, Outcome::NotReached, Duration::ZERO, Duration::ZERO);
        }
        let order = self.resolver.graph.indices();
        let nodes = order.filter_map(|index| self.reports.remove(&index)).collect();
        BuildReport { nodes, duration: self.begun.elapsed() }
    }
}
