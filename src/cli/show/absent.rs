//! What `--tokens` says in a program without tokenizers.

use super::super::session::Session;
use super::super::{CliError, Context};
use crate::graph::NodeIndex;
use crate::record::{Record, RecordSet};

/// Cannot be made.
pub(super) enum Inspector {}

impl Inspector {
    pub(super) fn open(_: &Session<'_>, _: NodeIndex) -> Result<Self, CliError> {
        Err(CliError::NoTokenizer)
    }

    pub(super) fn show(&self, _: &mut Context<'_>, _: &Record) -> Result<(), CliError> {
        match *self {}
    }

    pub(super) fn audit(&self, _: &mut Context<'_>, _: &RecordSet<'_>) -> Result<(), CliError> {
        match *self {}
    }
}
