//! Arguments that `plan`, `build` and `status` share: which nodes, and under which rules.

use std::collections::BTreeSet;

use super::CliError;
use super::session::Session;
use crate::engine::{Deploy, Mode};
use crate::graph::NodeIndex;

/// Which nodes, and under which rules.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Selection {
    /// Nodes to bring up to date with all that they read; by default every node
    #[arg(value_name = "NODE")]
    targets: Vec<String>,
    /// Only this node and what it reads
    #[arg(long, value_name = "NODE")]
    up_to: Vec<String>,
    /// Only this node and what reads it; what it reads is taken as it was last built
    #[arg(long, value_name = "NODE")]
    from: Vec<String>,
    /// Run this node whatever the store has
    #[arg(long, value_name = "NODE")]
    force: Vec<String>,
    /// Fetch pinned sources anew, all or the named one
    #[arg(long, value_name = "NODE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    refresh: Vec<String>,
    /// Fail rather than change the lock
    #[arg(long)]
    locked: bool,
    /// Open no socket
    #[arg(long)]
    offline: bool,
    /// Run nodes that change something outside the project
    #[arg(long)]
    deploy: bool,
}

impl Selection {
    /// Returns the `tunesmith build` that is about the same.
    pub(super) fn as_build(&self) -> String {
        let mut build = "tunesmith build".to_owned();
        let mut add = |flag: &str, value: &str| {
            for word in [flag, value].into_iter().filter(|word| !word.is_empty()) {
                build.push(' ');
                build.push_str(word);
            }
        };
        self.targets.iter().for_each(|node| add("", node));
        self.up_to.iter().for_each(|node| add("--up-to", node));
        self.from.iter().for_each(|node| add("--from", node));
        self.force.iter().for_each(|node| add("--force", node));
        for node in &self.refresh {
            add(&if node.is_empty() { "--refresh".to_owned() } else { format!("--refresh={node}") }, "");
        }
        for (flag, is_set) in [("--locked", self.locked), ("--offline", self.offline), ("--deploy", self.deploy)] {
            add(if is_set { flag } else { "" }, "");
        }
        build
    }

    /// Returns whether the same command means the same the next time: nothing is asked to run whatever there is.
    pub(super) fn is_lasting(&self) -> bool {
        self.force.is_empty() && self.refresh.is_empty()
    }

    /// Returns whether no node is named: the command is about all of them.
    pub(super) fn is_everything(&self) -> bool {
        self.targets.is_empty() && self.up_to.is_empty() && self.from.is_empty()
    }

    /// Returns the rules for the engine; names are checked by [`Self::select`].
    pub(super) fn mode(&self) -> Mode {
        Mode {
            locked: self.locked,
            offline: self.offline,
            refresh: self.refresh.iter().filter(|name| !name.is_empty()).cloned().collect(),
            refresh_all: self.refresh.iter().any(String::is_empty),
            force: self.force.iter().cloned().collect(),
            now: 0,
        }
    }

    /// Returns the selected nodes and effects.
    ///
    /// # Errors
    /// A name that no node has.
    pub(super) fn select(&self, session: &Session<'_>) -> Result<(BTreeSet<NodeIndex>, Deploy), CliError> {
        for name in self.force.iter().chain(self.refresh.iter().filter(|name| !name.is_empty())) {
            session.node(name)?;
        }
        let mut named = BTreeSet::new();
        for target in &self.targets {
            named.extend(session.project.graph.resolve(target)?);
        }
        // An effect that is named needs those that it reads: a value names a model that must be there.
        let effects: Vec<NodeIndex> =
            named.iter().copied().filter(|index| session.project.graph[*index].effect).collect();
        let upstream = session.project.graph.upstream(&effects);
        named.extend(session.project.graph.indices().filter(|index| upstream[index.get()]));
        let selected = session.select(&self.targets, &self.up_to, &self.from)?;
        Ok((selected, Deploy { all: self.deploy, named }))
    }
}
