//! The adapter's settings: its shape, and what is left out of its inputs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Check;
use crate::model::lora::Projection;

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(in super::super) struct AdapterSettings {
    /// Rank of the two matrices that are trained beside each projection: 8 to 64 is usual.
    #[schemars(range(min = 1, max = 1024))]
    pub(in super::super) rank: usize,
    /// The adapter counts `alpha / rank` times.
    pub(in super::super) alpha: f64,
    /// The share of the adapter's inputs that become 0 in training, against learning by heart.
    #[schemars(range(min = 0, max = 0.9))]
    pub(in super::super) dropout: f64,
    /// The projections that are trained.
    pub(in super::super) targets: Vec<Projection>,
}

impl Default for AdapterSettings {
    fn default() -> Self {
        Self { rank: 16, alpha: 16.0, dropout: 0.0, targets: Projection::ALL.to_vec() }
    }
}

impl AdapterSettings {
    pub(super) fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        vec![
            ("rank", (1..=1024).contains(&self.rank), "a whole number from 1 to 1024"),
            ("alpha", self.alpha.is_finite() && self.alpha > 0.0, "a number above 0, often the rank or twice the rank"),
            ("dropout", (0.0..=0.9).contains(&self.dropout), "a number from 0 to 0.9"),
            ("targets", !self.targets.is_empty(), "some of q, k, v, o, gate, up, down"),
        ]
    }
}
