//! The engine: what must run, and running it.
//!
//! [`Resolver::decide`] is the one place where it is decided whether a node is fresh; [`plan()`] and [`build()`] both call it, so
//! that a plan cannot promise what a build does not do. A plan goes on with "unknown" where a build would run the node;
//! a build runs it and goes on with what it gave.
//!
//! Before a long run a build tries what follows on a stand-in of its result, aside: see [`Rehearse`].
//!
//! The engine knows the trait of a kind, never a kind; it knows keys and artifacts, never their meaning. It neither
//! prints nor reads the environment: what it has to say goes to an [`Observer`].

mod build;
mod catalog;
mod child;
mod cost;
mod difference;
mod error;
mod events;
mod exclusions;
mod execute;
mod explain;
mod job;
mod keep;
mod lineage;
mod lockfile;
mod out;
mod plan;
mod prepare;
mod ready;
mod rebuild;
mod rehearse;
mod report;
mod resolve;
mod rollback;
mod runlog;
mod settings;
mod stale;
mod warm;
mod worker;

pub use crate::store::Known;
pub use build::{BuildOptions, build};
pub use catalog::KindCatalog;
pub use difference::{
    Change, Difference, RecordChanges, RowChange, RowChanges, differences, record_changes, row_changes,
};
pub use error::EngineError;
pub use events::{Observer, Said};
pub use exclusions::Exclusions;
pub use explain::{Explanation, StaleInput, Standing, explain};
pub use keep::roots;
pub use lineage::{Ancestry, BuiltNode, Held, Reached, Share, contribution};
pub use lockfile::{LockEntry, Lockfile, WarmStart};
pub use out::{OutState, OutWrite, materialise};
pub use plan::{Deploy, Plan, Planned, plan};
pub use prepare::Prepared;
pub use rebuild::{Rebuild, Rebuilt, rebuild};
pub use rehearse::{Rehearse, Rehearsed, RehearsedPart, rehearse_planned};
pub use report::{BuildReport, NodeReport, Outcome};
pub use resolve::{Decision, Mode, Resolver, Trace};
pub use rollback::{RollBack, deployed, roll_back};
pub use runlog::{RunEntry, RunLog, RunSpan};
pub use stale::StaleReason;
pub use worker::work;

#[cfg(test)]
mod tests;
