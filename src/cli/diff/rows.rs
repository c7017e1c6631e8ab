//! Rows that differ between two builds, as text: whole turns of what came or went, the changed words of what was edited.

use similar::{DiffOp, DiffTag, TextDiff};

use super::super::Output;
use super::super::rows::Rows;
use super::super::show::{conversation, plain};
use crate::engine::RowChange;

/// Lines of a row that came or went; with `--rows all` there is no limit.
const LINES: usize = 12;
/// Characters of unchanged text that are shown beside changed words.
const BESIDE: usize = 60;

/// Shows the first rows of `count` that differ.
pub(super) fn tell(output: &mut Output, changes: &[RowChange], count: usize, rows: Rows) {
    for change in changes {
        let text = |row: &Option<_>| row.as_ref().map(conversation).map(|text| plain(&text));
        let lines = match (text(&change.old), text(&change.new)) {
            (Some(old), Some(new)) => edited(&old, &new),
            (None, Some(new)) => whole('+', &new, rows),
            (Some(old), None) => whole('-', &old, rows),
            (None, None) => continue,
        };
        for line in lines {
            let line = coloured(&line, output.has_colour());
            output.line(format_args!("    {line}"));
        }
    }
    let more = count - changes.len();
    if more > 0 {
        let noun = if more == 1 { "row" } else { "rows" };
        output.line(format_args!("    … and {more} more {noun}: --rows all"));
    }
}

/// Returns the lines of a row that came or went.
fn whole(sign: char, text: &str, rows: Rows) -> Vec<String> {
    let limit = if rows == Rows::All { usize::MAX } else { LINES };
    let mut lines: Vec<String> =
        text.lines().take(limit).map(|line| format!("{sign} {line}").trim_end().to_owned()).collect();
    let more = text.lines().count().saturating_sub(limit);
    if more > 0 {
        lines.push(format!("{sign} … {more} more lines"));
    }
    lines
}

/// Returns the id of an edited row and the lines that differ, each with one line before and after it.
fn edited(old: &str, new: &str) -> Vec<String> {
    // The last lines end as all others, so that they compare as equal.
    let (old, new) = (format!("{old}\n"), format!("{new}\n"));
    let diff = TextDiff::from_lines(&old, &new);
    let id = new.lines().next().unwrap_or_default();
    let mut lines = vec![format!("~ {id}")];
    for (number, group) in diff.grouped_ops(1).into_iter().enumerate() {
        if number > 0 {
            lines.push("  …".to_owned());
        }
        for op in group {
            lines.extend(changed_lines(&diff, op).into_iter().filter(|line| line.trim_start() != id));
        }
    }
    lines
}

fn changed_lines(diff: &TextDiff<'_, '_, '_, str>, op: DiffOp) -> Vec<String> {
    let old: Vec<&str> = diff.old_slices()[op.old_range()].iter().map(|line| line.trim_end_matches('\n')).collect();
    let new: Vec<&str> = diff.new_slices()[op.new_range()].iter().map(|line| line.trim_end_matches('\n')).collect();
    let signed = |sign: &'static str, lines: Vec<&str>| -> Vec<String> {
        lines.into_iter().map(|line| format!("{sign} {line}")).collect()
    };
    match op.tag() {
        DiffTag::Equal => old.into_iter().map(|line| format!("  {}", beside(line, true, true))).collect(),
        DiffTag::Delete => signed("-", old),
        DiffTag::Insert => signed("+", new),
        DiffTag::Replace if old.len() == new.len() => {
            old.iter().zip(&new).map(|(old, new)| format!("~ {}", words(old, new))).collect()
        }
        DiffTag::Replace => [signed("-", old), signed("+", new)].concat(),
    }
}

/// Returns a line with the words that went as `[-…-]` and those that came as `{+…+}`.
fn words(old: &str, new: &str) -> String {
    let diff = TextDiff::from_words(old, new);
    let mut text = String::new();
    let last = diff.ops().len().saturating_sub(1);
    for (number, op) in diff.ops().iter().enumerate() {
        let went = diff.old_slices()[op.old_range()].concat();
        let came = diff.new_slices()[op.new_range()].concat();
        match op.tag() {
            DiffTag::Equal => text.push_str(&beside(&went, number > 0, number < last)),
            DiffTag::Delete => text.push_str(&format!("[-{went}-]")),
            DiffTag::Insert => text.push_str(&format!("{{+{came}+}}")),
            DiffTag::Replace => text.push_str(&format!("[-{went}-]{{+{came}+}}")),
        }
    }
    text
}

/// Shortens unchanged text: its start is kept where a change stands before it, its end where one stands after it.
fn beside(text: &str, after_change: bool, before_change: bool) -> String {
    let count = text.chars().count();
    let kept = BESIDE * (usize::from(after_change) + usize::from(before_change));
    if count <= kept + 3 {
        return text.to_owned();
    }
    let start: String = text.chars().take(if after_change { BESIDE } else { 0 }).collect();
    let end: String = text.chars().skip(count - if before_change { BESIDE } else { 0 }).collect();
    format!("{start}…{end}")
}

fn coloured(line: &str, colour: bool) -> String {
    let style = match line.chars().next() {
        Some('+') => console::Style::new().green(),
        Some('-') => console::Style::new().red(),
        Some('~') => console::Style::new().yellow(),
        _ => return line.to_owned(),
    };
    style.force_styling(colour).apply_to(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edited_words_stand_between_what_did_not_change() {
        let old = "o/r#1:answer\nuser: How?\nassistant: Drain the node first.\n  Then wait.";
        let new = "o/r#1:answer\nuser: How?\nassistant: Halt the node first.\n  Then wait.\n  And look.";
        assert_eq!(
            edited(old, new),
            [
                "~ o/r#1:answer",
                "  user: How?",
                "~ assistant: [-Drain-]{+Halt+} the node first.",
                "    Then wait.",
                "+   And look."
            ]
        );
    }

    #[test]
    fn unchanged_text_far_from_a_change_is_shortened() {
        let long = "word ".repeat(100);
        let line = words(&format!("{long}old {long}"), &format!("{long}new {long}"));
        assert!(line.starts_with('…') && line.ends_with('…') && line.contains("[-old-]{+new+}"), "{line}");
        assert!(line.chars().count() < 160, "{line}");
    }

    #[test]
    fn a_long_row_that_came_is_cut_unless_all_is_asked_for() {
        let text = "x\n".repeat(40);
        let cut = whole('+', &text, Rows::First(3));
        assert_eq!((cut.len(), cut.last().unwrap().as_str()), (13, "+ … 28 more lines"));
        assert_eq!(whole('-', &text, Rows::All).len(), 40);
    }
}
