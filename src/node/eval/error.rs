//! What can go wrong in an evaluation.

use miette::Diagnostic;

/// What can go wrong in an evaluation.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum EvalError {
    /// A gate stays closed.
    #[error("{unmet} of {total} conditions are not met: {what}")]
    #[diagnostic(
        code(eval::gate_not_met),
        help("nothing behind the gate is deployed; improve the data or the training, or change the bound")
    )]
    GateNotMet { unmet: usize, total: usize, what: String },

    /// A condition names a field that the node did not give, or one that is no number.
    #[error("`{field}` is no number")]
    #[diagnostic(code(eval::no_number), help("node `{node}` gave the fields: {known}"))]
    NoNumber { field: String, node: String, known: String },
}
