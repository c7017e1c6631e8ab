//! How a run of the program ends: the only list of exit codes.

use std::process::ExitCode;

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: what was asked for is done.
    Done,
    /// 1: a step failed; with `status --exit-code`: something is stale.
    Failed,
    /// 2: the manifest or the command line is wrong.
    Wrong,
    /// 3: a gate was not met.
    GateNotMet,
    /// 70: a bug of tunesmith.
    Bug,
    /// 130: interrupted.
    Interrupted,
}

impl Exit {
    /// Returns the process' exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Wrong => 2,
            Self::GateNotMet => 3,
            Self::Bug => 70,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
