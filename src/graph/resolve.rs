//! Names to edges: `from`, the model, fields of other nodes, gates.

use std::ops::Range;

use miette::SourceSpan;

use super::catalog::{Content, KindFacts};
use super::error::{GraphError, Sink};
use super::expand::{Draft, Names};
use super::node::{Edge, NodeIndex, Reference, Role};
use super::placeholder;
use crate::manifest::{At, Declaration, Family, Input, Selector, Spanned, suggest};

/// More edges are refused.
const MOST_EDGES: usize = 4_000_000;
/// Names are suggested for so many problems: a search through all names for each of thousands would take minutes.
const MOST_SUGGESTED: usize = 100;
/// So many names are compared in all.
const MOST_COMPARED: usize = 1_000_000;
/// More nodes of a matrix are not listed in a help text.
const MOST_LISTED: usize = 8;

/// Resolves the edges of all drafts.
pub(super) fn resolve(drafts: &mut [Draft<'_>], names: &Names<'_>, problems: &mut Sink) {
    let mut total = 0usize;
    for index in 0..drafts.len() {
        if problems.stops() {
            return;
        }
        let resolver = Resolver { drafts, names };
        let draft = &drafts[index];
        let mut edges = Vec::new();
        resolver.from(draft, &mut edges, problems);
        resolver.model(draft, &mut edges, problems);
        let references = resolver.fields(draft, &mut edges, problems);
        let gate = resolver.gate(draft, problems);
        if let Some(gate) = &gate {
            edges.push(gate.clone());
        }
        total += edges.len();
        if total > MOST_EDGES {
            let at = draft.declaration.name.span;
            problems.push(GraphError::TooLarge { what: "edges", limit: MOST_EDGES, at });
            return;
        }
        let node = &mut drafts[index].node;
        node.inputs = edges;
        node.references = references;
        node.gate = gate.map(|gate| gate.from);
    }
}

/// Returns whether the next problem suggests one of so many names.
pub(super) fn suggests(problems: &Sink, names: usize) -> bool {
    problems.len() < MOST_SUGGESTED && problems.len().saturating_mul(names) <= MOST_COMPARED
}

struct Resolver<'d, 'a> {
    drafts: &'d [Draft<'a>],
    names: &'d Names<'a>,
}

impl Resolver<'_, '_> {
    fn from(&self, draft: &Draft<'_>, edges: &mut Vec<Edge>, problems: &mut Sink) {
        let Some(kind) = draft.kind else { return };
        let declaration = draft.declaration;
        let reads = kind.inputs();
        let entries = declaration.from.as_ref();
        match entries {
            Some(entries) if reads.is_empty() => problems.push(GraphError::NeedlessFrom {
                node: declaration.name.value.clone(),
                kind: draft.node.kind.clone(),
                at: entries.span,
            }),
            Some(entries) if !entries.value.is_empty() => {
                for entry in &entries.value {
                    if problems.stops() {
                        return;
                    }
                    self.entry(draft, &reads, entry, edges, problems);
                }
            }
            _ if reads.is_empty() || declaration.has_refused_inputs => {}
            _ => problems.push(GraphError::MissingFrom {
                node: declaration.name.value.clone(),
                kind: draft.node.kind.clone(),
                expected: contents(&reads),
                instead: self.nodes_with(draft, &reads, problems),
                at: entries.map_or(declaration.name.span, |entries| entries.span),
            }),
        }
    }

    /// Resolves one entry of `from`: one edge, or one for each selected node of a matrix.
    fn entry(
        &self,
        draft: &Draft<'_>,
        reads: &[Content],
        entry: &Spanned<Input>,
        edges: &mut Vec<Edge>,
        problems: &mut Sink,
    ) {
        let node = draft.declaration.name.value.clone();
        let selected = match self.select(&entry.value, entry.span) {
            Ok(Some(selected)) => selected,
            Ok(None) => {
                let help = self.suggest(&entry.value.node, draft.declaration, problems);
                let (input, at) = (entry.value.node.clone(), entry.span);
                problems.push(GraphError::UnknownInput { node, input, at, help });
                return;
            }
            Err(problem) => {
                problems.push(*problem);
                return;
            }
        };
        for index in selected {
            let input = &self.drafts[index];
            if !input.valid {
                edges.push(edge(Role::From, index, entry.value.output.clone().unwrap_or_default(), entry.span));
                continue;
            }
            let Some((output, content)) = output(input, entry.value.output.as_deref()) else {
                problems.push(unknown_output(input, &entry.value, entry.span));
                return;
            };
            if !reads.contains(&content) {
                problems.push(GraphError::WrongContent {
                    node,
                    kind: draft.node.kind.clone(),
                    input: entry.value.to_string(),
                    content: content.0,
                    expected: contents(reads),
                    instead: self.nodes_with(draft, reads, problems),
                    at: entry.span,
                });
                return;
            }
            edges.push(edge(Role::From, index, output, entry.span));
        }
    }

