//! A deterministic topological order, or every loop that prevents one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use miette::{LabeledSpan, SourceSpan};

use super::error::{GraphError, Sink};
use super::expand::Draft;
use super::node::{Graph, Node, NodeIndex, Note};
use crate::manifest::Declaration;

/// Of a longer loop the first edges are told.
const MOST_TOLD: usize = 32;

/// What each node reads: the node, and where that stands.
type Reads = Vec<Vec<(usize, SourceSpan)>>;

/// Orders the drafts: of the nodes that could come next, the first one of the manifest's text comes next.
pub(super) fn order(drafts: Vec<Draft<'_>>, notes: Vec<Note>, problems: &mut Sink) -> Graph {
    let inputs = |draft: &Draft<'_>| draft.node.inputs.iter().map(|edge| (edge.from.get(), edge.span)).collect();
    let reads: Reads = drafts.iter().map(inputs).collect();
    match sorted(&reads) {
        Ok(order) => renumbered(drafts, &order, notes),
        Err(waiting) => {
            report_loops(&reads, &waiting, &|index| &drafts[index].node.name, problems);
            Graph::default()
        }
    }
}

/// Reports the loops of declarations without matrices by what `from` says, before any node is made.
pub(super) fn report_loops_of_declarations(declarations: &[Declaration], problems: &mut Sink) {
    let plain: Vec<&Declaration> = declarations.iter().filter(|declaration| declaration.matrix.is_empty()).collect();
    let names: BTreeMap<&str, usize> =
        plain.iter().enumerate().map(|(index, declaration)| (declaration.name.value.as_str(), index)).collect();
    let inputs = |declaration: &&Declaration| {
        let entries = declaration.from.iter().flat_map(|from| &from.value);
        entries.filter_map(|entry| Some((*names.get(entry.value.node.as_str())?, entry.span))).collect()
    };
    let reads: Reads = plain.iter().map(inputs).collect();
    if let Err(waiting) = sorted(&reads) {
        report_loops(&reads, &waiting, &|index| &plain[index].name.value, problems);
    }
}

/// Returns an order in which each comes after all that it reads, or for each how many of those are in loops or behind
/// them.
fn sorted(reads: &Reads) -> Result<Vec<usize>, Vec<usize>> {
    let mut dependants = vec![Vec::new(); reads.len()];
    for (index, inputs) in reads.iter().enumerate() {
        for (from, _) in inputs {
            dependants[*from].push(index);
        }
    }
    let mut waiting: Vec<usize> = reads.iter().map(Vec::len).collect();
    let mut ready: BinaryHeap<Reverse<usize>> =
        waiting.iter().enumerate().filter(|(_, count)| **count == 0).map(|(index, _)| Reverse(index)).collect();
    let mut order = Vec::with_capacity(reads.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next);
        for &dependant in &dependants[next] {
            waiting[dependant] -= 1;
            if waiting[dependant] == 0 {
                ready.push(Reverse(dependant));
            }
        }
    }
    if order.len() < reads.len() { Err(waiting) } else { Ok(order) }
}

fn renumbered(drafts: Vec<Draft<'_>>, order: &[usize], notes: Vec<Note>) -> Graph {
    let mut place = vec![NodeIndex(0); drafts.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = NodeIndex(new as u32);
    }
    let mut nodes: Vec<(NodeIndex, Node)> =
        drafts.into_iter().enumerate().map(|(old, draft)| (place[old], draft.node)).collect();
    nodes.sort_unstable_by_key(|(new, _)| *new);
    let mut graph = Graph {
        nodes: Vec::with_capacity(nodes.len()),
        dependants: vec![Vec::new(); nodes.len()],
        notes,
        ..Graph::default()
    };
    for (new, mut node) in nodes {
        for edge in &mut node.inputs {
            edge.from = place[edge.from.get()];
            let dependants = &mut graph.dependants[edge.from.get()];
            if dependants.last() != Some(&new) {
                dependants.push(new);
            }
        }
        for reference in &mut node.references {
            reference.node = place[reference.node.get()];
        }
        node.gate = node.gate.map(|gate| place[gate.get()]);
        graph.nodes.push(node);
    }
    graph
}

/// Walks from each node that never became ready along inputs of the same sort; each has one. The walk ends in a loop,
/// or where an earlier walk came along.
fn report_loops<'n>(reads: &Reads, waiting: &[usize], name: &dyn Fn(usize) -> &'n str, problems: &mut Sink) {
    let mut walk_of = vec![usize::MAX; reads.len()];
    for start in (0..reads.len()).filter(|index| waiting[*index] > 0) {
        let mut walk: Vec<Step> = Vec::new();
        let mut at = start;
        while walk_of[at] == usize::MAX {
            walk_of[at] = start;
            let Some((from, span)) = reads[at].iter().find(|(from, _)| waiting[*from] > 0) else { break };
            walk.push(Step { reader: at, from: *from, span: *span });
            at = *from;
        }
        if walk_of[at] == start
            && let Some(first) = walk.iter().position(|step| step.reader == at)
        {
            problems.push(cycle(&walk[first..], name));
        }
    }
}

/// One edge of a walk.
struct Step {
    reader: usize,
    from: usize,
    span: SourceSpan,
}

fn cycle<'n>(walk: &[Step], name: &dyn Fn(usize) -> &'n str) -> GraphError {
    let told = &walk[..walk.len().min(MOST_TOLD)];
    let edges = told.iter().map(|step| {
        let label = format!("`{}` reads `{}`", name(step.reader), name(step.from));
        LabeledSpan::new_with_span(Some(label), step.span)
    });
    let mut path: Vec<String> = told.iter().map(|step| format!("`{}`", name(step.reader))).collect();
    if told.len() < walk.len() {
        path.push(format!("… ({} more)", walk.len() - told.len()));
    }
    path.extend(path.first().cloned());
    GraphError::Cycle { path: path.join(" → "), edges: edges.collect() }
}
