//! `eval.gate`: conditions on other nodes' fields that must hold before anything is deployed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::condition::{Condition, Field, Operand};
use super::error::EvalError;
use crate::node::settings::canonical;
use crate::node::{
    Content, Count, Determinism, FailureClass, Family, Kind, KindInfo, NodeError, Outcome, Run, SettingProblem, Weight,
};

/// The kind `gate`.
pub(super) struct Gate;

/// Settings of `eval.gate`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Conditions such as `questions.pass >= 0.9` or `questions.loss < questions.base-loss`; all must hold.
    require: Vec<String>,
}

static INFO: KindInfo = KindInfo {
    family: Family::Eval,
    name: "gate",
    version: 1,
    summary: "conditions on other nodes' fields; the build ends with exit code 3 when one does not hold",
    inputs: &[] as &[Content],
    outputs: &[],
    fields: &["conditions"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

impl Kind for Gate {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = canonical::<Settings>(settings)?;
        let mut problems = Vec::new();
        for (index, text) in texts(&value).enumerate() {
            if let Err(message) = text.parse::<Condition>() {
                let path = vec!["require".into(), index.to_string()];
                let help = "write `NODE.FIELD >= 0.9`, or a field on both sides; comparisons: < <= > >= == !=";
                problems.push(problem(path, message, help));
            }
        }
        if texts(&value).next().is_none() {
            let help = "write a condition, such as `require = [\"questions.pass >= 0.9\"]`";
            problems.push(problem(vec!["require".into()], "a gate without conditions is always open".into(), help));
        }
        if problems.is_empty() { Ok(value) } else { Err(problems) }
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let mut unmet = Vec::new();
        for text in &settings.require {
            let condition: Condition = text.parse().map_err(|what| run.bad_job(what))?;
            let left = number(run, &condition.left)?;
            let (right, shown) = match &condition.right {
                Operand::Number(number) => (*number, String::new()),
                Operand::Field(field) => {
                    let right = number(run, field)?;
                    (right, format!(", `{field}` is {right}"))
                }
            };
            if !condition.comparison.holds(left, right) {
                unmet.push(format!("`{condition}`: `{}` is {left}{shown}", condition.left));
            }
        }
        let total = settings.require.len();
        if !unmet.is_empty() {
            let error = EvalError::GateNotMet { unmet: unmet.len(), total, what: unmet.join("; ") };
            return Err(NodeError::new(FailureClass::GateNotMet, &error));
        }
        let fields = BTreeMap::from([("conditions".to_owned(), json!(total))]);
        let report = vec![Count { what: "conditions met".into(), count: total as u64 }];
        Ok(Outcome { outputs: BTreeMap::new(), fields, report })
    }
}

fn texts(settings: &Value) -> impl Iterator<Item = &str> {
    settings["require"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn problem(path: Vec<String>, message: String, help: &str) -> SettingProblem {
    SettingProblem { path, code: "eval::bad_condition", message, label: "here".into(), help: Some(help.into()) }
}

/// Returns a field's number; true and false count as 1 and 0.
fn number(run: &Run<'_>, field: &Field) -> Result<f64, NodeError> {
    let inputs: Vec<_> = run.job.inputs.iter().filter(|input| input.node == field.node).collect();
    if inputs.is_empty() {
        return Err(run.bad_job(format!("it has no fields of `{}`", field.node)));
    }
    let value = inputs.iter().find_map(|input| input.fields.get(&field.field));
    match value {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::Bool(value)) => Some(f64::from(u8::from(*value))),
        _ => None,
    }
    .ok_or_else(|| {
        let known: Vec<&str> = inputs[0].fields.keys().map(String::as_str).collect();
        EvalError::NoNumber { field: field.to_string(), node: field.node.clone(), known: known.join(", ") }.into()
    })
}
