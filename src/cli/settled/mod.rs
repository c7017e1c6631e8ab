//! The short way for a command to which the last build has the answer: nothing changed since it found everything fresh,
//! or only a little.
//!
//! A question is all that a build depends on beside the files it looks at: this program, the text of the manifest, the
//! lock and the list of excluded records, and the command line. Only the bytes of the manifest are read, not their
//! meaning, so the answer is looked for in the store's usual place.

mod part;
#[cfg(test)]
mod part_tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::part::Notes;
use super::project::{self, ManifestText, exclusions_name, lock_name};
use super::selection::Selection;
use super::session::Session;
use super::{CliError, Context};
use crate::engine::{BuildReport, EngineError, OutWrite, Outcome};
use crate::manifest::Refresh;
use crate::store::{Digest, Settled};

pub(super) use self::part::Part;

/// The store's folder where the manifest names no other.
const USUAL_STORE: &str = "cache";

/// What a command asks.
pub(super) struct Question {
    digest: Digest,
    store: PathBuf,
    manifest: Arc<ManifestText>,
    /// Whether it is about the manifest as it stands, and about all of its nodes.
    is_plain: bool,
}

/// What the store has of an answer.
pub(super) enum Answer {
    /// All is fresh.
    Settled(Settled),
    /// What is left out of the part is fresh.
    Shaken(Settled, Part),
}

impl Question {
    /// Makes the question of a command; `None` when what it asks for has no lasting answer.
    ///
    /// # Errors
    /// No manifest, or one that cannot be read.
    pub(super) fn new(context: &Context<'_>, selection: &Selection) -> Result<Option<Self>, CliError> {
        if !selection.is_lasting() {
            return Ok(None);
        }
        let globals = &context.globals;
        let manifest = project::text(context)?;
        let file = &manifest.file;
        let root = file.parent().unwrap_or(Path::new("/"));
        let lock = fs_err::read(root.join(lock_name(file, globals.profile.as_deref()))).unwrap_or_default();
        let exclusions = fs_err::read(root.join(exclusions_name(file))).unwrap_or_default();
        let program = context.surroundings.worker.as_deref().and_then(|program| fs_err::metadata(program).ok());
        let program = program.map(|metadata| (metadata.len(), metadata.modified().ok()));
        let parts = [
            env!("CARGO_PKG_VERSION").to_owned(),
            format!("{program:?}"),
            format!("{} {:?} {:?} {selection:?}", file.display(), globals.profile, globals.set),
            Digest::of(manifest.text.as_bytes()).to_string(),
            Digest::of(&lock).to_string(),
            Digest::of(&exclusions).to_string(),
        ];
        let digest = Digest::of(parts.join("\n").as_bytes());
        let is_plain = globals.profile.is_none() && globals.set.is_empty() && selection.is_everything();
        let store = root.join(USUAL_STORE);
        Ok(Some(Self { digest, store, manifest: Arc::new(manifest), is_plain }))
    }

    /// Returns the answer, if there is one.
    pub(super) fn answer(&self) -> Option<Answer> {
        let settled = Settled::read(&self.store, &self.digest)?;
        if settled.holds() {
            return Some(Answer::Settled(settled));
        }
        let part = if self.is_plain { Notes::read(&settled)?.reached(settled.changed())? } else { return None };
        let part = Part::new(part, Arc::clone(&self.manifest));
        Some(Answer::Shaken(settled, part))
    }

    /// Returns the part of the project that says how one node stands, if there is an answer that has it.
    pub(super) fn about(&self, node: &str) -> Option<(Settled, Part)> {
        let settled = Settled::read(&self.store, &self.digest).filter(|_| self.is_plain)?;
        let number = settled.nodes.iter().position(|name| name == node)?;
        let notes = Notes::read(&settled)?;
        // A place that is nobody's may be anybody's.
        let known = settled.holds() || notes.covers(settled.changed());
        let part = if known { notes.around(number)? } else { return None };
        Some((settled, Part::new(part, Arc::clone(&self.manifest))))
    }

    /// Keeps the answer for the next command, when a build found everything fresh and time alone changes nothing.
    ///
    /// # Errors
    /// Errors of writing to the store.
    pub(super) fn settle(&self, session: &Session<'_>, report: &BuildReport) -> Result<(), CliError> {
        let graph = &session.project.graph;
        let is_fresh = report.nodes.iter().all(|node| matches!(node.outcome, Outcome::Fresh(_)));
        let is_timeless = graph.nodes().iter().all(|node| node.refresh == Refresh::Manual);
        if report.is_news() || !is_fresh || !is_timeless || session.store.root() != self.store {
            return Ok(());
        }
        let nodes = report.nodes.iter().map(|node| graph[node.index].name.clone()).collect();
        let project = &session.project;
        let notes = |settled: &Settled| {
            // A selection, a profile or a setting from outside is always read whole.
            if self.is_plain {
                Notes::of(graph, &project.manifest, &self.manifest.text, &project.root, settled).to_bytes()
            } else {
                Vec::new()
            }
        };
        Ok(session.store.settle(self.digest, nodes, notes).map_err(EngineError::from)?)
    }

