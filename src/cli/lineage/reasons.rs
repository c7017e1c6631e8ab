//! Why a filter left a record out.

use serde_json::{Value, json};

use super::super::table;
use crate::engine::{EngineError, Exclusions, Resolver, contribution};
use crate::graph::NodeIndex;

/// What a filter counted for a record that it left out; nothing where that cannot be told.
pub(in crate::cli) struct Reasons(Option<Vec<(String, u64)>>);

impl Reasons {
    /// Asks why a node left out a record of its inputs, which costs a run of it.
    ///
    /// # Errors
    /// Errors of the store.
    pub(in crate::cli) fn of(resolver: &Resolver<'_>, index: NodeIndex, id: &str) -> Result<Self, EngineError> {
        Ok(Self(match excluded_rows(resolver.exclusions, id) {
            0 => contribution(resolver, index, id)?.map(|report| {
                table::dropped(&report).into_iter().map(|(what, count)| (what.to_owned(), count)).collect()
            }),
            rows => Some(vec![(format!("excluded by {}", resolver.exclusions.name()), rows)]),
        }))
    }

    /// Returns them as a phrase.
    pub(in crate::cli) fn for_people(&self) -> String {
        match self.0.as_deref() {
            None => "why cannot be told, since the node is stale or gives other rows each time".to_owned(),
            Some([]) => "it is not counted why".to_owned(),
            Some(reasons) => {
                let named = reasons
                    .iter()
                    .map(|(what, count)| if *count == 1 { what.clone() } else { format!("{what} ({count})") });
                named.collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// Returns them as a list, or `null`.
    pub(in crate::cli) fn for_programs(&self) -> Value {
        let reasons = self.0.as_ref().map(|reasons| {
            let reasons = reasons.iter().map(|(what, count)| json!({"what": what, "count": count}));
            reasons.collect::<Vec<_>>()
        });
        json!(reasons)
    }
}

/// Returns how many rows of a record are excluded, by their ids, which go on from the record's.
fn excluded_rows(exclusions: &Exclusions, id: &str) -> u64 {
    let from = exclusions.entries().range(id.to_owned()..);
    let rests = from.map_while(|(excluded, _)| excluded.strip_prefix(id));
    rests.filter(|rest| rest.starts_with(|next: char| !next.is_alphanumeric())).count() as u64
}
