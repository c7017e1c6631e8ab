//! A deterministic topological order, or every loop that prevents one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use miette::LabeledSpan;

use super::error::{GraphError, Sink};
use super::expand::Draft;
use super::node::{Edge, Graph, Node, NodeIndex, Note};

/// Of a longer loop the first edges are told.
const MOST_TOLD: usize = 32;

/// Orders the drafts: of the nodes that could come next, the first one of the manifest's text comes next.
pub(super) fn order(drafts: Vec<Draft<'_>>, notes: Vec<Note>, problems: &mut Sink) -> Graph {
    let dependants = dependants(&drafts);
    let mut waiting: Vec<usize> = drafts.iter().map(|draft| draft.node.inputs.len()).collect();
    let mut ready: BinaryHeap<Reverse<usize>> =
        waiting.iter().enumerate().filter(|(_, count)| **count == 0).map(|(index, _)| Reverse(index)).collect();
    let mut order = Vec::with_capacity(drafts.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next);
        for &dependant in &dependants[next] {
            waiting[dependant] -= 1;
            if waiting[dependant] == 0 {
                ready.push(Reverse(dependant));
            }
        }
    }
    if order.len() < drafts.len() {
        report_loops(&drafts, &waiting, problems);
        return Graph::default();
    }
    renumbered(drafts, &order, notes)
}

/// Returns for each draft those that read it, once for each edge.
fn dependants(drafts: &[Draft<'_>]) -> Vec<Vec<usize>> {
    let mut dependants = vec![Vec::new(); drafts.len()];
    for (index, draft) in drafts.iter().enumerate() {
        for edge in &draft.node.inputs {
            dependants[edge.from.get()].push(index);
        }
    }
    dependants
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
fn report_loops(drafts: &[Draft<'_>], waiting: &[usize], problems: &mut Sink) {
    let mut walk_of = vec![usize::MAX; drafts.len()];
    for start in (0..drafts.len()).filter(|index| waiting[*index] > 0) {
        let mut walk: Vec<(usize, &Edge)> = Vec::new();
        let mut at = start;
        while walk_of[at] == usize::MAX {
            walk_of[at] = start;
            let Some(edge) = drafts[at].node.inputs.iter().find(|edge| waiting[edge.from.get()] > 0) else { break };
            walk.push((at, edge));
            at = edge.from.get();
        }
        if walk_of[at] == start
            && let Some(first) = walk.iter().position(|(node, _)| *node == at)
        {
            problems.push(cycle(drafts, &walk[first..]));
        }
    }
}

fn cycle(drafts: &[Draft<'_>], walk: &[(usize, &Edge)]) -> GraphError {
    let name = |index: usize| drafts[index].node.name.as_str();
    let told = &walk[..walk.len().min(MOST_TOLD)];
    let edges = told.iter().map(|(node, edge)| {
        let label = format!("`{}` reads `{}`", name(*node), name(edge.from.get()));
        LabeledSpan::new_with_span(Some(label), edge.span)
    });
    let mut path: Vec<String> = told.iter().map(|(node, _)| format!("`{}`", name(*node))).collect();
    if told.len() < walk.len() {
        path.push(format!("… ({} more)", walk.len() - told.len()));
    }
    path.extend(path.first().cloned());
    GraphError::Cycle { path: path.join(" → "), edges: edges.collect() }
}
