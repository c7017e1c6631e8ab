//! `eval.gate`: conditions on other nodes' fields that must hold before anything is deployed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::condition::{Condition, Field, Operand};
use super::error::EvalError;
use crate::node::settings::{accepted, canonical};
use crate::node::{
    Content, Count, Determinism, FailureClass, Family, FieldReference, Kind, KindInfo, NodeError, Outcome, Run,
    SettingProblem, Weight,
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
                let help = "write `NODE.FIELD >= 0.9`, or a field on both sides; comparisons: < <= > >= == !=";
                problems.push(problem(&["require", &index.to_string()], message, help));
            }
        }
        if texts(&value).next().is_none() {
            let help = "write a condition, such as `require = [\"questions.pass >= 0.9\"]`";
            problems.push(problem(&["require"], "a gate without conditions is always open", help));
        }
        accepted(value, problems)
    }

    fn references(&self, settings: &Value) -> Vec<FieldReference> {
        let mut references = Vec::new();
        for (index, text) in texts(settings).enumerate() {
            let Ok(condition) = text.parse::<Condition>() else { continue };
            let right = match condition.right {
                Operand::Number(_) => None,
                Operand::Field(field) => Some(field),
            };
            for Field { node, field } in [Some(condition.left), right].into_iter().flatten() {
                references.push(FieldReference { path: vec!["require".into(), index.to_string()], node, field });
            }
        }
        references
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

fn problem(path: &[&str], message: impl Into<String>, help: &str) -> SettingProblem {
    SettingProblem::new(path, "eval::bad_condition", message, help)
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
        let known: Vec<&str> = inputs.iter().flat_map(|input| input.fields.keys()).map(String::as_str).collect();
        EvalError::NoNumber { field: field.to_string(), node: field.node.clone(), known: known.join(", ") }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::InputRole;
    use crate::node::bench::Bench;

    #[test]
    fn a_gate_opens_when_all_hold_and_else_names_the_numbers() {
        let bench = Bench::new();
        let settings = Gate.canonical(&json!({"require": ["q.pass >= 0.9", "q.loss < q.base-loss"]})).unwrap();
        let read: Vec<_> =
            Gate.references(&settings).into_iter().map(|read| (read.path[1].clone(), read.field)).collect();
        assert_eq!(read, [("0", "pass"), ("1", "loss"), ("1", "base-loss")].map(|(i, f)| (i.to_owned(), f.to_owned())));
        let run = |pass: Value, loss: f64| {
            let inputs = [("pass", pass), ("loss", json!(loss)), ("base-loss", json!(2))]
                .map(|(field, value)| bench.input(InputRole::Fields, "q", "", None, json!({field: value})));
            bench.run(&Gate, &settings, inputs.into(), &[])
        };
        assert_eq!(run(json!(0.9), 1.5).unwrap().fields["conditions"], 2);
        let closed = run(json!(0.5), 2.5).unwrap_err();
        assert_eq!(closed.class, FailureClass::GateNotMet);
        assert_eq!(
            closed.message,
            "2 of 2 conditions are not met: `q.pass >= 0.9`: `q.pass` is 0.5; \
             `q.loss < q.base-loss`: `q.loss` is 2.5, `q.base-loss` is 2"
        );
        assert_eq!(run(json!("much"), 1.0).unwrap_err().code.as_deref(), Some("eval::no_number"));
    }

    #[test]
    fn an_empty_gate_and_bent_conditions_are_refused_all_at_once() {
        let messages = |settings: Value| {
            let problems = Gate.canonical(&settings).unwrap_err();
            problems.into_iter().map(|problem| (problem.path.join("."), problem.message)).collect::<Vec<_>>()
        };
        assert_eq!(messages(json!({"require": []}))[0].1, "a gate without conditions is always open");
        let found = messages(json!({"require": ["a.b => 1", "a.b > 1", "b > 1"]}));
        assert_eq!(found.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["require.0", "require.2"]);
    }
}
