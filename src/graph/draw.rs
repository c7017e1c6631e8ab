//! The graph as text: indented for terminals, in the languages of Graphviz and Mermaid, or drawn. It colours by state, and
//! is told the states: it does not know where they come from.

use std::fmt::Write as _;

use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::render::get_shape_size;
use layout::std_shapes::shapes::{Arrow, Element, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::node::{Graph, NodeIndex};

/// Of labels in pictures, in pixels.
const FONT_SIZE: usize = 14;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has a result for its inputs as they are.
    Fresh,
    /// It would run.
    Stale,
    /// It would run for the first time.
    NeverBuilt,
    /// It runs only when it is asked for.
    Held,
    /// It cannot be decided.
    Refused,
}

impl State {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::NeverBuilt => "never built",
            Self::Held => "held",
            Self::Refused => "refused",
        }
    }

    /// Returns the colour of its shape.
    const fn fill(self) -> &'static str {
        match self {
            Self::Fresh => "#c8e6c9",
            Self::Stale => "#ffe0b2",
            Self::NeverBuilt => "#e0e0e0",
            Self::Held => "#bbdefb",
            Self::Refused => "#ffcdd2",
        }
    }
}

/// A graph to be drawn: its states in the order of its nodes.
#[derive(Clone, Copy, Debug)]
pub struct Drawing<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// One state for each node.
    pub states: &'a [State],
}

impl Drawing<'_> {
    /// Returns one line a node in topological order: state, name, kind, and what it reads.
    pub fn text(&self) -> Vec<(State, String)> {
        let width = self.graph.nodes().iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
        let kind_width = self.graph.nodes().iter().map(|node| node.kind_name.len()).max().unwrap_or(0);
        self.nodes()
            .map(|(index, state)| {
                let node = &self.graph[index];
                let read: Vec<String> = self.edges(index).map(|(_, label)| label).collect();
                let arrow = if read.is_empty() { String::new() } else { format!("  ← {}", read.join(", ")) };
                let line = format!("{:width$}  {:kind_width$}{arrow}", node.name, node.kind_name);
                (state, line.trim_end().to_owned())
            })
            .collect()
    }

    /// Returns the graph in Graphviz' language.
    pub fn dot(&self) -> String {
        let mut text =
            String::from("digraph pipeline {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\"];\n");
        for (index, state) in self.nodes() {
            let node = &self.graph[index];
            let (name, kind, fill) = (dot_string(&node.name), dot_string(&node.kind_name), state.fill());
            // Writing to a string cannot fail.
            writeln!(
                text,
                "  n{} [label=\"{name}\\n{kind}\", fillcolor=\"{fill}\", tooltip=\"{}\"];",
                index.get(),
                state.as_str()
            )
            .ok();
        }
        for (index, _) in self.nodes() {
            for edge in &self.graph[index].inputs {
                let style = if edge.role == super::Role::From { "solid" } else { "dashed" };
                let label = dot_string(&self.shown_output(edge));
                writeln!(text, "  n{} -> n{} [label=\"{label}\", style={style}];", edge.from.get(), index.get()).ok();
            }
        }
        text.push_str("}\n");
        text
    }

    /// Returns the graph in Mermaid's language, which GitHub shows in Markdown.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (index, state) in self.nodes() {
            let node = &self.graph[index];
            let class = state.as_str().replace(' ', "-");
            let (name, kind) = (mermaid_string(&node.name), mermaid_string(&node.kind_name));
            writeln!(text, "  n{}[\"{name}<br/>{kind}\"]:::{class}", index.get()).ok();
        }
        for (index, _) in self.nodes() {
            for edge in &self.graph[index].inputs {
                let arrow = if edge.role == super::Role::From { "-->" } else { "-.->" };
                let output = self.shown_output(edge);
                let label = if output.is_empty() { String::new() } else { format!("|{}|", mermaid_string(&output)) };
                writeln!(text, "  n{} {arrow}{label} n{}", edge.from.get(), index.get()).ok();
            }
        }
        for state in [State::Fresh, State::Stale, State::NeverBuilt, State::Held, State::Refused] {
            let class = state.as_str().replace(' ', "-");
            writeln!(text, "  classDef {class} fill:{},color:#000", state.fill()).ok();
        }
        text
    }

    /// Returns the graph as a picture.
    pub fn svg(&self) -> String {
        let mut picture = VisualGraph::new(Orientation::LeftToRight);
        let mut handles = Vec::new();
        for (index, state) in self.nodes() {
            let node = &self.graph[index];
            let look = StyleAttr::new(Color::fast("black"), 1, Some(Color::fast(state.fill())), 8, FONT_SIZE);
            let shape = ShapeKind::new_box(&format!("{}\n{}\n{}", node.name, node.kind_name, state.as_str()));
            let size = get_shape_size(Orientation::LeftToRight, &shape, FONT_SIZE, false);
            handles.push(picture.add_node(Element::create(shape, look, Orientation::LeftToRight, size)));
        }
        for (index, _) in self.nodes() {
            for edge in &self.graph[index].inputs {
                let mut arrow = Arrow::simple(&self.shown_output(edge));
                // One size for all: the writer keeps sizes in no order.
                arrow.look.font_size = FONT_SIZE;
                if edge.role != super::Role::From {
                    arrow.line_style = LineStyleKind::Dashed;
                }
                picture.add_edge(arrow, handles[edge.from.get()], handles[index.get()]);
            }
        }
        let mut writer = SVGWriter::new();
        picture.do_it(false, false, false, &mut writer);
        format!("{}\n", writer.finalize())
    }

    fn nodes(&self) -> impl Iterator<Item = (NodeIndex, State)> {
        self.graph.indices().zip(self.states.iter().copied())
    }

    /// Returns what a node reads, each as a manifest would name it.
    fn edges(&self, index: NodeIndex) -> impl Iterator<Item = (NodeIndex, String)> {
        self.graph[index].inputs.iter().map(|edge| {
            let output = self.shown_output(edge);
            let colon = if output.is_empty() { "" } else { ":" };
            let role =
                if edge.role == super::Role::From { String::new() } else { format!(" ({})", edge.role.as_str()) };
            (edge.from, format!("{}{colon}{output}{role}", self.graph[edge.from].name))
        })
    }

    /// Returns the output's name where it is not the one that the node's name alone means.
    fn shown_output(&self, edge: &super::Edge) -> String {
        let first = self.graph[edge.from].outputs.first().map(|output| output.name.as_str());
        if first == Some(edge.output.as_str()) { String::new() } else { edge.output.clone() }
    }
}

fn dot_string(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Escapes what Mermaid reads within quotes.
fn mermaid_string(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "#quot;").replace('<', "&lt;").replace('>', "&gt;")
}