    /// Returns the drafts that an input means; `None` when no declaration has its name.
    fn select(&self, input: &Input, at: SourceSpan) -> Result<Option<Vec<usize>>, Box<GraphError>> {
        let Some(range) = self.names.get(input.node.as_str()).cloned() else { return Ok(None) };
        let Some(first) = self.drafts.get(range.start) else { return Ok(Some(Vec::new())) };
        let is_matrix = !first.declaration.matrix.is_empty();
        let values = match &input.selector {
            Selector::None if is_matrix => {
                let help = Some(format!("{}; `{}@*` is all of them", self.listed(range), input.node));
                return Err(Box::new(GraphError::NeedsSelector { name: input.node.clone(), at, help }));
            }
            Selector::None | Selector::All if is_matrix == (input.selector == Selector::All) => {
                return Ok(Some(range.collect()));
            }
            Selector::Values(values) if is_matrix => values,
            _ => {
                let help = Some(format!("`{0}` is a single node: write `{0}`", input.node));
                return Err(Box::new(GraphError::EmptySelector { input: input.to_string(), at, help }));
            }
        };
        let selected: Vec<usize> = range
            .clone()
            .filter(|index| values.iter().all(|value| self.drafts[*index].node.axes.contains(value)))
            .collect();
        if selected.is_empty() {
            let help = Some(self.listed(range));
            return Err(Box::new(GraphError::EmptySelector { input: input.to_string(), at, help }));
        }
        Ok(Some(selected))
    }

    fn listed(&self, range: Range<usize>) -> String {
        let more = if range.len() > MOST_LISTED { ", …" } else { "" };
        let names: Vec<String> =
            range.take(MOST_LISTED).map(|index| format!("`{}`", self.drafts[index].node.name)).collect();
        format!("there are {}{more}", names.join(", "))
    }

    /// Suggests a name like `word`, never the node itself.
    fn suggest(&self, word: &str, except: &Declaration, problems: &Sink) -> Option<String> {
        if !suggests(problems, self.names.len()) {
            return None;
        }
        let names = self.names.keys().copied().filter(|name| *name != except.name.value);
        suggest::help(word, names, "nodes here")
    }

    /// Names the nodes that have what a kind reads, as the end of a sentence.
    fn nodes_with(&self, reader: &Draft<'_>, reads: &[Content], problems: &Sink) -> String {
        let mut found: Vec<String> = Vec::new();
        if !suggests(problems, self.drafts.len()) {
            return String::new();
        }
        let others = |draft: &&Draft<'_>| draft.valid && !std::ptr::eq(draft.declaration, reader.declaration);
        for draft in self.drafts.iter().filter(others) {
            if found.len() > MOST_LISTED {
                break;
            }
            for (index, output) in draft.node.outputs.iter().enumerate() {
                let name = &draft.node.name;
                let text = if index == 0 { format!("`{name}`") } else { format!("`{name}:{}`", output.name) };
                if reads.contains(&output.content) {
                    found.push(text);
                }
            }
        }
        let more = if found.len() > MOST_LISTED { ", …" } else { "" };
        found.truncate(MOST_LISTED);
        if found.is_empty() { String::new() } else { format!(", which {}{more} would give", found.join(", ")) }
    }

    fn model(&self, draft: &Draft<'_>, edges: &mut Vec<Edge>, problems: &mut Sink) {
        if !draft.kind.is_some_and(|kind| kind.weights(&draft.node.settings)) {
            return;
        }
        let at = draft.declaration.kind.as_ref().map_or(draft.declaration.name.span, |kind| kind.span);
        match self.names.get(Family::Model.as_str()) {
            Some(model) if draft.declaration.family != Family::Model => {
                let output = output(&self.drafts[model.start], None).map(|(name, _)| name).unwrap_or_default();
                edges.push(edge(Role::Model, model.start, output, at));
            }
            Some(_) => {}
            None => problems.push(GraphError::NoModel { node: draft.declaration.name.value.clone(), at }),
        }
    }

    /// Resolves `{node.field}` placeholders, and the fields that the kind reads in its own way.
    fn fields(&self, draft: &Draft<'_>, edges: &mut Vec<Edge>, problems: &mut Sink) -> Vec<Reference> {
        let Some(kind) = draft.kind.filter(|_| draft.valid) else { return Vec::new() };
        let mut references = Vec::new();
        for found in placeholder::find(&draft.node.settings) {
            if problems.stops() {
                break;
            }
            let at = draft.declaration.locate(&found.path, At::Value);
            if let Some(node) = self.field(draft, &found.node, &found.field, at, edges, problems) {
                references.push(Reference { path: found.path, placeholder: found.text, node, field: found.field });
            }
        }
        for found in kind.references(&draft.node.settings) {
            let at = draft.declaration.locate(&found.path, At::Value);
            self.field(draft, &found.node, &found.field, at, edges, problems);
        }
        references
    }

