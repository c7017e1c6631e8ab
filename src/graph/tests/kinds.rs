//! Kinds that run nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::KindCatalog;
use crate::node::{
    Content as Holds, Determinism, Family, FieldReference as Reads, FileInput, Globs, Kind, KindInfo, NodeError,
    Outcome, OutputInfo, Run, SettingProblem, Weight, settings,
};

/// Kinds that have every trait a graph looks at, and run nothing.
#[derive(Debug)]
struct Plain {
    info: &'static KindInfo,
}

/// Settings that all these kinds share.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    folder: Option<String>,
    #[serde(default)]
    rank: Option<u32>,
    #[serde(default)]
    alpha: Option<f64>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    set: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    require: Vec<String>,
    #[serde(default)]
    token: Option<String>,
}

impl Kind for Plain {
    fn info(&self) -> &'static KindInfo {
        self.info
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, value: &Value) -> Result<Value, Vec<SettingProblem>> {
        settings::canonical::<Settings>(value)
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let input = |setting, globs| {
            let path = settings[setting].as_str()?.into();
            Some(FileInput { setting, path, globs, optional: false })
        };
        let globs = Globs { include: vec!["**/*.md".into()], exclude: vec!["old/**".into()] };
        input("path", None).into_iter().chain(input("folder", Some(globs))).collect()
    }

    fn references(&self, settings: &Value) -> Vec<Reads> {
        let conditions = settings["require"].as_array().into_iter().flatten().enumerate();
        conditions
            .filter_map(|(index, condition)| {
                let (node, field) = condition.as_str()?.split_whitespace().next()?.split_once('.')?;
                let path = vec!["require".to_owned(), index.to_string()];
                Some(Reads { path, node: node.into(), field: field.into() })
            })
            .collect()
    }

    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Ok(Outcome::default())
    }
}

const PLAIN: KindInfo = KindInfo {
    family: Family::Source,
    name: "text",
    version: 1,
    summary: "a kind for tests",
    inputs: &[],
    outputs: &[OutputInfo { name: "records", content: Holds::Records }],
    fields: &["records"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

static INFOS: [KindInfo; 9] = [
    KindInfo {
        family: Family::Model,
        name: "base",
        outputs: &[OutputInfo { name: "weights", content: Holds::Weights }],
        fields: &["parameters"],
        ..PLAIN
    },
    PLAIN,
    KindInfo { name: "remote", pinned: true, ..PLAIN },
    KindInfo {
        family: Family::Filter,
        name: "pairs",
        inputs: &[Holds::Records],
        outputs: &[OutputInfo { name: "rows", content: Holds::Rows }],
        ..PLAIN
    },
    KindInfo {
        family: Family::Filter,
        name: "split",
        inputs: &[Holds::Rows],
        outputs: &[
            OutputInfo { name: "train", content: Holds::Rows },
            OutputInfo { name: "eval", content: Holds::Rows },
        ],
        ..PLAIN
    },
    KindInfo {
        family: Family::Train,
        name: "lora",
        inputs: &[Holds::Rows],
        outputs: &[OutputInfo { name: "adapter", content: Holds::Adapter }],
        fields: &["loss", "base-loss"],
        weights: true,
        model_settings: &["max-tokens"],
        ..PLAIN
    },
    KindInfo {
        family: Family::Export,
        name: "gguf",
        inputs: &[Holds::Adapter],
        outputs: &[OutputInfo { name: "gguf", content: Holds::Gguf }],
        fields: &["size"],
        ..PLAIN
    },
    KindInfo {
        family: Family::Export,
        name: "push",
        inputs: &[Holds::Gguf],
        outputs: &[],
        fields: &["tag"],
        effect: true,
        ..PLAIN
    },
    KindInfo { family: Family::Eval, name: "gate", outputs: &[], fields: &["met"], ..PLAIN },
];

static KINDS: [Plain; 9] = [
    Plain { info: &INFOS[0] },
    Plain { info: &INFOS[1] },
    Plain { info: &INFOS[2] },
    Plain { info: &INFOS[3] },
    Plain { info: &INFOS[4] },
    Plain { info: &INFOS[5] },
    Plain { info: &INFOS[6] },
    Plain { info: &INFOS[7] },
    Plain { info: &INFOS[8] },
];

/// The catalog of the test kinds, for tests of other modules too.
pub(crate) fn catalog() -> KindCatalog {
    KindCatalog::of(KINDS.iter().map(|kind| kind as &'static dyn Kind))
}
