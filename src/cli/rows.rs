//! How many rows a command shows.

use std::fmt;
use std::str::FromStr;

/// How many rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// The first ones.
    First(usize),
    /// Every one.
    All,
}

impl Rows {
    /// Returns the number of rows to show.
    pub(super) const fn limit(self) -> usize {
        match self {
            Self::First(count) => count,
            Self::All => usize::MAX,
        }
    }
}

impl FromStr for Rows {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::First).map_err(|_| "it must be a number, or `all`"),
        }
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(count) => count.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}
