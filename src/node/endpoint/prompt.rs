//! Prompts with texts from elsewhere in them.

/// Puts values in place of their placeholders, in one pass: what looks like a placeholder in a value stays.
pub(crate) fn filled(prompt: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(prompt.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = prompt;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = values.iter().find(|(placeholder, _)| rest.starts_with(placeholder));
        let (placeholder, value) = found.unwrap_or(&("{", "{"));
        filled.push_str(value);
        rest = &rest[placeholder.len()..];
    }
    filled.push_str(rest);
    filled
}

/// Puts a text between two fences that no line of it can be.
pub(crate) fn fenced(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(3) + 1);
    format!("{fence}\n{text}\n{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_placeholder_in_a_value_stays() {
        let values = [("{title}", "{text} {title}"), ("{text}", "{count}"), ("{count}", "3")];
        assert_eq!(filled("{ {count} {x} # {title}\n{text}{", &values), "{ 3 {x} # {text} {title}\n{count}{");
    }

    #[test]
    fn no_text_ends_its_own_fence() {
        assert_eq!(fenced("a"), "````\na\n````");
        assert_eq!(fenced("```\na\n`````"), "``````\n```\na\n`````\n``````");
    }
}
