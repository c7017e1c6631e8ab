//! A build: decisions and runs, in parallel, until everything selected is fresh or failed.

mod heal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::execute::{Executor, Failure, Ran};
use super::out::{OutState, OutWrite};
use super::plan::{Deploy, as_they_are, is_held_effect};
use super::prepare::Prepared;
use super::ready::Ready;
use super::rehearse::Before;
use super::report::{BuildReport, NodeReport, Outcome};
use super::{Decision, EngineError, Known, Observer, Resolver, Said, StaleReason, worker};
use crate::graph::NodeIndex;
use crate::node::{BadJob, Cancel, Device, FailureClass, Grant, NodeError, Rehearsal, Secrets, Weight};

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

/// Builds.
///
/// # Errors
/// Errors of the store and of the lock, which end the build at once. A node's failure is in the report.
pub fn build(resolver: &Resolver<'_>, options: &BuildOptions<'_>) -> Result<BuildReport, EngineError> {
    let mut builder = Builder::new(resolver, options)?;
    let result = std::thread::scope(|scope| builder.drive(scope));
    resolver.store.flush()?;
    result?;
    resolver.store.keep_warm()?;
    Ok(builder.report())
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
    weights: Vec<Weight>,
    ready: Ready<'a>,
    /// Heavy nodes that wait for their turn.
    held: BTreeMap<NodeIndex, (Box<Prepared>, StaleReason)>,
    running: BTreeMap<NodeIndex, Weight>,
    reports: BTreeMap<NodeIndex, NodeReport>,
    /// Nodes that were tried again since bytes that they read or gave were missing or damaged: once each.
    healed: BTreeSet<NodeIndex>,
    complained: Arc<AtomicBool>,
    restored: bool,
    stopping: bool,
}

