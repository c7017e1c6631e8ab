//! Which rows of the last build a correction takes the place of.

use crate::cli::session::Session;
use crate::cli::{CliError, Output};
use crate::engine::EngineError;
use crate::graph::NodeIndex;
use crate::node::filter::{Ground, grounds};
use crate::record::{Correction, Record, RecordSet};
use crate::store::Artifact;

/// Rows that are named to people.
const MOST_SHOWN: usize = 20;

/// A row of the last build that a correction replaces.
pub(super) struct Replaced {
    pub(super) node: String,
    pub(super) row: String,
    /// `question`, or the id that names it.
    pub(super) by: String,
}

/// Returns the filters that make rows of the corrections of a node.
pub(super) fn readers(session: &Session<'_>, index: NodeIndex) -> Vec<NodeIndex> {
    let graph = &session.project.graph;
    let readers = graph.dependants(index).iter().copied();
    readers.filter(|reader| graph[*reader].kind_name == "filter.conversations").collect()
}

/// Returns the rows of the last build that a correction replaces, and the ids in it that name none.
pub(super) fn replaced(
    session: &Session<'_>,
    readers: &[NodeIndex],
    correction: &Correction,
) -> Result<(Vec<Replaced>, Vec<String>), CliError> {
    let mut replaced = Vec::new();
    let mut unknown = correction.supersedes.clone();
    let mut was_built = false;
    for reader in readers {
        let node = session.project.graph[*reader].name.clone();
        let Some(known) = session.resolver().last_built(*reader)? else { continue };
        was_built = true;
        for records in known.outputs.values() {
            let Artifact::Records(records) = records else { continue };
            for record in RecordSet::open(&session.store, records).map_err(EngineError::from)?.records() {
                let Record::Row(row) = record.map_err(EngineError::from)? else { continue };
                // The correction itself may be in it since the last build.
                if row.id == correction.conversation.id {
                    continue;
                }
                let grounds = grounds(correction, &row);
                unknown.retain(|id| !grounds.contains(&Ground::Name(id)));
                let by = match grounds.first() {
                    None => continue,
                    Some(Ground::Question) => "question".to_owned(),
                    Some(Ground::Name(id)) => (*id).to_owned(),
                };
                replaced.push(Replaced { node: node.clone(), row: row.id, by });
            }
        }
    }
    if !was_built {
        unknown.clear();
    }
    Ok((replaced, unknown))
}

/// Tells people what a correction replaces.
pub(super) fn tell(output: &mut Output, replaced: &[Replaced], unknown: &[String]) {
    for Replaced { node, row, by } in replaced.iter().take(MOST_SHOWN) {
        let by = if by == "question" { "the same question".to_owned() } else { format!("named by `{by}`") };
        output.line(format_args!("  takes the place of `{row}` in `{node}`: {by}"));
    }
    if replaced.len() > MOST_SHOWN {
        output.line(format_args!("  … and of {} more rows", replaced.len() - MOST_SHOWN));
    }
    for id in unknown {
        output.note(format_args!("`{id}` names no row of the last build"));
    }
}
