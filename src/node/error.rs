//! Why a node's run failed, in a form that travels from a worker to the terminal.

use miette::Diagnostic;
use serde::{Deserialize, Serialize};

/// How the engine goes on after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The same run would fail again, or its server asks not to be tried again soon.
    Permanent,
    /// Another try may succeed: a server that was busy, a connection that broke.
    Transient,
    /// A gate's condition does not hold: exit code 3.
    GateNotMet,
    /// The run was cancelled.
    Cancelled,
    /// A broken invariant of tunesmith itself: exit code 70.
    Bug,
}

/// The failure of a run, made from the precise error of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct NodeError {
    /// How to go on.
    pub class: FailureClass,
    /// Stable code, such as `source::jsonl::not_json`.
    pub code: Option<String>,
    /// What is wrong and where, one lower-case phrase.
    pub message: String,
    /// The chain of causes, outermost first.
    pub causes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

impl NodeError {
    /// Makes the failure of a run from the error of its kind.
    pub fn new(class: FailureClass, error: &(dyn Diagnostic + 'static)) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self {
            class,
            code: error.code().map(|code| code.to_string()),
            message: error.to_string(),
            causes,
            help: error.help().map(|help| help.to_string()),
        }
    }

    /// Returns the failure of a cancelled run.
    pub fn cancelled() -> Self {
        Self { class: FailureClass::Cancelled, code: None, message: "cancelled".into(), causes: Vec::new(), help: None }
    }

    /// Marks the failure as one that another try may mend.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.class = FailureClass::Transient;
        self
    }
}

impl<E: Diagnostic + 'static> From<E> for NodeError {
    fn from(error: E) -> Self {
        Self::new(FailureClass::Permanent, &error)
    }
}