    fn field(
        &self,
        draft: &Draft<'_>,
        name: &str,
        field: &str,
        at: SourceSpan,
        edges: &mut Vec<Edge>,
        problems: &mut Sink,
    ) -> Option<NodeIndex> {
        let input = Input::parse(name).filter(|input| input.output.is_none() && input.selector != Selector::All);
        let selected = match input.map(|input| self.select(&input, at)) {
            Some(Ok(Some(selected))) => selected,
            Some(Err(problem)) => {
                problems.push(*problem);
                return None;
            }
            None | Some(Ok(None)) => {
                let (node, input) = (draft.declaration.name.value.clone(), name.to_owned());
                let help = self.suggest(name, draft.declaration, problems);
                problems.push(GraphError::UnknownReference { node, input, at, help });
                return None;
            }
        };
        let [index] = selected.as_slice() else {
            let help = Some("a field is read from one node: give the value of each axis".into());
            problems.push(GraphError::NeedsSelector { name: name.to_owned(), at, help });
            return None;
        };
        let input = &self.drafts[*index];
        if let Some(kind) = input.kind {
            check_field(kind, &input.node.name, field, at, problems);
        }
        if !edges.iter().any(|edge| edge.role == Role::Fields && edge.from == draft_index(*index)) {
            let output = output(input, None).map(|(name, _)| name).unwrap_or_default();
            edges.push(edge(Role::Fields, *index, output, at));
        }
        Some(draft_index(*index))
    }

    fn gate(&self, draft: &Draft<'_>, problems: &mut Sink) -> Option<Edge> {
        let gate = draft.declaration.gate.as_ref()?;
        if draft.declaration.family != Family::Export {
            let (node, at) = (draft.declaration.name.value.clone(), gate.span);
            problems.push(GraphError::GateWithoutExport { node, at });
            return None;
        }
        let input = Input::parse(&gate.value).filter(|input| input.output.is_none());
        let selected = match input.map(|input| self.select(&input, gate.span)) {
            Some(Ok(selected)) => selected.unwrap_or_default(),
            Some(Err(problem)) => {
                problems.push(*problem);
                return None;
            }
            None => Vec::new(),
        };
        match selected.as_slice() {
            [index] if self.drafts[*index].kind.is_none_or(KindFacts::gate) => {
                Some(edge(Role::Gate, *index, String::new(), gate.span))
            }
            _ => {
                let suggests = suggests(problems, self.drafts.len());
                let gates = self.drafts.iter().filter(|draft| suggests && draft.kind.is_some_and(KindFacts::gate));
                let help = suggest::help(&gate.value, gates.map(|draft| draft.node.name.as_str()), "gates here")
                    .or_else(|| {
                        Some("add `[eval.NAME]` with `type = \"gate\"` and `require = [\"NODE.FIELD >= 0.9\"]`".into())
                    });
                let gate_name = gate.value.escape_debug().to_string();
                problems.push(GraphError::UnknownGate { gate: gate_name, at: gate.span, help });
                None
            }
        }
    }
}

fn check_field(kind: &dyn KindFacts, input: &str, field: &str, at: SourceSpan, problems: &mut Sink) {
    let fields = kind.fields();
    let is_of = |known: &&str| known.strip_prefix('*').map_or(*known == field, |end| field.ends_with(end));
    if fields.iter().any(is_of) {
        return;
    }
    let help = suggest::help(field, fields.iter().copied(), &format!("fields of `{input}`"))
        .or_else(|| Some(format!("`{input}` has no fields")));
    problems.push(GraphError::UnknownField { input: input.to_owned(), field: field.to_owned(), at, help });
}

/// Returns name and content of an output, the default one without a name. A node without outputs has only fields.
fn output(draft: &Draft<'_>, name: Option<&str>) -> Option<(String, Content)> {
    let outputs = &draft.node.outputs;
    match name {
        Some(name) => outputs.iter().find(|output| output.name == name),
        None if outputs.is_empty() => return Some((String::new(), Content::FIELDS)),
        None => outputs.first(),
    }
    .map(|output| (output.name.clone(), output.content))
}

fn unknown_output(input: &Draft<'_>, entry: &Input, at: SourceSpan) -> GraphError {
    let output = entry.output.clone().unwrap_or_default();
    let names = input.node.outputs.iter().map(|output| output.name.as_str());
    let help = suggest::help(&output, names, &format!("outputs of `{}`", entry.node));
    GraphError::UnknownOutput { input: input.node.name.clone(), output, at, help }
}

fn edge(role: Role, from: usize, output: String, span: SourceSpan) -> Edge {
    Edge { role, from: draft_index(from), output, span }
}

/// The limit on nodes keeps every index within 32 bits.
fn draft_index(index: usize) -> NodeIndex {
    NodeIndex(index as u32)
}

fn contents(reads: &[Content]) -> String {
    let words: Vec<&str> = reads.iter().map(|content| content.0).collect();
    words.join(" or ")
}
