//! The importance matrix: the merged model reads rows as it was trained on them.

use std::path::Path;

use super::error::ExportError;
use crate::llama::{ContextOptions, Importance, LlamaError, Model, Token, importance};
use crate::node::voice::{Voice, conversations, mixed};
use crate::node::{JobInput, NodeError, Run};
use crate::record::Conversation;
use crate::store::Artifact;

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
