//! A record or a row: what it came from, where it went, and where it was dropped.

use serde_json::{Value, json};

use super::super::rows::Rows;
use super::super::session::Session;
use super::super::show::plain;
use super::super::{CliError, Context, Exit};
use super::reasons::Reasons;
use crate::engine::{Ancestry, EngineError, Held, Reached, Resolver};
use crate::graph::NodeIndex;
use crate::manifest::Family;
use crate::node::filter::is_dropped;
use crate::record::{Comment, Record, SourceRef};

/// All that is known of an id.
pub(in crate::cli) struct Found<'a> {
    id: &'a str,
    is_excluded: bool,
    /// Why it is excluded.
    note: Option<String>,
    held: Vec<Held>,
    reached: Vec<Reached>,
}

/// A record or a row that went into a node and did not come out.
struct Dropped {
    index: NodeIndex,
    id: String,
    reasons: Reasons,
}

impl<'a> Found<'a> {
    /// Looks an id up.
    ///
    /// # Errors
    /// Errors of the store.
    pub(in crate::cli) fn of(session: &Session<'_>, ancestry: &Ancestry<'_>, id: &'a str) -> Result<Self, EngineError> {
        let held = ancestry.holders(id)?;
        let entry = session.exclusions.entries().get(id);
        let (is_excluded, note) = (entry.is_some(), entry.cloned().flatten());
        let reached = ancestry.reached(&ancestry.seeds(&[id.to_owned()])?)?;
        Ok(Self { id, is_excluded, note, held, reached })
    }

    /// Returns whether the id stands for anything.
    pub(in crate::cli) fn is_something(&self) -> bool {
        !self.held.is_empty() || !self.reached.is_empty() || self.is_excluded
    }

    pub(super) fn tell(
        &self,
        context: &mut Context<'_>,
        resolver: &Resolver<'_>,
        ancestry: &Ancestry<'_>,
        rows: Rows,
    ) -> Result<Exit, CliError> {
        let sources = self.sources(ancestry)?;
        let dropped = self.dropped(resolver, ancestry, rows)?;
        self.for_people(context, ancestry, &sources, &dropped, rows);
        let object = self.for_programs(ancestry, &sources, &dropped, rows);
        context.output.json(&json!({ "lineage": object }));
        Ok(Exit::Done)
    }

    /// Returns where it went, beside the source that it is in.
    fn went_into(&self, ancestry: &Ancestry<'_>) -> impl Iterator<Item = &Reached> {
        let is_itself = |reached: &Reached| {
            ancestry.node(reached.index).family == Family::Source
                && matches!(reached.rows.as_slice(), [id] if id == self.id)
        };
        self.reached.iter().filter(move |reached| !is_itself(reached))
    }

    /// Returns the records that it came from, beside itself.
    fn sources(&self, ancestry: &Ancestry<'_>) -> Result<Vec<Source>, EngineError> {
        let mut sources: Vec<Source> = Vec::new();
        let rows = self.held.iter().filter_map(|held| held.record.conversation());
        for source in rows.flat_map(|row| &row.sources).filter(|source| source.id != self.id) {
            if sources.iter().all(|known| known.source != *source) {
                let now = ancestry.source(source)?.map(|now| Now::of(source, now));
                sources.push(Source { source: source.clone(), now });
            }
        }
        Ok(sources)
    }

    /// Returns what went into filters and did not come out, of each filter the first ones: each reason costs a run.
    fn dropped(
        &self,
        resolver: &Resolver<'_>,
        ancestry: &Ancestry<'_>,
        rows: Rows,
    ) -> Result<Vec<Dropped>, EngineError> {
        let mut dropped = Vec::new();
        for built in ancestry.nodes() {
            let node = ancestry.node(built.index);
            if node.family != Family::Filter {
                continue;
            }
            let info = resolver.kind(node)?.info();
            let is_left_out =
                |reached: &Reached| reached.output.as_deref().is_some_and(|output| is_dropped(info, output));
            let came_out: Vec<&String> = self
                .reached
                .iter()
                .filter(|reached| reached.index == built.index && !is_left_out(reached))
                .flat_map(|reached| &reached.rows)
                .collect();
            let went_in = built.inputs.iter().flat_map(|(from, output, _)| {
                self.reached.iter().filter(move |reached| {
                    ancestry.node(reached.index).name == *from && reached.output.as_ref() == Some(output)
                })
            });
            let lost = went_in.flat_map(|reached| &reached.rows);
            let lost = lost.filter(|id| came_out.iter().all(|row| !row.starts_with(id.as_str())));
            for id in lost.take(rows.limit()) {
                let reasons = Reasons::of(resolver, built.index, id)?;
                dropped.push(Dropped { index: built.index, id: id.clone(), reasons });
            }
        }
        Ok(dropped)
    }

