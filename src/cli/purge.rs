//! `tunesmith purge`: exclude records or rows from everything that is built from now on.
//!
//! The list lies beside the manifest, one line an id, and belongs into git. `--json` writes one object `purge`: `ids`,
//! `note`, `undone`, `file` (its name), `stale` (the nodes that were fresh and have to run again) and `models` (each
//! `node`, `kind`, `rows`: those that were made from rows of what is purged).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::lineage::{Found, unknown};
use super::session::Session;
use super::show::plain;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{Ancestry, Deploy, Exclusions, Mode, Planned, plan};
use crate::graph::NodeIndex;
use crate::manifest::Family;

/// Arguments of `purge`.
#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    /// Ids of records, which go with all rows and corrections that name them, or of single rows
    #[arg(value_name = "RECORD|ROW", required = true)]
    ids: Vec<String>,
    /// Why, for people: it is kept beside the id
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Let them in again
    #[arg(long, conflicts_with_all = ["note", "unseen"])]
    undo: bool,
    /// Exclude ids, too, that nothing has yet
    #[arg(long)]
    unseen: bool,
}

impl Execute for Purge {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let changed = if self.undo { self.included(&session)? } else { self.excluded(&session)? };
        let models = self.models(&session)?;
        let before = fresh(&session, &session.exclusions)?;
        changed.write()?;
        let now = fresh(&session, &changed)?;
        let graph = &session.project.graph;
        let stale: Vec<&str> = before.difference(&now).map(|index| graph[*index].name.as_str()).collect();
        self.for_people(context, &session, &changed, &stale, &models);
        let models = models
            .iter()
            .map(|(index, rows)| json!({"node": graph[*index].name, "kind": graph[*index].kind_name, "rows": rows}));
        context.output.json(&json!({"purge": {
            "ids": self.ids, "note": self.note, "undone": self.undo, "file": changed.name(), "stale": stale,
            "models": models.collect::<Vec<_>>(),
        }}));
        Ok(Exit::Done)
    }
}

impl Purge {
    /// Returns the list with the ids in it.
    fn excluded(&self, session: &Session<'_>) -> Result<Exclusions, CliError> {
        let resolver = session.resolver();
        let ancestry = Ancestry::of(&resolver)?;
        for id in self.ids.iter().filter(|_| !self.unseen) {
            if !Found::of(session, &ancestry, id)?.is_something() {
                return Err(unknown(session, &ancestry, id)?);
            }
        }
        Ok(session.exclusions.with(&self.ids, self.note.as_deref())?)
    }

    /// Returns the list without the ids.
    fn included(&self, session: &Session<'_>) -> Result<Exclusions, CliError> {
        let entries = session.exclusions.entries();
        if let Some(id) = self.ids.iter().find(|id| !entries.contains_key(*id)) {
            let (id, file) = (id.escape_debug().to_string(), session.exclusions.name());
            return Err(CliError::NotExcluded { id, file });
        }
        Ok(session.exclusions.without(&self.ids)?)
    }

    /// Returns what was made from rows of the ids, with how many.
    fn models(&self, session: &Session<'_>) -> Result<BTreeMap<NodeIndex, usize>, CliError> {
        let resolver = session.resolver();
        let ancestry = Ancestry::of(&resolver)?;
        let reached = ancestry.reached(&ancestry.seeds(&self.ids)?)?;
        let is_model = |index: NodeIndex| matches!(ancestry.node(index).family, Family::Train | Family::Export);
        let models = reached.into_iter().filter(|reached| reached.output.is_none() && is_model(reached.index));
        Ok(models.map(|reached| (reached.index, reached.rows.len())).collect())
    }

    fn for_people(
        &self,
        context: &mut Context<'_>,
        session: &Session<'_>,
        changed: &Exclusions,
        stale: &[&str],
        models: &BTreeMap<NodeIndex, usize>,
    ) {
        let output = &mut *context.output;
        let file = changed.name();
        for id in &self.ids {
            let id = plain(id);
            if self.undo {
                output.line(format_args!("{id} is no longer excluded"));
            } else {
                output.line(format_args!("{id} is excluded by {file}: commit it"));
            }
        }
        match stale {
            [] => output.line("nothing that was fresh becomes stale; `tunesmith build` writes `out` files anew"),
            stale => output.line(format_args!("stale now: {}: `tunesmith build`", stale.join(", "))),
        }
        for (index, rows) in models {
            let node = &session.project.graph[*index];
            let noun = if *rows == 1 { "row" } else { "rows" };
            output.line(format_args!("{} ({}) was made from {rows} {noun} of it", node.name, node.kind_name));
        }
        if !self.undo {
            output.line(
                "older results stay in the store until a build and `tunesmith cache gc --keep-runs 0`, snapshots while \
                 the lock names them",
            );
        }
    }
}

