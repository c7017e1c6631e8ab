//! The table of kinds: the only list to extend.

use super::{Family, Kind};

/// Returns all kinds, by family and name.
pub fn kinds() -> Vec<&'static dyn Kind> {
    let mut kinds: Vec<&'static dyn Kind> = Vec::new();
    kinds.extend(super::model::KINDS);
    kinds.extend(super::source::KINDS);
    kinds.extend(super::filter::KINDS);
    kinds.extend(super::train::KINDS);
    kinds.extend(super::export::KINDS);
    kinds.extend(super::eval::KINDS);
    kinds
}

/// Returns the kind of a family with this name.
pub fn find(family: Family, name: &str) -> Option<&'static dyn Kind> {
    kinds().into_iter().find(|kind| kind.info().family == family && kind.info().name == name)
}

/// Returns the names of a family's kinds.
pub fn names(family: Family) -> Vec<&'static str> {
    kinds().iter().filter(|kind| kind.info().family == family).map(|kind| kind.info().name).collect()
}
