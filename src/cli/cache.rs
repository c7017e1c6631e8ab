//! `tunesmith cache`: count, clean and check the store.
//!
//! `--json` writes one object: `stat` gives `cache-stat` (`actions`, `packed`, `packed-bytes`, `files`, `file-bytes`,
//! `memos`), `gc` gives `cache-gc` (`actions`, `objects`, `bytes`, `dry-run`), `verify` gives `cache-verify` (`right`,
//! `damaged`: digests, `unreadable-actions`).

use indicatif::HumanBytes;
use serde_json::json;

use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{EngineError, Mode, roots};

/// Arguments of `cache`.
#[derive(Debug, clap::Args)]
pub(super) struct Cache {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Count what the store holds
    Stat,
    /// Remove what no lock, no recent run and no node's last build needs
    Gc(Gc),
    /// Read everything and drop what is damaged; it is then built again
    Verify,
}

#[derive(Debug, clap::Args)]
struct Gc {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Keep the results of this many last runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    keep_runs: usize,
}

impl Execute for Cache {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match &self.command {
            Command::Stat => stat(context),
            Command::Gc(gc) => gc.execute(context),
            Command::Verify => verify(context),
        }
    }
}

fn stat(context: &mut Context<'_>) -> Result<Exit, CliError> {
    let session = Session::open(context, Mode::default())?;
    let stat = session.store.stat().map_err(EngineError::from)?;
    let output = &mut *context.output;
    output.line(format_args!("{} results", stat.actions));
    output.line(format_args!("{} packed objects, {}", stat.packed, HumanBytes(stat.packed_bytes)));
    output.line(format_args!("{} files, {}", stat.files, HumanBytes(stat.file_bytes)));
    output.line(format_args!("{} memos of record-wise work", stat.memos));
    output.json(&json!({ "cache-stat": stat }));
    Ok(Exit::Done)
}

impl Gc {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open_aside(context, Mode::default())?;
        let store = &session.store;
        let alone = store.alone().map_err(EngineError::from)?;
        // Under the right to collect, so that no build can publish between the two.
        let roots = roots(store, &session.locks()?, self.keep_runs)?;
        let collected = store.collect(&alone, &roots, self.dry_run).map_err(EngineError::from)?;
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let (actions, objects, bytes) = (collected.actions, collected.objects, HumanBytes(collected.bytes));
        context.output.line(format_args!("{verb} {actions} results and {objects} objects, {bytes}"));
        let mut object = serde_json::to_value(&collected).map_err(std::io::Error::from)?;
        object["dry-run"] = json!(self.dry_run);
        context.output.json(&json!({ "cache-gc": object }));
        Ok(Exit::Done)
    }
}

fn verify(context: &mut Context<'_>) -> Result<Exit, CliError> {
    let session = Session::open(context, Mode::default())?;
    let verified = session.store.verify().map_err(EngineError::from)?;
    let output = &mut *context.output;
    output.line(format_args!("{} objects are right", verified.right));
    for digest in &verified.damaged {
        output.line(format_args!("damaged, dropped: {digest}"));
    }
    if verified.unreadable_actions > 0 {
        output.line(format_args!("{} results could not be read, dropped", verified.unreadable_actions));
    }
    output.json(&json!({ "cache-verify": verified }));
    if verified.damaged.is_empty() && verified.unreadable_actions == 0 {
        return Ok(Exit::Done);
    }
    output.note("`tunesmith build` builds again what was dropped");
    Ok(Exit::Failed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::testing::{Space, rows};
    use crate::store::Store;

    #[test]
    fn a_collection_keeps_what_the_last_builds_need() {
        let space = Space::new();
        space.done(&["build"]);
        space.write("notes.jsonl", &rows(&["epsilon", "zeta", "eta"]));
        space.done(&["build"]);
        let dry = space.done(&["cache", "gc", "--dry-run", "--keep-runs", "1", "--json"]).object("cache-gc");
        let real = space.done(&["cache", "gc", "--keep-runs", "1", "--json"]).object("cache-gc");
        assert_eq!((&dry["actions"], &dry["dry-run"]), (&json!(3), &json!(true)));
        assert_eq!((&real["actions"], &real["objects"]), (&dry["actions"], &dry["objects"]));
        assert!(space.done(&["plan"]).out.contains("nothing to do"));
        assert_eq!(space.done(&["show", "pairs", "--rows", "9", "--json"]).objects("row").len(), 3);
        let again = space.done(&["cache", "gc", "--json"]).object("cache-gc");
        assert_eq!((&again["actions"], &again["objects"]), (&json!(0), &json!(0)));
    }

    #[test]
    fn a_collection_takes_the_files_of_free_locks_away() {
        let space = Space::new();
        space.done(&["build"]);
        let locks = || fs_err::read_dir(space.path().join("cache/locks")).unwrap().count();
        assert!(locks() > 1);
        space.done(&["cache", "gc", "--dry-run"]);
        assert!(locks() > 1);
        space.done(&["cache", "gc"]);
        assert_eq!(locks(), 1, "that of the store itself");
        space.edit("pipeline.toml", "eval = 0.5", "eval = 0.25");
        space.done(&["build"]);
    }

    #[test]
    fn a_checkpoint_of_an_interrupted_training_is_kept() {
        let space = Space::new();
        let checkpoint = {
            let store = Store::open(&space.path().join("cache"), None).unwrap();
            let file = store.put_file_bytes(b"numbers").unwrap();
            store.put_file_bytes(b"garbage").unwrap();
            store.put_state("checkpoint of a trajectory", &Some(file)).unwrap();
            file
        };
        let collected = space.done(&["cache", "gc", "--json"]).object("cache-gc");
        assert_eq!(collected["objects"], json!(1));
        let store = Store::open(&space.path().join("cache"), None).unwrap();
        assert!(store.has_file(&checkpoint));
    }

    #[test]
    fn recent_runs_are_kept() {
        let space = Space::new();
        space.done(&["build"]);
        space.write("notes.jsonl", &rows(&["epsilon", "zeta", "eta"]));
        space.done(&["build"]);
        space.done(&["cache", "gc"]);
        space.write("notes.jsonl", &rows(&["alpha", "beta", "gamma", "delta"]));
        assert!(space.done(&["plan"]).out.contains("nothing to do"));
    }

    #[test]
    fn a_collection_waits_for_nobody_who_builds() {
        let space = Space::new();
        space.done(&["build"]);
        let store = Store::open(&space.path().join("cache"), None).unwrap();
        let building = store.in_use().unwrap();
        space.refused(&["cache", "gc"], Exit::Failed, "a build uses the store right now");
        drop(building);
        space.done(&["cache", "gc"]);
    }

    #[test]
    fn damage_is_reported_and_dropped() {
        let space = Space::new();
        space.done(&["build"]);
        let stat = space.done(&["cache", "stat", "--json"]).object("cache-stat");
        assert_eq!(stat["actions"], json!(3));
        let store = Store::open(&space.path().join("cache"), None).unwrap();
        let file = store.put_file_bytes(b"model").unwrap();
        let path = store.path(&file).unwrap();
        fs_err::remove_file(&path).unwrap();
        fs_err::write(&path, b"mOdel").unwrap();
        let said = space.run(&["cache", "verify", "--json"]);
        assert_eq!(said.exit, Exit::Failed);
        assert_eq!(said.object("cache-verify")["damaged"], json!([file.digest]));
        space.done(&["cache", "verify"]);
    }
}