/// Returns the nodes that are fresh where these records are excluded.
fn fresh(session: &Session<'_>, exclusions: &Exclusions) -> Result<BTreeSet<NodeIndex>, CliError> {
    let resolver = session.resolver_with(exclusions);
    let selected = session.select(&[], &[], &[])?;
    let plan = plan(&resolver, &selected, &Deploy::default())?;
    let fresh = plan.nodes.iter().filter(|(_, planned)| matches!(planned, Planned::Fresh(_)));
    Ok(fresh.map(|(index, _)| *index).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::lineage::tests::built;
    use crate::cli::testing::Space;

    /// Returns all that a user can have of the built project, as text.
    fn outputs(space: &Space) -> String {
        let nodes = ["issues", "notes", "fixes", "pairs", "dataset:train", "dataset:eval", "merged"];
        let mut text = String::new();
        for node in nodes {
            space.done(&["get", node, "-o", "got", "--force"]);
            text += &fs_err::read_to_string(space.path().join("got")).unwrap();
        }
        for out in ["pairs.jsonl", "model.bin"] {
            text += &fs_err::read_to_string(space.path().join(out)).unwrap();
        }
        text
    }

    #[test]
    fn after_a_purge_and_a_build_no_output_has_the_record_its_rows_or_its_corrections() {
        let space = built();
        assert!(outputs(&space).contains("number 3") && outputs(&space).contains("number three"));
        let said = space.done(&["purge", "o/r#3", "--note", "asked to"]);
        assert!(said.out.contains("o/r#3 is excluded by pipeline.excluded.jsonl: commit it\n"), "{}", said.out);
        assert!(said.out.contains("stale now: pairs, dataset, merged"), "{}", said.out);
        assert!(said.out.contains("merged (export.command) was made from 1 row of it\n"), "{}", said.out);
        let list = fs_err::read_to_string(space.path().join("pipeline.excluded.jsonl")).unwrap();
        assert_eq!(list, "{\"id\":\"o/r#3\",\"note\":\"asked to\"}\n");
        space.done(&["build"]);
        let text = outputs(&space);
        assert!(!text.contains("number 3") && !text.to_lowercase().contains("number three"), "{text}");
        assert!(text.contains("number 1") && text.contains("alpha"), "{text}");
        for node in ["issues", "notes", "fixes"] {
            let shown = space.done(&["show", node]).out;
            assert!(shown.contains("counted excluded by pipeline.excluded.jsonl: 1\n"), "{shown}");
        }
        assert!(space.done(&["plan"]).out.starts_with("nothing to do"));
    }

    #[test]
    fn only_what_read_the_record_becomes_stale_and_undoing_it_runs_nothing() {
        let space = built();
        space.edit(
            "pipeline.toml",
            "[filter.dataset]",
            "[filter.others]\ntype = \"conversations\"\nfrom = [\"notes\"]\n[filter.dataset]",
        );
        space.done(&["build"]);
        let said = space.done(&["purge", "o/r#1", "--json"]).object("purge");
        assert_eq!(said["stale"], json!(["pairs", "dataset", "merged", "packed"]), "{said}");
        let plan = space.done(&["plan"]).out;
        assert!(plan.contains("run pairs") && !plan.contains("others") && !plan.contains("issues ("), "{plan}");
        let why = space.done(&["explain", "pairs"]).out;
        assert!(why.contains("input issues:records changed: 1 record removed (o/r#1)"), "{why}");
        space.done(&["build"]);
        let undone = space.done(&["purge", "o/r#1", "--undo"]);
        assert!(undone.out.starts_with("o/r#1 is no longer excluded\n"), "{}", undone.out);
        assert!(!space.path().join("pipeline.excluded.jsonl").exists());
        assert!(space.done(&["build"]).err.contains("0 built, "), "the former results are fresh again");
    }

    #[test]
    fn one_row_can_be_purged_without_its_record() {
        let space = built();
        space.done(&["purge", "o/r#10:answer"]);
        space.done(&["build"]);
        assert!(space.done(&["show", "issues"]).out.contains("state: fresh"));
        let said = space.done(&["lineage", "o/r#10"]).out;
        assert!(said.contains("o/r#10: issue in issues:records"), "{said}");
        assert!(!said.contains("merged (export.command)"), "{said}");
        assert!(said.contains("dropped\n  pairs: o/r#10: excluded by pipeline.excluded.jsonl\n"), "{said}");
        assert!(space.done(&["lineage", "o/r#10:answer"]).out.starts_with("o/r#10:answer is excluded\n"));
    }

    #[test]
    fn a_build_on_what_was_built_before_sees_no_excluded_record() {
        let space = built();
        space.done(&["purge", "o/r#1"]);
        space.done(&["build", "--from", "dataset"]);
        let text = fs_err::read_to_string(space.path().join("model.bin")).unwrap();
        assert!(!text.contains("number 1 ") && text.contains("number 10"), "{text}");
    }

    #[test]
    fn a_short_answer_does_not_outlive_a_purge() {
        let space = built();
        std::thread::sleep(std::time::Duration::from_millis(40));
        space.done(&["build"]);
        space.write("pipeline.excluded.jsonl", "{\"id\": \"o/r#1\"}\n");
        assert!(space.done(&["plan"]).out.contains("run pairs"));
    }

    #[test]
    fn an_id_that_nothing_has_is_refused_unless_it_may_still_come() {
        let space = built();
        space.refused(&["purge", "o/r#111"], Exit::Wrong, "did you mean");
        space.refused(&["purge", "o/r#1", "--undo"], Exit::Wrong, "`o/r#1` is not in pipeline.excluded.jsonl");
        space.done(&["purge", "o/r#111", "--unseen"]);
        space.done(&["verify", "pairs"]);
    }

    #[test]
    fn a_line_that_excludes_nothing_is_named() {
        let space = built();
        space.write("pipeline.excluded.jsonl", "{\"id\": \"a\"}\n<<<<<<< HEAD\n");
        space.refused(&["plan"], Exit::Failed, "pipeline.excluded.jsonl:2` excludes nothing");
        space.write("pipeline.excluded.jsonl", "{\"ids\": \"a\"}\n");
        space.refused(&["build"], Exit::Failed, "unknown field `ids`");
    }
}
