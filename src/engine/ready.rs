//! Which nodes can be decided about: everything that they read is settled. Each event costs its own node's edges, so that
//! a build of many nodes takes time in proportion to them.

use std::collections::BTreeSet;

use crate::graph::{Graph, NodeIndex};
use crate::node::Weight;

/// The nodes of a build that are not settled.
pub(super) struct Ready<'a> {
    graph: &'a Graph,
    weights: Vec<Weight>,
    /// Nodes without an outcome.
    open: Vec<bool>,
    /// How many nodes each open node waits for.
    waits: Vec<usize>,
    light: BTreeSet<NodeIndex>,
    heavy: BTreeSet<NodeIndex>,
}

impl<'a> Ready<'a> {
    /// Takes the nodes of a build; `weights` has one entry for each node of the graph.
    pub(super) fn new(graph: &'a Graph, selected: &BTreeSet<NodeIndex>, weights: Vec<Weight>) -> Self {
        let count = graph.nodes().len();
        let (light, heavy) = (BTreeSet::new(), BTreeSet::new());
        let mut ready = Self { graph, weights, open: vec![false; count], waits: vec![0; count], light, heavy };
        for index in selected {
            ready.open[index.get()] = true;
        }
        for index in selected {
            ready.wait(*index);
        }
        ready
    }

    /// Takes the first node of this weight that waits for nothing.
    pub(super) fn take(&mut self, weight: Weight) -> Option<NodeIndex> {
        self.set(weight).pop_first()
    }

    /// Says that a node has its outcome.
    pub(super) fn settle(&mut self, index: NodeIndex) {
        self.open[index.get()] = false;
        for &dependant in self.graph.dependants(index) {
            let waits = &mut self.waits[dependant.get()];
            // One that runs already, while what it reads was made again, waits for nothing.
            if *waits > 0 {
                *waits -= 1;
                if *waits == 0 {
                    self.push(dependant);
                }
            }
        }
    }

    /// Says that a settled node is to be built again; what has not started to run waits for it.
    pub(super) fn reopen(&mut self, index: NodeIndex) {
        self.open[index.get()] = true;
        for &dependant in self.graph.dependants(index) {
            if self.light.remove(&dependant) || self.heavy.remove(&dependant) || self.waits[dependant.get()] > 0 {
                self.waits[dependant.get()] += 1;
            }
        }
        self.wait(index);
    }

    /// Lets an open node wait for everything that it reads and that is open.
    pub(super) fn wait(&mut self, index: NodeIndex) {
        let reads = self.graph.dependencies(index);
        self.waits[index.get()] = reads.iter().filter(|from| self.open[from.get()]).count();
        if self.waits[index.get()] == 0 {
            self.push(index);
        }
    }

    fn push(&mut self, index: NodeIndex) {
        let weight = self.weights[index.get()];
        self.set(weight).insert(index);
    }

    fn set(&mut self, weight: Weight) -> &mut BTreeSet<NodeIndex> {
        match weight {
            Weight::Light => &mut self.light,
            Weight::Heavy => &mut self.heavy,
        }
    }
}
