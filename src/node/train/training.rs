//! A kind of the family: its method, and what the engine is told of it. All else is the session's.

use serde_json::Value;

use super::session::{self, Method};
use crate::node::{Cost, Kind, KindInfo, NodeError, Outcome, Rehearsal, Run, SettingProblem};

/// A kind that trains.
pub(super) struct Training {
    pub(super) method: Method,
    pub(super) info: &'static KindInfo,
}

impl Kind for Training {
    fn info(&self) -> &'static KindInfo {
        self.info
    }

    fn schema(&self) -> Value {
        session::schema(self.method)
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        session::canonical(self.method, settings)
    }

    /// All weights are trained on the CPU alone, which is said where the manifest names another device: to train there all
    /// the same would take days.
    fn has_devices(&self) -> bool {
        true
    }

    fn outside_key(&self) -> &'static [&'static str] {
        session::OUTSIDE_KEY
    }

    fn cost(&self, run: &Run<'_>) -> Result<Option<Cost>, NodeError> {
        session::cost(run, self.method)
    }

    fn warm_starts(&self) -> bool {
        self.method == Method::Lora
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Opens
    }

    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::stand_in(run, self.method, self.info.fields)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::train(run, self.method)
    }
}
