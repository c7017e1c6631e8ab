//! The record-wise part of the filter, for whoever has records in memory.

use regex::RegexSet;
use serde::Deserialize as _;
use serde_json::Value;

use super::converted;
use super::length::Measure;
use super::rules::Rules;
use super::settings::Settings;
use crate::record::{Line, Mapped, RecordError};

/// Makes rows of single records by the rules of a node with certain settings, limits in tokens left out.
pub struct Converter {
    settings: Settings,
    noise: RegexSet,
}

impl Converter {
    /// Takes canonical settings; `None` when they are none of `filter.conversations`.
    pub fn new(settings: &Value) -> Option<Self> {
        let settings = Settings::deserialize(settings).ok()?;
        let noise = settings.noise().ok()?;
        Some(Self { settings, noise })
    }

    /// Returns the candidate rows of a record; repetitions and corrections are a matter of all rows together.
    ///
    /// # Errors
    /// [`RecordError`] for a line that is no record.
    pub fn rows(&self, record: &Line<'_>) -> Result<Mapped, RecordError> {
        let rules = Rules { measure: Measure::default(), noise: &self.noise, settings: &self.settings };
        converted(record, &rules)
    }
}
