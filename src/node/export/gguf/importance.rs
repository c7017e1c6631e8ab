//! The importance matrix: the merged model reads rows as it was trained on them.

use std::path::Path;

use super::earlier::scope;
use super::error::ExportError;
use crate::llama::{ContextOptions, Importance, LlamaError, Model, Token, importance};
use crate::node::voice::{Voice, conversations, mixed};
use crate::node::{JobInput, NodeError, Run};
use crate::record::Conversation;
use crate::store::{Artifact, Digest, MemoEntry, Store};

/// A former measurement of the same model on the same rows: a second file of it does not measure again.
pub(super) struct Memo<'a> {
    store: &'a Store,
    scope: Digest,
    input: Digest,
}

impl<'a> Memo<'a> {
    /// Names the measurement that [`measure`] would make.
    pub(super) fn of(run: &Run<'a>, rows: &JobInput, (tokens, max_tokens): (u64, u32)) -> Result<Self, NodeError> {
        let others: Vec<String> = run.inputs().map(|input| input.artifact.digest().to_string()).collect();
        let input = format!("{tokens} {max_tokens} {} of {}", rows.artifact.digest(), others.join(" "));
        let scope = scope(run, "importance")?;
        Ok(Self { store: run.store, scope, input: Digest::of(input.as_bytes()) })
    }

    /// Returns what was measured.
    pub(super) fn get(&self) -> Result<Option<Importance>, NodeError> {
        let known = self.store.memo(&self.scope, &self.input)?;
        Ok(known.and_then(|bytes| postcard::from_bytes(&bytes).ok()))
    }

    /// Keeps what was measured.
    pub(super) fn put(&self, measured: &Importance) -> Result<(), NodeError> {
        let value = postcard::to_stdvec(measured).unwrap_or_default();
        let entry = MemoEntry { input: self.input, first: String::new(), last: String::new(), value };
        Ok(self.store.put_memo(self.scope, entry)?)
    }
}

/// Returns the input that `imatrix` names, by its node or as `NODE:OUTPUT`; refuses rows that it does not name.
pub(super) fn rows<'r>(run: &'r Run<'_>, imatrix: Option<&str>) -> Result<Option<&'r JobInput>, NodeError> {
    let mut named = None;
    for input in run.inputs().filter(|input| matches!(input.artifact, Artifact::Records(_))) {
        let full = format!("{}:{}", input.node, input.output);
        match imatrix {
            Some(imatrix) if imatrix == input.node || imatrix == full => named = Some(input),
            _ => return Err(ExportError::NeedlessRows { rows: full }.into()),
        }
    }
    match imatrix {
        Some(imatrix) if named.is_none() => Err(ExportError::Imatrix { imatrix: imatrix.into() }.into()),
        _ => Ok(named),
    }
}

/// Has the model at `path` read rows of at most so many tokens in all, the last row whole.
pub(super) fn measure(
    run: &Run<'_>,
    rows: &JobInput,
    path: &Path,
    (tokens, max_tokens): (u64, u32),
) -> Result<Importance, NodeError> {
    let voice = Voice::of(&run.weight_files()?)?;
    let (mut texts, mut why, mut count) = (Vec::<Vec<Token>>::new(), None, 0);
    for conversation in mixed(conversations(run, [rows].into_iter())?) {
        if count >= tokens {
            break;
        }
        let (row, remark) = row(&voice, &conversation, max_tokens)?;
        count += row.len() as u64;
        why = why.or(remark);
        texts.extend((!row.is_empty()).then_some(row));
    }
    let Some(longest) = texts.iter().map(Vec::len).max() else {
        let why = why.unwrap_or_else(|| "there are none".into());
        return Err(ExportError::NoRows { imatrix: rows.node.clone(), why }.into());
    };
    let model = Model::load(path)?;
    let interrupt = || run.cancel.is_cancelled();
    let length = u32::try_from(longest).unwrap_or(u32::MAX);
    let options = ContextOptions { length, threads: run.grant().threads, interrupt: &interrupt };
    let (mut done, total) = (0, texts.len() as u64);
    let measured = importance(&model, &options, &texts, || {
        done += 1;
        run.progress(done, Some(total), "rows", "measuring the importance of columns");
    });
    let measured = measured.map_err(|error| match error {
        LlamaError::Interrupted => NodeError::cancelled(),
        other => other.into(),
    })?;
    run.note(format!("measured the importance of {} tensors' columns on {count} tokens", measured.len()));
    Ok(measured)
}

fn row(voice: &Voice, conversation: &Conversation, max_tokens: u32) -> Result<(Vec<Token>, Option<String>), NodeError> {
    let (row, remark) = voice.row(conversation, max_tokens as usize)?;
    let ids = row.map(|row| row.ids.into_iter().map(|id| id as Token).collect());
    Ok((ids.unwrap_or_default(), remark.map(|remark| remark.to_string())))
}