    /// Keeps an answer again after a build of the part that a change reached, when all of it ended well.
    ///
    /// # Errors
    /// Errors of writing to the store.
    pub(super) fn settle_again(settled: Settled, session: &Session<'_>, report: &BuildReport) -> Result<(), CliError> {
        let is_well = report.nodes.iter().all(|node| {
            matches!(node.outcome, Outcome::Fresh(_) | Outcome::Built { .. }) && node.out != Some(OutWrite::Edited)
        });
        if !is_well {
            return Ok(());
        }
        Ok(session.store.settle_again(settled).map_err(EngineError::from)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::Space;

    /// A manifest with all that a build looks at: files, a folder with globs, an optional file, an `out`, an object.
    const MANIFEST: &str = "schema = 1\n\n[source.notes]\ntype = \"jsonl\"\npath = \"notes.jsonl\"\nout = \"notes.out\"\n\
        [source.more]\ntype = \"jsonl\"\npath = \"more.jsonl\"\noptional = true\n\
        [source.docs]\ntype = \"markdown\"\npath = \"docs\"\n\
        [filter.upper]\ntype = \"command\"\nfrom = [\"docs\"]\nargv = [\"cp\", \"notes.txt\", \"text\"]\n\
        files = [\"notes.txt\"]\noutputs.text.path = \"text\"\n";

    /// Builds until the answer is kept: files that were written a moment ago are not yet to be trusted by their stamps.
    fn settled() -> Space {
        let space = Space::new();
        fs_err::create_dir_all(space.path().join("docs/deep")).unwrap();
        space.write("docs/deep/a.md", "# A\n\nText of the first document.\n");
        space.write("notes.txt", "notes");
        space.write("pipeline.toml", MANIFEST);
        space.done(&["build"]);
        settle(&space);
        space
    }

    fn settle(space: &Space) {
        std::thread::sleep(Duration::from_millis(40));
        fs_err::remove_file(space.path().join("cache/settled")).ok();
        assert!(space.done(&["build"]).err.starts_with("0 built, "));
        assert!(space.path().join("cache/settled").exists());
    }

    #[test]
    fn the_answer_is_that_of_a_build_that_looks() {
        let space = settled();
        let short = ["build", "plan", "status"].map(|command| space.done(&[command]));
        let kept = fs_err::read(space.path().join("cache/settled")).unwrap();
        fs_err::remove_file(space.path().join("cache/settled")).unwrap();
        let long = ["plan", "status"].map(|command| space.done(&[command]));
        assert_eq!(short[1].out, long[0].out);
        assert_eq!(short[2].out, long[1].out);
        assert_eq!(short[0].err, space.done(&["build"]).err);
        assert_eq!(fs_err::read(space.path().join("cache/settled")).unwrap(), kept);
    }

    #[test]
    fn whatever_a_build_looks_at_takes_the_answer_away_when_it_changes() {
        let change = |what: &str, go: &dyn Fn(&Space), command: &[&str], says: &str| {
            let space = settled();
            go(&space);
            let said = space.run(command);
            let text = format!("{}{}", said.out, said.err);
            assert!(text.contains(says), "{what}: {text}");
        };
        let plan = &["plan"];
        change("a source", &|space| space.edit("notes.jsonl", "alpha", "alpine"), plan, "run notes");
        change("a file of a command", &|space| space.write("notes.txt", "other"), plan, "run upper");
        change("a new file below a glob", &|space| space.write("docs/deep/b.md", "# B\n\nMore.\n"), plan, "run docs");
        change("an optional file that came", &|space| space.write("more.jsonl", ""), plan, "run more");
        let remove = |name: &'static str| move |space: &Space| fs_err::remove_file(space.path().join(name)).unwrap();
        change("a missing source", &remove("notes.jsonl"), plan, "notes.jsonl");
        change("a missing document", &remove("docs/deep/a.md"), plan, "run docs");
        change("the index", &remove("cache/index.sqlite"), plan, "never built");
        change("a missing out", &remove("notes.out"), &["build"], "notes → notes.out");
        let edit_out = |space: &Space| space.write("notes.out", "mine");
        change("an edited out", &edit_out, &["build"], "was edited since it was written");
        change("the manifest", &|space| space.edit("pipeline.toml", "\"cp\"", "\"cat\""), plan, "run upper");
        change("a setting from outside", &|_| (), &["plan", "--set", "filter.upper.argv=[\"true\"]"], "run upper");
        change("what is asked for", &|_| (), &["plan", "--force", "notes"], "run notes");
        let objects = |space: &Space| fs_err::remove_dir_all(space.path().join("cache/objects")).unwrap();
        change("a missing object", &objects, plan, "run upper");
        let gc = |space: &Space| {
            space.done(&["cache", "gc"]);
        };
        change("a collection", &gc, plan, "nothing to do");
    }

    #[test]
    fn a_damaged_answer_is_none() {
        let space = settled();
        let path = space.path().join("cache/settled");
        let mut bytes = fs_err::read(&path).unwrap();
        // The first eight tell its length, and what comes after it is notes.
        bytes[50] ^= 1;
        fs_err::write(&path, &bytes).unwrap();
        assert!(space.done(&["build"]).err.starts_with("0 built, "));
        assert_ne!(fs_err::read(&path).unwrap(), bytes, "it was asked for anew and kept");
    }
}