impl<'a> Builder<'a> {
    fn new(resolver: &'a Resolver<'a>, options: &'a BuildOptions<'a>) -> Result<Self, EngineError> {
        let begun = Instant::now();
        let kinds = resolver.graph.nodes().iter().map(|node| resolver.kind(node));
        let weights = kinds.map(|kind| Ok(kind?.info().weight)).collect::<Result<Vec<_>, EngineError>>()?;
        Ok(Self {
            resolver,
            options,
            begun,
            known: as_they_are(resolver, &options.selected)?,
            ready: Ready::new(resolver.graph, &options.selected, weights.clone()),
            weights,
            held: BTreeMap::new(),
            running: BTreeMap::new(),
            reports: BTreeMap::new(),
            healed: BTreeSet::new(),
            complained: Arc::default(),
            restored: false,
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
        while !self.stopping {
            if self.has_room(Weight::Heavy)
                && let Some((index, (prepared, reason))) = self.held.pop_first()
            {
                self.spawn(scope, sender.clone(), index, prepared, reason);
                continue;
            }
            let Some(index) = self.next() else { return Ok(()) };
            if let Some((prepared, reason)) = self.settle_or_prepare(index)? {
                if self.has_room(self.weights[index.get()]) {
                    self.spawn(scope, sender.clone(), index, prepared, reason);
                } else {
                    self.held.insert(index, (prepared, reason));
                }
            }
        }
        Ok(())
    }

    /// Takes the next node to decide about. Light ones are decided when they could run, so that what others did meanwhile
    /// counts; heavy ones at once, so that what reads a fresh one need not wait for a turn.
    fn next(&mut self) -> Option<NodeIndex> {
        let heavy = self.ready.take(Weight::Heavy);
        if heavy.is_none() && self.has_room(Weight::Light) { self.ready.take(Weight::Light) } else { heavy }
    }

    /// Decides about a node: settles it, or returns what its run needs.
    fn settle_or_prepare(&mut self, index: NodeIndex) -> Result<Option<(Box<Prepared>, StaleReason)>, EngineError> {
        if let Some(lacking) = self.lacking_input(index) {
            self.skip(index, lacking);
            return Ok(None);
        }
        if is_held_effect(self.resolver, index, &self.options.deploy)? {
            self.settle(index, Outcome::NotDeployed, Duration::ZERO, Duration::ZERO);
            self.say(index, &Said::NotDeployed);
            return Ok(None);
        }
        match self.resolver.decide(index, &self.known) {
            Ok(Decision::Run(prepared, reason)) => return Ok(Some((prepared, reason))),
            Ok(Decision::Fresh(known)) => {
                self.restored |= self.resolver.remember_fresh(index, &known, &self.known)?;
                self.settle_known(index, Outcome::Fresh(known), Duration::ZERO, Duration::ZERO)?;
            }
            // Every input is settled and known, so there is nothing to wait for.
            Ok(Decision::Waits(_)) => {}
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => self.fail(index, error.into_failure(), Duration::ZERO, Duration::ZERO),
        }
        Ok(None)
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
        &mut self,
        scope: &'s std::thread::Scope<'s, 'a>,
        sender: mpsc::Sender<Ended>,
        index: NodeIndex,
        prepared: Box<Prepared>,
        reason: StaleReason,
    ) where
        'a: 's,
    {
        self.running.insert(index, self.weights[index.get()]);
        let executor = Executor {
            resolver: self.resolver,
            observer: self.options.observer,
            cancel: self.options.cancel,
            secrets: self.options.secrets,
            worker: self.options.worker,
            grant: Grant { threads: self.options.threads, memory: self.options.memory, device: Device::Cpu },
            complained: Arc::clone(&self.complained),
        };
        let begun = self.begun;
        let node = &self.resolver.graph[index];
        let opens = self.resolver.kind(node).is_ok_and(|kind| kind.rehearsal() == Rehearsal::Opens);
        let (selected, deploy) = (&self.options.selected, &self.options.deploy);
        let before = opens.then(|| Before { index, known: self.known.clone(), selected, deploy });
        scope.spawn(move || {
            let started = begun.elapsed();
            let result = worker::guarded(|| executor.run(node, &prepared, &reason, before.as_ref()));
            let result = result.unwrap_or_else(|what| {
                let error = BadJob { node: node.name.clone(), kind: node.kind_name.clone(), what };
                Err(Failure::Node(NodeError::new(FailureClass::Bug, &error)))
            });
            // Sent in any case: the build waits for it. The receiver outlives every run.
            sender.send(Ended { index, started, reason, result }).ok();
        });
    }

    fn take_in(&mut self, ended: Ended) -> Result<(), EngineError> {
        let Ended { index, started, reason, result } = ended;
        match result {
            Ok(ran) if ran.is_new => {
                let duration_ms = ran.duration.as_millis() as u64;
                self.say(index, &Said::Built { duration_ms, unchanged: ran.unchanged });
                let outcome = Outcome::Built { known: ran.known, reason, unchanged: ran.unchanged };
                self.settle_known(index, outcome, started, ran.duration)
            }
            Ok(ran) => self.settle_known(index, Outcome::Fresh(ran.known), started, Duration::ZERO),
            Err(Failure::Node(error)) => {
                if !self.heal(index, &error) {
                    let duration = self.begun.elapsed().saturating_sub(started);
                    self.fail(index, error, started, duration);
                }
                Ok(())
            }
            Err(Failure::Engine(error)) => Err(error),
        }
    }

    fn lacking_input(&self, index: NodeIndex) -> Option<NodeIndex> {
        self.edges(index).find(|from| self.known[from.get()].is_none())
    }

    fn edges(&self, index: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        self.resolver.graph[index].inputs.iter().map(|edge| edge.from)
    }

    fn settle_known(
        &mut self,
        index: NodeIndex,
        outcome: Outcome,
        started: Duration,
        duration: Duration,
    ) -> Result<(), EngineError> {
        let Some(given) = outcome.known().cloned() else { return Ok(()) };
        let (known, out) = match self.hand_on(index, &given) {
            Ok(handed_on) => handed_on,
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                let error = error.into_failure();
                if !self.heal_result(index, &given, &error) {
                    self.fail(index, error, started, duration);
                }
                return Ok(());
            }
        };
        if matches!(outcome, Outcome::Fresh(_)) {
            self.say(index, &Said::Fresh);
        }
        if let (Some(path), Some(what)) = (&self.resolver.graph[index].out, &out) {
            self.say(index, &Said::Out { path: path.clone(), what: what.clone() });
        }
        self.known[index.get()] = Some(Arc::clone(&known));
        self.settle(index, outcome.with(known), started, duration);
        if let Some(report) = self.reports.get_mut(&index) {
            report.out = out;
        }
        Ok(())
    }

    /// Returns what readers see of a result, after writing its `out`.
    fn hand_on(&self, index: NodeIndex, given: &Arc<Known>) -> Result<(Arc<Known>, Option<OutWrite>), EngineError> {
        let known = self.resolver.admitted(Arc::clone(given))?;
        let node = &self.resolver.graph[index];
        let state = node.out.as_ref().map(|path| OutState { resolver: self.resolver, node, path });
        let out = state.map(|state| state.write(&known, self.options.overwrite)).transpose()?;
        Ok((known, out))
    }

    fn settle(&mut self, index: NodeIndex, outcome: Outcome, started: Duration, duration: Duration) {
        self.reports.insert(index, NodeReport { index, outcome, started, duration, out: None });
        self.ready.settle(index);
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
        for &index in &self.options.selected {
            self.reports.entry(index).or_insert_with(|| NodeReport {
                index,
                outcome: Outcome::NotReached,
                started: Duration::ZERO,
                duration: Duration::ZERO,
                out: None,
            });
        }
        let order = self.resolver.graph.indices();
        let nodes = order.filter_map(|index| self.reports.remove(&index)).collect();
        BuildReport { nodes, duration: self.begun.elapsed(), restored: self.restored }
    }
}
