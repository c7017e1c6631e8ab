//! `command` in the families source, filter and export: any program as a node.
//!
//! The program sees a folder with its inputs and the files that its settings declare, an environment of `PATH`, `HOME`,
//! `TMPDIR`, `LANG` and what is declared, and nothing else of the project. What it leaves under the declared paths are
//! the node's outputs. It runs in a process group of its own, which ends with the run.
//!
//! No shell reads `argv`, and nothing keeps the program from the network or from the rest of the machine: this is
//! order, not a sandbox.

mod collect;
mod error;
mod log;
mod place;
mod program;
mod settings;

use serde_json::Value;

pub(super) use self::log::Log;
pub(super) use self::program::{End, to_its_end};
use self::settings::Settings;
use super::{Content, Determinism, Family, FileInput, Kind, KindInfo, NodeError, Outcome, Run, SettingProblem, Weight};

/// A program as a node.
pub(super) struct Command(&'static KindInfo);

pub(super) static SOURCE: Command = Command(&KindInfo {
    summary: "what a program of your own fetches or makes",
    determinism: Determinism::Varies,
    pinned: true,
    ..INFO
});

pub(super) static FILTER: Command = Command(&KindInfo {
    family: Family::Filter,
    summary: "what a program of your own makes of its inputs",
    inputs: ANYTHING,
    ..INFO
});

pub(super) static EXPORT: Command = Command(&KindInfo {
    family: Family::Export,
    summary: "what a program of your own makes or, with `effect = true`, changes outside the project",
    inputs: ANYTHING,
    ..INFO
});

const ANYTHING: &[Content] =
    &[Content::Records, Content::Rows, Content::Weights, Content::Adapter, Content::Gguf, Content::Files];

const INFO: KindInfo = KindInfo {
    family: Family::Source,
    name: "command",
    version: 1,
    summary: "",
    inputs: &[],
    outputs: &[],
    fields: &[],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

impl Kind for Command {
    fn info(&self) -> &'static KindInfo {
        self.0
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        settings::canonical(settings, self.0.family)
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        settings::files(settings)
    }

    fn outputs(&self, settings: &Value) -> Vec<(String, Content)> {
        settings::outputs(settings)
    }

    fn reads_input_names(&self) -> bool {
        true
    }

    fn is_effect(&self, settings: &Value) -> bool {
        settings::is_effect(settings)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let folder = place::inputs(run)?;
        program::run(run, &settings, &folder)?;
        Ok(Outcome { outputs: collect::outputs(run, &settings, &folder)?, ..Outcome::default() })
    }
}
