//! What is told of a rehearsal.

use std::time::Duration;

use super::super::Resolver;
use crate::graph::NodeIndex;
use crate::node::{FailureClass, NodeError};

/// What a rehearsal came to.
#[derive(Debug, Default)]
pub struct Rehearsed {
    /// What was run, in order.
    pub parts: Vec<RehearsedPart>,
    /// Whether all but effects passed before, on the same base with the same settings, and was not run again.
    pub passed_before: bool,
    /// What was not, and which node it reads that has no result yet.
    pub left_out: Vec<(NodeIndex, NodeIndex)>,
}

/// One node of a rehearsal.
#[derive(Debug)]
pub struct RehearsedPart {
    /// The node.
    pub index: NodeIndex,
    /// How long it took.
    pub duration: Duration,
    /// What it counted, or why it would fail.
    pub result: Result<Vec<(String, u64)>, NodeError>,
    /// Whether it is part of what was asked for, so that its failure is one of all.
    pub is_asked: bool,
}

/// What follows from a run would fail.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("in the rehearsal of what follows, `{node}` ({kind}) failed: {message}")]
#[diagnostic(
    code(engine::rehearsal_failed),
    help("{help}nothing has run yet; `rehearse = false` in `[run.node.{before}]` starts it without a rehearsal")
)]
struct WouldFail {
    before: String,
    node: String,
    kind: String,
    message: String,
    help: String,
}

impl Rehearsed {
    /// Returns the failure of a run that a failed part of its rehearsal means, if there is one.
    pub fn failure(&self, resolver: &Resolver<'_>, index: NodeIndex) -> Option<NodeError> {
        let failed = self.parts.iter().filter_map(|part| Some((part, part.result.as_ref().err()?)));
        let is_over = |error: &NodeError| error.class == FailureClass::Cancelled;
        let (part, error) = failed.into_iter().find(|(part, error)| part.is_asked || is_over(error))?;
        if is_over(error) {
            return Some(NodeError::cancelled());
        }
        // What is wrong with the run itself is told as it would be without a rehearsal.
        if part.index == index {
            return Some(error.clone());
        }
        let node = &resolver.graph[part.index];
        let failed = WouldFail {
            before: resolver.graph[index].name.clone(),
            node: node.name.clone(),
            kind: node.kind_name.clone(),
            message: error.message.clone(),
            help: error.help.as_ref().map(|help| format!("{help}; ")).unwrap_or_default(),
        };
        let class = if error.class == FailureClass::Bug { FailureClass::Bug } else { FailureClass::Permanent };
        Some(NodeError { causes: error.causes.clone(), ..NodeError::new(class, &failed) })
    }

    /// Returns what to tell of it: a line, and warnings.
    pub fn told(&self, resolver: &Resolver<'_>) -> (String, Vec<String>) {
        let name = |index: NodeIndex| &resolver.graph[index].name;
        let (mut passed, mut warnings) = (Vec::new(), Vec::new());
        if self.passed_before {
            passed.push("passed before with the same base and settings".to_owned());
        }
        for RehearsedPart { index, duration, result, is_asked } in &self.parts {
            match result {
                Ok(counts) => {
                    let counts = counts.iter().filter(|(_, count)| *count > 0);
                    let counts: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
                    let counts = if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
                    passed.push(format!("`{}` {:.1} s{counts}", name(*index), duration.as_secs_f64()));
                }
                Err(error) if !is_asked => {
                    let help = error.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
                    warnings.push(format!("`{}` would fail: {}{help}", name(*index), error.message));
                }
                Err(_) => {}
            }
        }
        for (index, lacking) in &self.left_out {
            passed.push(format!("not `{}`, which reads `{}`, which is not built", name(*index), name(*lacking)));
        }
        let line = if passed.is_empty() { "nothing".to_owned() } else { passed.join(" · ") };
        (line, warnings)
    }
}
