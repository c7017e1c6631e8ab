//! Differences in words.

use std::fmt;

use super::{Change, Difference, RecordChanges};

impl fmt::Display for RecordChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (ids, word) in [(&self.added, "added"), (&self.edited, "edited"), (&self.removed, "removed")] {
            if ids.count == 0 {
                continue;
            }
            let records = if ids.count == 1 { "record" } else { "records" };
            let more = if ids.count > ids.first.len() { " …" } else { "" };
            let comma = if first { "" } else { ", " };
            let noun = if first { format!(" {records}") } else { String::new() };
            write!(f, "{comma}{}{noun} {word} ({}{more})", ids.count, ids.first.join(", "))?;
            first = false;
        }
        if first { f.write_str("no record differs") } else { Ok(()) }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::New => "is new",
            Self::Gone => "is gone",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { name, old, new } => values(f, name, old.as_ref(), new.as_ref()),
            Self::Setting { name, old, new } => values(f, &format!("setting {name}"), old.as_ref(), new.as_ref()),
            Self::Tool { name, old, new } => values(f, &format!("tool {name}"), old.as_ref(), new.as_ref()),
            Self::File { name, change, .. } => write!(f, "file {name} {change}"),
            Self::Field { name, change } => write!(f, "field {name} {change}"),
            Self::Order => f.write_str("the inputs are in another order"),
            Self::Input { node, output, change, records } => {
                let colon = if output.is_empty() { "" } else { ":" };
                write!(f, "input {node}{colon}{output} {change}")?;
                match (change, records) {
                    (Change::Changed, Some(records)) => write!(f, ": {records}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn values<T: fmt::Display>(f: &mut fmt::Formatter<'_>, name: &str, old: Option<&T>, new: Option<&T>) -> fmt::Result {
    match (old, new) {
        (Some(old), Some(new)) => write!(f, "{name}: {old} → {new}"),
        (None, Some(new)) => write!(f, "{name}: new, {new}"),
        (Some(old), None) => write!(f, "{name}: gone, was {old}"),
        (None, None) => f.write_str(name),
    }
}
