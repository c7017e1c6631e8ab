//! Rehearsals: what follows from a long run is run on a stand-in of its result before it starts.
//!
//! The run's own kind makes the stand-in at once, such as an adapter that changes nothing. What reads it, and what reads
//! that, then runs with little work in a store of its own, which reads what it lacks from the project's and is dropped
//! afterwards: nothing is published, pinned, written to an `out` or deployed. Gates are left out, since they judge a model
//! that is not there yet.

mod due;
mod stage;
mod told;

pub(super) use due::Before;
pub use due::rehearse_planned;
pub use stage::Rehearse;
pub use told::{Rehearsed, RehearsedPart};
