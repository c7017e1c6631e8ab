//! Kinds of the family `source`.

mod github_issues;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&github_issues::GithubIssues];