    fn for_people(
        &self,
        context: &mut Context<'_>,
        ancestry: &Ancestry<'_>,
        sources: &[Source],
        dropped: &[Dropped],
        rows: Rows,
    ) {
        let output = &mut *context.output;
        let id = plain(self.id);
        match &self.note {
            Some(note) => output.line(format_args!("{id} is excluded: {}", plain(note))),
            None if self.is_excluded => output.line(format_args!("{id} is excluded")),
            None if self.held.is_empty() => output.line(format_args!("{id} is in no source any more")),
            None => {}
        }
        // Filters after the first only pass it on, which stands below.
        for held in self.held.iter().take(1) {
            let (node, kind) = (&ancestry.node(held.index).name, held.record.kind());
            output.line(format_args!("{id}: {kind} in {node}:{}, {}", held.output, held.digest.short()));
            if let Some(url) = held.record.url() {
                output.line(format_args!("  {}", plain(url)));
            }
        }
        if !sources.is_empty() {
            output.line("came from");
        }
        for source in sources {
            output.line(format_args!("  {}", plain(&source.for_people(ancestry))));
        }
        let went_into: Vec<&Reached> = self.went_into(ancestry).collect();
        if !went_into.is_empty() {
            output.line("went into");
        }
        for reached in went_into {
            output.line(format_args!("  {}", plain(&destination(reached, ancestry, rows))));
        }
        if !dropped.is_empty() {
            output.line("dropped");
        }
        for Dropped { index, id, reasons } in dropped {
            let why = plain(&reasons.for_people());
            output.line(format_args!("  {}: {}: {why}", ancestry.node(*index).name, plain(id)));
        }
    }

    fn for_programs(&self, ancestry: &Ancestry<'_>, sources: &[Source], dropped: &[Dropped], rows: Rows) -> Value {
        let held = self.held.iter().map(|held| {
            json!({
                "node": ancestry.node(held.index).name, "output": held.output, "kind": held.record.kind(),
                "digest": held.digest, "url": held.record.url(),
            })
        });
        let reached = self.went_into(ancestry).map(|reached| {
            let node = ancestry.node(reached.index);
            let ids: Vec<&String> = reached.rows.iter().take(rows.limit()).collect();
            json!({
                "node": node.name, "kind": node.kind_name, "output": reached.output, "rows": reached.rows.len(),
                "ids": ids, "out": node.out,
            })
        });
        let dropped = dropped.iter().map(|Dropped { index, id, reasons }| {
            json!({"node": ancestry.node(*index).name, "id": id, "reasons": reasons.for_programs()})
        });
        json!({
            "asked": self.id,
            "is": "record",
            "excluded": self.is_excluded,
            "held": held.collect::<Vec<_>>(),
            "from": sources.iter().map(|source| source.for_programs(ancestry)).collect::<Vec<_>>(),
            "reached": reached.collect::<Vec<_>>(),
            "dropped": dropped.collect::<Vec<_>>(),
        })
    }
}

/// A record that a row came from.
struct Source {
    source: SourceRef,
    now: Option<Now>,
}

/// What that record is now.
struct Now {
    index: NodeIndex,
    kind: &'static str,
    url: Option<String>,
    is_unchanged: bool,
    /// The comments whose words the row has.
    comments: Vec<Comment>,
}

impl Now {
    fn of(source: &SourceRef, (index, record, is_unchanged): (NodeIndex, Record, bool)) -> Self {
        let comments = source.comments.iter().filter_map(|id| record.comment(*id)).cloned().collect();
        Self { index, kind: record.kind(), url: record.url().map(str::to_owned), is_unchanged, comments }
    }
}

impl Source {
    fn for_people(&self, ancestry: &Ancestry<'_>) -> String {
        let Self { source, now } = self;
        let mut text = format!("{}, {}", source.id, source.digest.short());
        match now {
            None => text.push_str(": in no source any more"),
            Some(Now { index, kind, url, is_unchanged, comments }) => {
                text.push_str(&format!(": {kind} in {}", ancestry.node(*index).name));
                if !is_unchanged {
                    text.push_str(", edited since");
                }
                if let Some(url) = url {
                    text.push_str(&format!(", {url}"));
                }
                for Comment { id, author, created_at, .. } in comments {
                    let id = id.unwrap_or_default();
                    text.push_str(&format!("\n    comment {id} by {}", author.login.as_deref().unwrap_or("somebody")));
                    if let Some(at) = created_at {
                        text.push_str(&format!(", {at}"));
                    }
                }
            }
        }
        text
    }

    fn for_programs(&self, ancestry: &Ancestry<'_>) -> Value {
        let now = self.now.as_ref();
        json!({
            "id": self.source.id,
            "digest": self.source.digest,
            "comments": self.source.comments,
            "node": now.map(|now| &ancestry.node(now.index).name),
            "kind": now.map(|now| now.kind),
            "url": now.and_then(|now| now.url.as_deref()),
            "unchanged": now.map(|now| now.is_unchanged),
        })
    }
}

/// Returns a line about what has rows of a record, or was made from such.
fn destination(reached: &Reached, ancestry: &Ancestry<'_>, rows: Rows) -> String {
    let node = ancestry.node(reached.index);
    let count = reached.rows.len();
    let noun = if count == 1 { "row" } else { "rows" };
    let mut text = match &reached.output {
        Some(output) => format!("{}:{output}: {count} {noun}", node.name),
        None if node.family == Family::Eval => {
            format!("{} ({}): measured on {count} {noun}", node.name, node.kind_name)
        }
        None => format!("{} ({}): made from {count} {noun}", node.name, node.kind_name),
    };
    let shown: Vec<&str> = reached.rows.iter().take(rows.limit()).map(String::as_str).collect();
    if !shown.is_empty() {
        let more = if count > shown.len() { ", …" } else { "" };
        text.push_str(&format!(": {}{more}", shown.join(", ")));
    }
    if let Some(out) = &node.out {
        text.push_str(&format!(" → {out}"));
    }
    text
}
