//! What would fit, told of a training that does not.

use super::memory::{Beside, Shape, human};
use crate::model::lora::LoraConfig;
use crate::model::weights;

/// Lengths of rows that are proposed.
const LENGTHS: [usize; 4] = [1024, 512, 256, 128];
/// The rank that is proposed.
const RANK: usize = 8;
/// Bits of a weight in `Q4_K_M`.
const Q4_K_M: f64 = 4.85;
/// Bytes of a weight from which on a quantised base is proposed.
const QUANTISED: f64 = 1.9;

/// A change of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    KeepLast,
    Adapter,
    LowRank,
    QuantisedBase,
    Length(usize),
}

impl Change {
    fn what(self) -> String {
        match self {
            Self::KeepLast => "`keep = \"last\"`".into(),
            Self::Adapter => "an adapter (`type = \"lora\"`)".into(),
            Self::LowRank => format!("`rank = {RANK}`"),
            Self::QuantisedBase => "the base as a GGUF in Q4_K_M".into(),
            Self::Length(tokens) => format!("`max-tokens = {tokens}` with `micro-batch-tokens = {tokens}`"),
        }
    }

    /// Returns a shape with the change, where it leaves that open.
    fn apply<'a>(self, shape: &Shape<'a>) -> Option<Shape<'a>> {
        let weights = weights::parameters(shape.config) as f64;
        let shape = shape.clone();
        Some(match self {
            Self::KeepLast if shape.copies > 0 => Shape { copies: 0, ..shape },
            Self::Adapter if shape.beside.is_none() => {
                let beside = Beside::new(shape.config, LoraConfig::default(), false).ok()?;
                Shape { beside: Some(beside), ..shape }
            }
            Self::LowRank => {
                let beside = shape.beside.as_ref().filter(|beside| beside.kind.rank > RANK)?;
                let kind = LoraConfig { rank: RANK, ..beside.kind.clone() };
                let beside = Beside::new(shape.config, kind, beside.has_dropout).ok()?;
                Shape { beside: Some(beside), ..shape }
            }
            // All weights can be trained of floats only.
            Self::QuantisedBase if shape.beside.is_some() && shape.stored as f64 >= QUANTISED * weights => {
                Shape { stored: (weights * Q4_K_M / 8.0) as u64, ..shape }
            }
            Self::Length(tokens) if tokens < shape.tokens => {
                let trained = shape.trained * tokens / shape.tokens;
                Shape { tokens, trained, ..shape }
            }
            _ => return None,
        })
    }
}

/// Says what would fit, and what it would need: single changes where one is enough, else two at once, and so on.
pub(super) fn ways_out(shape: &Shape<'_>, usable: u64) -> String {
    let fitting = |changes: &Vec<Change>| {
        let changed = changes.iter().try_fold(shape.clone(), |shape, change| change.apply(&shape));
        let least = changed.map(|shape| shape.least()).filter(|least| *least <= usable)?;
        let what: Vec<String> = changes.iter().map(|change| change.what()).collect();
        Some(format!("{} needs {}", what.join(" and "), human(least)))
    };
    // The greatest length that fits is enough of them.
    let of_some = |some: Vec<Change>| {
        let longer = LENGTHS.map(|tokens| [&some[..], &[Change::Length(tokens)]].concat());
        [(some.len(), fitting(&some)), (some.len() + 1, longer.iter().find_map(fitting))]
    };
    let ways: Vec<(usize, String)> =
        sets().into_iter().flat_map(of_some).filter_map(|(changes, way)| Some((changes, way?))).collect();
    let fewest = ways.iter().map(|(changes, _)| *changes).min();
    let ways: Vec<&str> =
        ways.iter().filter(|(changes, _)| Some(*changes) == fewest).map(|(_, way)| way.as_str()).collect();
    let ways = if ways.is_empty() { "nothing less than a smaller base model fits".to_owned() } else { ways.join("; ") };
    format!("{ways}; or give it more: `[run.node.NAME]` `memory`, where the machine has it")
}

/// Returns all sets of changes but of lengths.
fn sets() -> Vec<Vec<Change>> {
    let all = [Change::KeepLast, Change::Adapter, Change::LowRank, Change::QuantisedBase];
    let mut sets = vec![Vec::new()];
    for change in all {
        let with: Vec<Vec<Change>> = sets.iter().map(|set| [&set[..], &[change]].concat()).collect();
        sets.extend(with);
    }
    sets
}
