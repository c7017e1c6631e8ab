//! Which part of a graph a command is about.

use super::error::UnknownTarget;
use super::node::{Graph, NodeIndex};
use crate::manifest::{Input, Selector, suggest};

impl Graph {
    /// Returns the nodes that a command is about, in order.
    ///
    /// - `targets`: these and all that they read; without any, all nodes.
    /// - `up_to`: of these, only the named ones and all that they read.
    /// - `from`: of these, only the named ones and all that reads them. What they read in turn is taken as it is.
    ///
    /// A name is a node's, or a matrix' for all its nodes, or `NODE@AXIS=VALUE`.
    ///
    /// # Errors
    /// [`UnknownTarget`] for a name that no node has.
    pub fn select(
        &self,
        targets: &[String],
        up_to: &[String],
        from: &[String],
    ) -> Result<Vec<NodeIndex>, Box<UnknownTarget>> {
        let mut chosen = vec![true; self.nodes.len()];
        if !targets.is_empty() {
            chosen = self.upstream(&self.resolve_all(targets)?);
        }
        if !up_to.is_empty() {
            let limit = self.upstream(&self.resolve_all(up_to)?);
            chosen.iter_mut().zip(limit).for_each(|(chosen, within)| *chosen &= within);
        }
        if !from.is_empty() {
            let limit = self.downstream(&self.resolve_all(from)?);
            chosen.iter_mut().zip(limit).for_each(|(chosen, within)| *chosen &= within);
        }
        Ok(self.indices().filter(|index| chosen[index.get()]).collect())
    }

    /// Returns the nodes that a name on the command line means, in order.
    ///
    /// # Errors
    /// [`UnknownTarget`] when no node has the name.
    pub fn resolve(&self, name: &str) -> Result<Vec<NodeIndex>, Box<UnknownTarget>> {
        let input = Input::parse(name).filter(|input| input.output.is_none());
        let fits = |index: &NodeIndex| {
            let node = &self[*index];
            input.as_ref().is_some_and(|input| {
                node.declared == input.node
                    && match &input.selector {
                        Selector::None => true,
                        Selector::All => !node.axes.is_empty(),
                        Selector::Values(values) => values.iter().all(|value| node.axes.contains(value)),
                    }
            })
        };
        let found: Vec<NodeIndex> = self.indices().filter(fits).collect();
        if found.is_empty() {
            let names = self.nodes.iter().flat_map(|node| [node.declared.as_str(), node.name.as_str()]);
            let help = suggest::help(name, names, "nodes");
            return Err(Box::new(UnknownTarget { name: name.escape_debug().to_string(), help }));
        }
        Ok(found)
    }

    fn resolve_all(&self, names: &[String]) -> Result<Vec<NodeIndex>, Box<UnknownTarget>> {
        let mut found = Vec::new();
        for name in names {
            found.extend(self.resolve(name)?);
        }
        Ok(found)
    }

    /// Marks the nodes and all that they read, directly or not.
    pub fn upstream(&self, nodes: &[NodeIndex]) -> Vec<bool> {
        let mut marked = self.marked(nodes);
        for index in self.indices().rev() {
            if marked[index.get()] {
                for edge in &self[index].inputs {
                    marked[edge.from.get()] = true;
                }
            }
        }
        marked
    }

    /// Marks the nodes and all that read them, directly or not.
    pub fn downstream(&self, nodes: &[NodeIndex]) -> Vec<bool> {
        let mut marked = self.marked(nodes);
        for index in self.indices() {
            if self[index].inputs.iter().any(|edge| marked[edge.from.get()]) {
                marked[index.get()] = true;
            }
        }
        marked
    }

    fn marked(&self, nodes: &[NodeIndex]) -> Vec<bool> {
        let mut marked = vec![false; self.nodes.len()];
        for node in nodes {
            marked[node.get()] = true;
        }
        marked
    }
}
