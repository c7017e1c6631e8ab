//! Declarations to drafts of nodes: matrices unfolded, settings canonical.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use miette::SourceSpan;
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::catalog::{Catalog, KindFacts, LocalFiles, Refusal};
use super::error::{GraphError, RefusedSetting, Sink};
use super::node::{Node, RunLimits};
use crate::manifest::{At, Axis, Declaration, Family, MOST_KEPT, MOST_NODES, Manifest, suggest};

/// Each node of a matrix has all its settings: more bytes of them are refused.
const MOST_REPEATED: usize = 64 << 20;
/// From so many declarations on, threads share the work.
const MANY: usize = 1_000;

/// A node on its way into the graph. Indices in its edges are indices of drafts.
pub(super) struct Draft<'a> {
    pub(super) declaration: &'a Declaration,
    /// Absent when the type is unknown, which is a problem already.
    pub(super) kind: Option<&'a dyn KindFacts>,
    /// Whether the settings are canonical, so that outputs, files and references are known.
    pub(super) valid: bool,
    pub(super) node: Node,
}

/// Where the drafts of each declaration are, by its name.
pub(super) type Names<'a> = BTreeMap<&'a str, Range<usize>>;

/// Looks at the local files that a node names; a break ends the work.
pub type Look<'l> = &'l mut dyn FnMut(NamedFiles) -> ControlFlow<()>;

/// Local files that a node of the manifest names, with their place.
#[derive(Clone, Debug)]
pub struct NamedFiles {
    /// The node's name.
    pub node: String,
    /// The files.
    pub files: LocalFiles,
    /// The place of the setting that names them.
    pub at: SourceSpan,
}

/// Unfolds all declarations; `None` where so much is wrong with them that there is no sense in a graph.
pub(super) fn expand<'a>(
    manifest: &'a Manifest,
    catalog: &'a dyn Catalog,
    look: Look<'_>,
    problems: &mut Sink,
) -> Option<(Vec<Draft<'a>>, Names<'a>)> {
    let mut drafts = Vec::new();
    let mut names = Names::new();
    if let Some(problem) = too_many(manifest) {
        problems.push(problem);
        return None;
    }
    let looked = unfold(manifest, catalog, problems, &mut |declaration, unfolded, found| {
        files(declaration, &unfolded, look)?;
        if found > MOST_KEPT {
            drafts = Vec::new();
            names = Names::new();
        } else {
            names.insert(declaration.name.value.as_str(), drafts.len()..drafts.len() + unfolded.len());
            drafts.extend(unfolded);
        }
        ControlFlow::Continue(())
    });
    (looked.is_continue() && problems.len() <= MOST_KEPT).then_some((drafts, names))
}

fn files(declaration: &Declaration, drafts: &[Draft<'_>], look: Look<'_>) -> ControlFlow<()> {
    for Draft { node, .. } in drafts {
        for files in &node.files {
            let at = declaration.locate(&[files.setting.to_owned()], At::Value);
            look(NamedFiles { node: node.name.clone(), files: files.clone(), at })?;
        }
    }
    ControlFlow::Continue(())
}

/// Makes the drafts of one declaration after the other. `take` gets them with the number of problems so far.
fn unfold<'a>(
    manifest: &'a Manifest,
    catalog: &'a dyn Catalog,
    problems: &mut Sink,
    take: &mut dyn FnMut(&'a Declaration, Vec<Draft<'a>>, usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let model = Shared::of(manifest, catalog);
    let unfold = |declaration: &'a Declaration| {
        let mut problems = Sink::default();
        let kind = find_kind(declaration, catalog, &mut problems);
        let mut drafts = Vec::new();
        for values in combinations(&declaration.matrix) {
            if problems.stops() {
                break;
            }
            drafts.push(draft(declaration, kind, &values, &model, &mut problems));
        }
        (drafts, problems)
    };
    // Drafts of some declarations at a time: those of a flood would not fit the memory.
    for some in manifest.declarations.chunks(MANY) {
        // Reading settings is most of the work on a large manifest; starting threads would be most of it on a small one.
        let unfolded: Vec<_> = if manifest.declarations.len() < MANY {
            some.iter().map(unfold).collect()
        } else {
            some.par_iter().map(unfold).collect()
        };
        for (declaration, (unfolded, found)) in some.iter().zip(unfolded) {
            problems.absorb(found);
            take(declaration, unfolded, problems.len())?;
        }
        if problems.stops() {
            break;
        }
    }
    ControlFlow::Continue(())
}

