//! `tunesmith lineage`: where a record went, where a row came from, and what a model was made from.
//!
//! All of it is about what each node was last built from. `--json` writes one object `lineage`. For a record or a row:
//! `asked`, `is` (`record`), `excluded`, `held` (each `node`, `output`, `kind`, `digest`, `url`), `from` (each `id`,
//! `digest`, `comments`, `node`, `kind`, `url`, `unchanged`), `reached` (each `node`, `kind`, `output`, `rows` as a count,
//! `ids`, `out`) and `dropped` (each `node`, `id`, `reasons`, which is `null` where they cannot be told). For a model or
//! another output: `asked`, `is` (`model`), `node`, `kind`, `outputs` (each `output`, `digest`) and `sets` (each `set`,
//! `rows`, `sources` with `node`, `records` and `rows`, and `ids`). `ids` are as many as `--rows` says.

mod model;
mod reasons;
mod record;

pub(super) use reasons::Reasons;
pub(super) use record::Found;

use super::rows::Rows;
use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{Ancestry, EngineError, Mode};
use crate::store::Digest;

/// Fewer hexadecimal digits are no digest: short words could be meant as one.
const FEWEST_DIGITS: usize = 8;

/// Arguments of `lineage`.
#[derive(Debug, clap::Args)]
pub(super) struct Lineage {
    /// The id of a record or a row; a node; the digest of an output or of a file in it; a built file
    #[arg(value_name = "ROW|RECORD|MODEL")]
    asked: String,
    /// Name this many rows of each output, or `all`
    #[arg(long, value_name = "N", default_value = "5")]
    rows: Rows,
}

impl Execute for Lineage {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let resolver = session.resolver();
        let ancestry = Ancestry::of(&resolver)?;
        if let Some(index) = session.project.graph.find(&self.asked) {
            let built = ancestry.nodes().iter().find(|built| built.index == index);
            let built = built.ok_or_else(|| CliError::NeverBuilt { node: self.asked.clone() })?;
            return model::tell(context, &ancestry, &self.asked, built, self.rows);
        }
        let found = Found::of(&session, &ancestry, &self.asked)?;
        if found.is_something() {
            return found.tell(context, &resolver, &ancestry, self.rows);
        }
        if let Some(digest) = self.digest(context)?
            && let Some(built) = ancestry.by_digest(&digest)?
        {
            return model::tell(context, &ancestry, &self.asked, &built, self.rows);
        }
        Err(unknown(&session, &ancestry, &self.asked)?)
    }
}

impl Lineage {
    /// Returns the digest that is asked about: by its hexadecimal digits, or that of a file.
    fn digest(&self, context: &Context<'_>) -> Result<Option<String>, CliError> {
        let is_hex = self.asked.len() >= FEWEST_DIGITS && self.asked.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex {
            return Ok(Some(self.asked.to_ascii_lowercase()));
        }
        let path = context.surroundings.folder.join(&self.asked);
        if !path.is_file() {
            return Ok(None);
        }
        Ok(Some(Digest::of_file(&path)?.to_string()))
    }
}

/// Makes the error for what no output has, with what may be meant.
pub(super) fn unknown(session: &Session<'_>, ancestry: &Ancestry<'_>, id: &str) -> Result<CliError, EngineError> {
    let near = ancestry.near(id)?;
    let help = match near.as_slice() {
        [] if ancestry.nodes().is_empty() => "nothing was built yet: run `tunesmith build`".to_owned(),
        [] => {
            let names: Vec<&str> =
                session.project.graph.nodes().iter().map(|node| node.name.as_str()).take(12).collect();
            format!("ids are as `tunesmith show NODE --rows 5` shows them; nodes: `{}`", names.join("`, `"))
        }
        [one] => format!("did you mean `{one}`?"),
        [first, second, ..] => format!("did you mean `{first}` or `{second}`?"),
    };
    Ok(CliError::UnknownRecord { id: id.escape_debug().to_string(), help })
}

#[cfg(test)]
pub(super) mod tests;
