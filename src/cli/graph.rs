//! `tunesmith graph`: the graph, coloured by state.
//!
//! `--json` (and `--format json`) writes one object `graph` a node, in topological order: `node`, `kind`, `state`
//! (`fresh`, `stale`, `never built`, `held`, `refused`), `out`, and `inputs` (each `node`, `output`, `role`: `from`,
//! `model`, `fields`, `gate`).

use std::collections::BTreeSet;

use console::Style;
use serde_json::{Value, json};

use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{Deploy, Mode, Planned, StaleReason, plan};
use crate::graph::{Drawing, Graph, NodeIndex, State};

/// Arguments of `graph`.
#[derive(Debug, clap::Args)]
pub(super) struct GraphCommand {
    /// The form
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// The form of a drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines for people
    #[default]
    Text,
    /// Graphviz' language
    Dot,
    /// Mermaid's language
    Mermaid,
    /// A picture
    Svg,
    /// One object a line
    Json,
}

impl Execute for GraphCommand {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let graph = &session.project.graph;
        let states = states(&session)?;
        let drawing = Drawing { graph, states: &states };
        let format = if context.output.is_json() { Format::Json } else { self.format };
        match format {
            Format::Text => {
                let width = states.iter().map(|state| state.as_str().len()).max().unwrap_or(0);
                for (state, line) in drawing.text() {
                    let word = style(state).force_styling(context.output.has_colour()).apply_to(state.as_str());
                    let gap = " ".repeat(width - state.as_str().len());
                    context.output.line(format_args!("{word}{gap}  {line}"));
                }
            }
            Format::Dot => context.output.text(&drawing.dot()),
            Format::Mermaid => context.output.text(&drawing.mermaid()),
            Format::Svg => context.output.text(&drawing.svg()),
            Format::Json => {
                for (index, state) in graph.indices().zip(&states) {
                    context.output.text(&format!("{}\n", json!({ "graph": object(graph, index, *state) })));
                }
            }
        }
        Ok(Exit::Done)
    }
}

/// Returns how each node stands, by the decisions that a build takes.
fn states(session: &Session<'_>) -> Result<Vec<State>, CliError> {
    let resolver = session.resolver();
    let all: BTreeSet<NodeIndex> = session.project.graph.indices().collect();
    let plan = plan(&resolver, &all, &Deploy::default())?;
    let states = plan.nodes.iter().map(|(index, planned)| {
        Ok(match planned {
            Planned::Fresh(_) => State::Fresh,
            Planned::Run(_, StaleReason::NeverBuilt) => State::NeverBuilt,
            Planned::Perhaps(_) if resolver.trace(&session.project.graph[*index].name)?.is_none() => State::NeverBuilt,
            Planned::Run(..) | Planned::Perhaps(_) => State::Stale,
            Planned::NotDeployed => State::Held,
            Planned::Refused(_) => State::Refused,
        })
    });
    states.collect()
}

fn style(state: State) -> Style {
    match state {
        State::Fresh => Style::new().green(),
        State::Stale => Style::new().yellow(),
        State::NeverBuilt => Style::new().dim(),
        State::Held => Style::new().blue(),
        State::Refused => Style::new().red(),
    }
}

fn object(graph: &Graph, index: NodeIndex, state: State) -> Value {
    let node = &graph[index];
    let inputs: Vec<Value> = node
        .inputs
        .iter()
        .map(|edge| json!({"node": graph[edge.from].name, "output": edge.output, "role": edge.role.as_str()}))
        .collect();
    json!({"node": node.name, "kind": node.kind_name, "state": state.as_str(), "out": node.out, "inputs": inputs})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::testing::Space;

    #[test]
    fn the_text_has_each_node_with_its_state_and_what_it_reads() {
        let space = Space::new();
        space.done(&["build", "notes"]);
        let said = space.done(&["graph"]);
        let expected = "fresh        notes    source.jsonl\n\
                        never built  pairs    filter.conversations  ← notes\n\
                        never built  dataset  filter.split          ← pairs\n";
        assert_eq!(said.out, expected);
    }

    #[test]
    fn the_other_forms_name_nodes_edges_and_states() {
        let space = Space::new();
        let dot = space.done(&["graph", "--format", "dot"]).out;
        assert!(
            dot.contains("n0 [label=\"notes\\nsource.jsonl\", fillcolor=\"#e0e0e0\", tooltip=\"never built\"];"),
            "{dot}"
        );
        assert!(dot.contains("n0 -> n1 [label=\"\", style=solid];"), "{dot}");
        let mermaid = space.done(&["graph", "--format", "mermaid"]).out;
        assert!(mermaid.contains("n1[\"pairs<br/>filter.conversations\"]:::never-built\n"), "{mermaid}");
        assert!(mermaid.contains("n1 --> n2\n"), "{mermaid}");
        let svg = space.done(&["graph", "--format", "svg"]).out;
        assert!(svg.starts_with("<?xml") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("never built</tspan>").count(), 3, "{svg}");
        let objects = space.done(&["graph", "--json"]).objects("graph");
        assert_eq!(objects[1]["inputs"], json!([{"node": "notes", "output": "records", "role": "from"}]));
    }

    #[test]
    fn an_unknown_form_is_refused() {
        Space::new().refused(&["graph", "--format", "png"], Exit::Wrong, "mermaid");
    }
}