/// Returns with which declaration a limit is passed.
fn too_many(manifest: &Manifest) -> Option<GraphError> {
    let mut total = 0usize;
    let mut weight = 0usize;
    for declaration in &manifest.declarations {
        let count = declaration.matrix.iter().try_fold(1usize, |count, axis| count.checked_mul(axis.values.len()));
        let count = count.unwrap_or(usize::MAX);
        let at = declaration.name.span;
        total = total.saturating_add(count);
        if total > MOST_NODES {
            return Some(GraphError::TooLarge { what: "nodes", limit: MOST_NODES, at });
        }
        if count > 1 {
            weight = weight.saturating_add(declaration.weight().saturating_mul(count));
        }
        if weight > MOST_REPEATED {
            return Some(GraphError::TooLarge { what: "bytes of settings", limit: MOST_REPEATED, at });
        }
    }
    None
}

fn find_kind<'a>(
    declaration: &Declaration,
    catalog: &'a dyn Catalog,
    problems: &mut Sink,
) -> Option<&'a dyn KindFacts> {
    let family = declaration.family;
    let kind = declaration.kind.as_ref()?;
    let found = catalog.find(family, &kind.value);
    if found.is_none() {
        let elsewhere = Family::ALL.into_iter().find(|other| catalog.find(*other, &kind.value).is_some());
        let help = match elsewhere {
            Some(other) => {
                Some(format!("it is a type of the family `{other}`: write `[{other}.{}]`", declaration.name.value))
            }
            None => suggest::help(&kind.value, catalog.types(family), &format!("types of `{family}`")),
        };
        problems.push(GraphError::UnknownType {
            family: family.as_str(),
            kind: kind.value.clone(),
            at: kind.span,
            help,
        });
    }
    found
}

/// Returns all combinations of the axes' values, the last axis fastest; one empty combination without axes.
fn combinations(axes: &[Axis]) -> impl Iterator<Item = Vec<usize>> + use<'_> {
    let total: usize = axes.iter().map(|axis| axis.values.len()).product();
    (0..total).map(move |mut number| {
        let mut values = vec![0; axes.len()];
        for (place, axis) in axes.iter().enumerate().rev() {
            values[place] = number % axis.values.len();
            number /= axis.values.len();
        }
        values
    })
}

/// What `[model]` says for all nodes.
struct Shared<'a> {
    declaration: Option<&'a Declaration>,
    settings: Map<String, Value>,
}

impl<'a> Shared<'a> {
    /// Reads `[model]`; where it is not valid, its own draft reports that.
    fn of(manifest: &'a Manifest, catalog: &dyn Catalog) -> Self {
        let declaration = manifest.declarations.iter().find(|declaration| declaration.family == Family::Model);
        let canonical = declaration.and_then(|declaration| {
            let kind = catalog.find(Family::Model, &declaration.kind.as_ref()?.value)?;
            kind.canonical(&declaration.settings.to_json()).ok()
        });
        let settings = match canonical {
            Some(Value::Object(settings)) => settings,
            _ => Map::new(),
        };
        Self { declaration, settings }
    }
}

