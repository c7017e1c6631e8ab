//! The part of a project that a change reaches, read without the rest of it.
//!
//! A settled answer carries notes: which nodes read which, which places each looks at, and where each stands in the
//! manifest's text. With them a later command knows from the places that changed, or from the node that it is asked
//! about, which declarations it has to read. What is left out is as the answer has it: fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cli::project::ManifestText;
use crate::graph::Graph;
use crate::manifest::{Manifest, Section};
use crate::store::Settled;

/// A part must be this much smaller than the whole to be worth its own way of reading.
const SMALLER: usize = 4;
/// Of fewer nodes all are read: that takes a millisecond.
const FEWEST: usize = 200;

/// What a settled answer has beside it. Nodes count in the order of the answer, places likewise.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    /// The declaration of each node.
    declared: Vec<u32>,
    /// A node, and one that it reads.
    reads: Vec<(u32, u32)>,
    /// A place, and a node that looks at it.
    looks: Vec<(u32, u32)>,
    /// Declaration, first byte, and the byte after the last one.
    sections: Vec<(u32, u32, u32)>,
}

/// A part of a project, and the text that it is a part of: a file that is read again may be another one.
#[derive(Debug)]
pub(in crate::cli) struct Part {
    choice: Choice,
    manifest: Arc<ManifestText>,
}

/// What is in a part.
#[derive(Debug)]
pub(super) struct Choice {
    /// The nodes in it, by their numbers in the answer.
    nodes: BTreeSet<u32>,
    /// What is left out.
    without: Vec<Section>,
    /// How many nodes are left out.
    others: usize,
}

impl Notes {
    /// Notes what a later command wants to know of `graph`, whose answer is `settled`.
    pub(super) fn of(graph: &Graph, manifest: &Manifest, text: &str, root: &Path, settled: &Settled) -> Self {
        let numbers: BTreeMap<&str, u32> = manifest
            .declarations
            .iter()
            .zip(0..)
            .map(|(declared, number)| (declared.name.value.as_str(), number))
            .collect();
        let declared =
            graph.nodes().iter().map(|node| numbers.get(node.declared.as_str()).copied().unwrap_or(u32::MAX));
        let reads = graph.indices().flat_map(|index| {
            graph.dependencies(index).into_iter().map(move |from| (index.get() as u32, from.get() as u32))
        });
        let readers = Readers::of(graph, root);
        let looks = settled
            .places()
            .zip(0..)
            .flat_map(|(place, number)| readers.at(Path::new(place)).map(move |node| (number, node)));
        let sections = manifest
            .sections(text)
            .into_iter()
            .map(|Section { declaration, range }| (declaration as u32, range.start as u32, range.end as u32));
        Self {
            declared: declared.collect(),
            reads: reads.collect(),
            looks: looks.collect(),
            sections: sections.collect(),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads the notes of an answer.
    pub(super) fn read(settled: &Settled) -> Option<Self> {
        postcard::from_bytes(settled.notes()?).ok()
    }

    /// Returns whether each of these places is looked at by nodes alone.
    pub(super) fn covers(&self, places: &[usize]) -> bool {
        let looked: BTreeSet<usize> = self.looks.iter().map(|(place, _)| *place as usize).collect();
        places.iter().all(|place| looked.contains(place))
    }

    /// Returns the part with all that the changed places reach, and all that this reads. `None` where a place is
    /// nobody's, such as an object of the store, and where the part is nearly everything.
    pub(super) fn reached(&self, changed: &[usize]) -> Option<Choice> {
        let mut looked: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (place, node) in &self.looks {
            looked.entry(*place).or_default().push(*node);
        }
        let mut nodes = vec![false; self.declared.len()];
        for place in changed {
            for node in looked.get(&u32::try_from(*place).ok()?)? {
                *nodes.get_mut(*node as usize)? = true;
            }
        }
        // Pairs are in topological order of their first node.
        for (node, from) in &self.reads {
            nodes[*node as usize] |= nodes[*from as usize];
        }
        self.part(nodes)
    }

    /// Returns the part with one node and all that it reads; `None` as for [`Self::reached`].
    pub(super) fn around(&self, node: usize) -> Option<Choice> {
        let mut nodes = vec![false; self.declared.len()];
        *nodes.get_mut(node)? = true;
        self.part(nodes)
    }

    /// Completes a choice of nodes by all that they read and by the other nodes of their matrices.
    fn part(&self, mut nodes: Vec<bool>) -> Option<Choice> {
        let count = nodes.len();
        if count < FEWEST {
            return None;
        }
        loop {
            for (node, from) in self.reads.iter().rev() {
                nodes[*from as usize] |= nodes[*node as usize];
            }
            let declarations: BTreeSet<u32> = self
                .declared
                .iter()
                .zip(&nodes)
                .filter(|(_, chosen)| **chosen)
                .map(|(declared, _)| *declared)
                .collect();
            let missing: Vec<usize> =
                (0..count).filter(|node| !nodes[*node] && declarations.contains(&self.declared[*node])).collect();
            if missing.is_empty() {
                let chosen: BTreeSet<u32> = (0..count as u32).filter(|node| nodes[*node as usize]).collect();
                let without = self.sections.iter().filter(|(declaration, ..)| !declarations.contains(declaration));
                let without = without.map(|(declaration, start, end)| Section {
                    declaration: *declaration as usize,
                    range: *start as usize..*end as usize,
                });
                let is_small = chosen.len() * SMALLER <= count;
                return is_small.then(|| Choice {
                    others: count - chosen.len(),
                    nodes: chosen,
                    without: without.collect(),
                });
            }
            for node in missing {
                nodes[node] = true;
            }
        }
    }
}

impl Part {
    pub(super) fn new(choice: Choice, manifest: Arc<ManifestText>) -> Self {
        Self { choice, manifest }
    }

    /// Returns the text of the manifest.
    pub(in crate::cli) fn manifest(&self) -> &ManifestText {
        &self.manifest
    }

    /// Returns the sections that are left out.
    pub(in crate::cli) fn without(&self) -> &[Section] {
        &self.choice.without
    }

    /// Returns how many nodes are left out, all of them fresh.
    pub(in crate::cli) fn others(&self) -> usize {
        self.choice.others
    }

    /// Returns whether `graph` has the nodes of this part of `settled` and no others.
    pub(in crate::cli) fn is(&self, graph: &Graph, settled: &Settled) -> bool {
        let names: BTreeSet<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
        let expected =
            self.choice.nodes.iter().filter_map(|node| settled.nodes.get(*node as usize).map(String::as_str));
        expected.collect::<BTreeSet<&str>>() == names
    }
}

/// Which nodes look at which paths.
#[derive(Default)]
struct Readers {
    /// Files, and folders with all that lies in them.
    at: BTreeMap<PathBuf, BTreeSet<u32>>,
}

impl Readers {
    fn of(graph: &Graph, root: &Path) -> Self {
        let mut readers = Self::default();
        for (node, number) in graph.nodes().iter().zip(0..) {
            let files = node.files.iter().map(|files| root.join(&files.path));
            for path in files.chain(node.out.iter().map(|out| root.join(out))) {
                readers.at.entry(path).or_default().insert(number);
            }
        }
        readers
    }

    fn at(&self, path: &Path) -> impl Iterator<Item = u32> + use<> {
        let found: BTreeSet<u32> = path.ancestors().filter_map(|path| self.at.get(path)).flatten().copied().collect();
        found.into_iter()
    }
}
