//! How a text names a field of a node, `NODE.FIELD`: the one reader for `{NODE.FIELD}` in settings and for the conditions of
//! gates.

/// Parts node and field at the first dot: a field may have dots, as `Q4_K_M.kl` of a ladder has. The values of a node's
/// axes may have dots before digits: `expert@rate=0.5.loss`. Nothing for what names no field.
pub fn parse(text: &str) -> Option<(&str, &str)> {
    let has_axes = |dot: usize| text[..dot].contains('@');
    let is_within_number = |dot: usize| text[dot + 1..].starts_with(|c: char| c.is_ascii_digit());
    let mut dots = text.match_indices('.').map(|(dot, _)| dot);
    let dot = dots.find(|&dot| !(has_axes(dot) && is_within_number(dot)))?;
    let (node, field) = (&text[..dot], &text[dot + 1..]);
    (is_node(node) && is_field(field)).then_some((node, field))
}

/// A node's name may go on with `@axis=value,…`.
fn is_node(text: &str) -> bool {
    let (name, axes) = text.split_once('@').unwrap_or((text, "x"));
    let in_axes = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '=' | ',');
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(in_name)
        && !axes.is_empty()
        && axes.chars().all(in_axes)
}

/// Words of letters, digits, `-` and `_` with dots between them; the first begins with a letter.
fn is_field(text: &str) -> bool {
    let is_word =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_parted_from_nodes_at_the_first_dot_outside_of_axes() {
        for (text, node, field) in [
            ("ollama.tag", "ollama", "tag"),
            ("ladder.Q4_K_M.kl", "ladder", "Q4_K_M.kl"),
            ("ladder@rate=0.5,rank=8.Q4_K_M.kl", "ladder@rate=0.5,rank=8", "Q4_K_M.kl"),
            ("expert@rate=2e-4.loss", "expert@rate=2e-4", "loss"),
            ("expert@rate=0.5.loss", "expert@rate=0.5", "loss"),
            ("8b.eval-loss", "8b", "eval-loss"),
        ] {
            assert_eq!(parse(text), Some((node, field)), "{text}");
        }
        for text in ["pass", "0.9", ".Values", "a.", "a..b", "a.b.", "a b.c", "Q.loss", "a.b c", "é.b", "a@.b", "a.9"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