fn draft<'a>(
    declaration: &'a Declaration,
    kind: Option<&'a dyn KindFacts>,
    values: &[usize],
    model: &Shared<'_>,
    problems: &mut Sink,
) -> Draft<'a> {
    let axes: Vec<(String, String)> = declaration
        .matrix
        .iter()
        .zip(values)
        .map(|(axis, value)| (axis.name.value.clone(), axis.values[*value].0.clone()))
        .collect();
    // A word that names no type can be of any length, and a matrix would repeat it.
    let type_name = declaration.kind.as_ref().filter(|_| kind.is_some()).map_or("", |kind| kind.value.as_str());
    let mut draft = Draft { declaration, kind, valid: false, node: node(declaration, type_name, axes) };
    let Some(kind) = kind else { return draft };
    let settings = settings(declaration, kind, values, model);
    match kind.canonical(&settings) {
        Ok(canonical) => {
            draft.node.outputs = kind.outputs(&canonical);
            draft.node.files = kind.files(&canonical);
            draft.node.effect = kind.effect(&canonical);
            draft.node.settings = canonical;
            draft.valid = true;
        }
        Err(refusals) => {
            for refusal in refusals {
                let at = place(declaration, kind, values, model, &refusal);
                problems.push(refused(declaration, refusal, at));
            }
        }
    }
    draft
}

fn node(declaration: &Declaration, type_name: &str, axes: Vec<(String, String)>) -> Node {
    let declared = declaration.name.value.clone();
    Node {
        name: instance_name(&declared, &axes),
        declared,
        axes,
        family: declaration.family,
        kind: type_name.to_owned(),
        kind_name: format!("{}.{type_name}", declaration.family),
        settings: Value::Null,
        inputs: Vec::new(),
        gate: None,
        out: None,
        refresh: declaration.refresh.as_ref().map(|refresh| refresh.value).unwrap_or_default(),
        run: RunLimits::default(),
        outputs: Vec::new(),
        files: Vec::new(),
        references: Vec::new(),
        effect: false,
        span: declaration.name.span,
    }
}

/// Returns `expert@alpha=16,rank=8`.
pub(super) fn instance_name(declared: &str, axes: &[(String, String)]) -> String {
    let mut name = declared.to_owned();
    for (index, (axis, value)) in axes.iter().enumerate() {
        name.push(if index == 0 { '@' } else { ',' });
        name.push_str(axis);
        name.push('=');
        name.push_str(value);
    }
    name
}

/// Returns the settings of one combination, with what `[model]` says for all where the node says nothing itself.
fn settings(declaration: &Declaration, kind: &dyn KindFacts, values: &[usize], model: &Shared<'_>) -> Value {
    let Value::Object(mut settings) = declaration.settings.to_json() else { return Value::Null };
    for (axis, value) in declaration.matrix.iter().zip(values) {
        settings.insert(axis.name.value.clone(), axis.values[*value].1.to_json());
    }
    for key in kind.model_settings() {
        if let Some(shared) = model.settings.get(*key).filter(|shared| !shared.is_null()) {
            settings.entry(*key).or_insert_with(|| shared.clone());
        }
    }
    Value::Object(settings)
}

/// Finds where a refused setting stands: in the matrix, in `[model]`, or in the node's table.
fn place(
    declaration: &Declaration,
    kind: &dyn KindFacts,
    values: &[usize],
    model: &Shared<'_>,
    refusal: &Refusal,
) -> SourceSpan {
    let at = if refusal.code.ends_with("unknown_key") { At::Key } else { At::Value };
    let first = refusal.path.first().map_or("", String::as_str);
    for (axis, value) in declaration.matrix.iter().zip(values) {
        if axis.name.value == first && at == At::Value {
            return axis.values[*value].1.span;
        }
    }
    match model.declaration {
        Some(model) if kind.model_settings().contains(&first) && declaration.settings.get(first).is_none() => {
            model.locate(&refusal.path, at)
        }
        _ => declaration.locate(&refusal.path, at),
    }
}

fn refused(declaration: &Declaration, refusal: Refusal, at: SourceSpan) -> GraphError {
    GraphError::Setting(Box::new(RefusedSetting {
        node: declaration.name.value.clone(),
        code: refusal.code,
        message: refusal.message,
        label: refusal.label,
        help: refusal.help,
        at,
    }))
}
