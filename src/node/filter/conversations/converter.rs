//! The record-wise part of the filter, for whoever has records in memory.

use std::borrow::Cow;

use regex::RegexSet;
use serde::Deserialize as _;
use serde_json::Value;

use super::convert;
use super::length::Measure;
use super::rules::Rules;
use super::settings::Settings;
use crate::record::{Counts, Record, RecordError, Text};

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

    /// Returns the candidate rows of a record and the remarks on it; repetitions and corrections are a matter of all rows
    /// together.
    ///
    /// # Errors
    /// [`RecordError`] for a record that has no canonical form, which its rows name by its digest.
    pub fn rows(&self, record: &Record<Text<'_>>) -> Result<(Vec<Record>, Counts), RecordError> {
        let rules = Rules::of(&self.settings, &self.noise, Measure::default());
        let rows = convert(record.id(), Cow::Borrowed(record), &rules);
        rows.finish(|| record.digest())
    }
}
