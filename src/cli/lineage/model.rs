//! A model, or another output: the rows it was made from, and the sources of those.

use std::collections::BTreeMap;

use indicatif::HumanCount;
use serde_json::{Value, json};

use super::super::rows::Rows;
use super::super::show::plain;
use super::super::{CliError, Context, Exit};
use crate::engine::{Ancestry, BuiltNode, EngineError, Share};
use crate::graph::NodeIndex;
use crate::store::{Artifact, RecordsRef};

/// Rows that went into a model.
struct Behind {
    name: String,
    set: RecordsRef,
    shares: BTreeMap<Option<NodeIndex>, Share>,
    /// The first ids.
    ids: Vec<String>,
}

/// Tells what a node was made from.
pub(super) fn tell(
    context: &mut Context<'_>,
    ancestry: &Ancestry<'_>,
    asked: &str,
    built: &BuiltNode,
    rows: Rows,
) -> Result<Exit, CliError> {
    let sets = sets(ancestry, built, rows)?;
    let node = ancestry.node(built.index);
    let output = &mut *context.output;
    output.line(format_args!("{} ({})", node.name, node.kind_name));
    for (name, artifact) in &built.outputs {
        output.line(format_args!("  output {name}: {}", artifact.digest()));
    }
    if sets.is_empty() {
        output.line("  no rows went into it");
    }
    for Behind { name, set, shares, ids } in &sets {
        output.line(format_args!("{name}: {}", counted(set.count, "row")));
        for (index, Share { records, rows }) in shares {
            let source = index.map_or("no source any more", |index| ancestry.node(index).name.as_str());
            let (rows, records) = (counted(*rows, "row"), counted(*records, "record"));
            output.line(format_args!("  {rows} of {records} of {source}"));
        }
        for id in ids {
            output.line(format_args!("    {}", plain(id)));
        }
        if (ids.len() as u64) < set.count {
            output.line("    …");
        }
    }
    let object = json!({
        "asked": asked,
        "is": "model",
        "node": node.name,
        "kind": node.kind_name,
        "outputs": built.outputs.iter().map(|(name, artifact)| json!({"output": name, "digest": artifact.digest()})).collect::<Vec<_>>(),
        "sets": sets.iter().map(|set| set.for_programs(ancestry)).collect::<Vec<_>>(),
    });
    context.output.json(&json!({ "lineage": object }));
    Ok(Exit::Done)
}

fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

/// Returns the sets behind a node's files, or those that it has itself.
fn sets(ancestry: &Ancestry<'_>, built: &BuiltNode, rows: Rows) -> Result<Vec<Behind>, EngineError> {
    let own = built.outputs.iter().filter_map(|(name, artifact)| match artifact {
        Artifact::Records(set) => Some((format!("{}:{name}", ancestry.node(built.index).name), *set)),
        Artifact::File(_) | Artifact::Folder { .. } => None,
    });
    let mut sets: Vec<(String, RecordsRef)> = own.collect();
    if sets.is_empty() {
        sets = ancestry.behind(built)?;
    }
    let read = sets.into_iter().map(|(name, set)| {
        let ids = ancestry.ids(&set, rows.limit())?;
        Ok(Behind { name, set, shares: ancestry.shares(&set)?, ids })
    });
    read.collect()
}

impl Behind {
    fn for_programs(&self, ancestry: &Ancestry<'_>) -> Value {
        let sources = self.shares.iter().map(|(index, share)| {
            let node = index.map(|index| &ancestry.node(index).name);
            json!({"node": node, "records": share.records, "rows": share.rows})
        });
        json!({
            "set": self.name, "rows": self.set.count, "sources": sources.collect::<Vec<_>>(), "ids": self.ids,
        })
    }
}
