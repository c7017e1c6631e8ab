//! Where the nodes of a manifest stand, so that a few of them can be read without the others.

use std::ops::Range;

use super::{Family, Manifest};

/// A stretch of a manifest's text that declares one node and nothing else: a header and the lines up to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The number of the declaration in [`Manifest::declarations`].
    pub declaration: usize,
    /// Bytes of the text.
    pub range: Range<usize>,
}

impl Manifest {
    /// Finds the sections of named nodes in the text that this manifest was read from.
    ///
    /// A line that looks like a header counts as one, within a string too. A text with such lines may then be cut in
    /// its middle, which shows when the rest is read.
    pub fn sections(&self, text: &str) -> Vec<Section> {
        let mut starts = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            if line.trim_start().starts_with('[') {
                starts.push(offset);
            }
            offset += line.len();
        }
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let mut declarations = self.declarations.iter().enumerate().peekable();
        let mut sections = Vec::new();
        for (start, end) in starts.iter().copied().zip(ends) {
            // Both are in the order of the text.
            while declarations.next_if(|(_, declared)| declared.name.span.offset() < start).is_some() {}
            let Some((declaration, declared)) = declarations.peek() else { break };
            let header = text[start..end].lines().next().unwrap_or_default().trim();
            let is_header = header.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let name = is_header.and_then(|inner| inner.split_once('.'));
            let is_this = declared.family != Family::Model
                && declared.name.span.offset() < end
                && name == Some((declared.family.as_str(), declared.name.value.as_str()));
            if is_this {
                sections.push(Section { declaration: *declaration, range: start..end });
            }
        }
        sections
    }

    /// Reads a manifest without the nodes of some sections; `None` where what is left is no manifest.
    ///
    /// Places are those of the whole text. What `[run]` says of nodes that are left out is left out as well.
    pub fn parse_without(name: &str, text: &str, sections: &[Section]) -> Option<Self> {
        let mut rest = text.as_bytes().to_vec();
        for Section { range, .. } in sections {
            rest.get_mut(range.clone())?.fill(b' ');
        }
        let rest = String::from_utf8(rest).ok()?;
        let mut manifest = Self::parse(name, &rest, &super::Overlays::default());
        if !manifest.problems.is_empty() {
            return None;
        }
        manifest.sources = super::Sources::default();
        manifest.sources.add(name, text);
        let declarations = std::mem::take(&mut manifest.declarations);
        manifest.run.nodes.retain(|(name, _)| {
            let declared = name.value.split('@').next().unwrap_or_default();
            declarations.iter().any(|declaration| declaration.name.value == declared)
        });
        manifest.declarations = declarations;
        Some(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Overlays;

    const TEXT: &str = "schema = 1\n[model]\nbase = \"gguf:é.gguf\"\n[source.a]\ntype = \"jsonl\"\npath = \"a\"\n\n\
        [source]\nd = { type = \"jsonl\", path = \"d\" }\n[train.b]\ntype = \"lora\"\nfrom = [\"a\"]\n\
        [train.b.matrix]\nrank = [\n  8,\n  16,\n]\n[filter.c]\ntype = \"split\"\n[run.node.c]\nretries = 1\n";

    fn names(manifest: &Manifest) -> Vec<&str> {
        manifest.declarations.iter().map(|declaration| declaration.name.value.as_str()).collect()
    }

    #[test]
    fn the_nodes_that_are_left_are_as_in_the_whole_text() {
        let text = TEXT
            .replace("[source]\nd =", "[source.d]\nx =")
            .replace("x = { type = \"jsonl\", path = \"d\" }", "type = \"jsonl\"");
        let whole = Manifest::parse("pipeline.toml", &text, &Overlays::default());
        assert!(whole.problems.is_empty(), "{:?}", whole.problems);
        let sections = whole.sections(&text);
        let of = |name: &str| {
            let number = whole.declarations.iter().position(|declared| declared.name.value == name).unwrap();
            sections.iter().filter(|section| section.declaration == number).cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&whole), ["model", "a", "d", "b", "c"]);
        assert_eq!(of("model"), []);
        let part = Manifest::parse_without("pipeline.toml", &text, &[of("a"), of("c")].concat()).unwrap();
        assert_eq!(names(&part), ["model", "d", "b"]);
        for declaration in &part.declarations {
            assert!(whole.declarations.contains(declaration), "{declaration:?}");
        }
        assert_eq!((part.run.nodes.len(), whole.run.nodes.len()), (0, 1));
        assert_eq!(part.sources, whole.sources);
    }

    #[test]
    fn a_text_that_would_be_cut_in_its_middle_is_no_manifest() {
        // The matrix has a header of its own, which stays behind when its node goes.
        let whole = Manifest::parse("pipeline.toml", TEXT, &Overlays::default());
        let b: Vec<Section> = whole
            .sections(TEXT)
            .into_iter()
            .filter(|section| TEXT[section.range.clone()].starts_with("[train.b]"))
            .collect();
        assert_eq!(b.len(), 1);
        assert!(Manifest::parse_without("pipeline.toml", TEXT, &b).is_none());
        let text = "schema = 1\n[model]\nbase = \"x\"\nsystem = '''\n[source.a]\n'''\n[source.a]\ntype = \"jsonl\"\n";
        let whole = Manifest::parse("pipeline.toml", text, &Overlays::default());
        let sections = whole.sections(text);
        assert_eq!(sections.len(), 1);
        assert_eq!(&text[sections[0].range.clone()], "[source.a]\ntype = \"jsonl\"\n");
    }
}
