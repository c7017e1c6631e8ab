//! Namespaces of chat templates: the only values that a template can change, and so the only ones that can come to contain
//! themselves. To print or compare such a value would never end.
//!
//! A template may make a namespace by `{% set NAME = namespace(…) %}` and use its fields, as those of nearly all models do.
//! One that uses the namespace itself as a value is refused, and so is one that reads another template, whose names would
//! be values.

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

type Result<T> = std::result::Result<T, Error>;

/// Refuses a template in which a namespace may come to contain itself.
pub(super) fn check(source: &str, syntax: SyntaxConfig) -> Result<()> {
    let tokens = tokenize(source, false, syntax).collect::<Result<Vec<_>>>()?;
    let template = Tokens(&tokens);
    let places = || 0..tokens.len();
    if let Some(at) = places().find(|at| template.reads_a_template(*at)) {
        return Err(template.refused(at, "a chat template has no other templates"));
    }
    // What is never changed contains what was there before it.
    if !places().any(|at| template.sets_a_field(at)) {
        return Ok(());
    }
    let made = places().filter(|at| template.makes_namespace(*at));
    let names: Vec<&str> = made.filter_map(|at| template.word(at - 2)).collect();
    for at in places() {
        match template.value(at) {
            Some("namespace") if !template.makes_namespace(at) => {
                return Err(template.refused(at, "a namespace is made by `{% set NAME = namespace(…) %}` alone"));
            }
            Some(word) if names.contains(&word) && !template.is_for_fields(at + 1) => {
                let why =
                    "of a namespace only fields are values, such as `NAME.field`: it could come to contain itself";
                return Err(template.refused(at, why));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The tokens of a template.
struct Tokens<'t>(&'t [(Token<'t>, Span)]);

impl<'t> Tokens<'t> {
    /// Returns the error for the word at a place.
    fn refused(&self, at: usize, why: &str) -> Error {
        let (word, line) = (self.word(at).unwrap_or_default(), self.0[at].1.start_line);
        Error::new(ErrorKind::InvalidOperation, format!("`{word}` in line {line}: {why}"))
    }

    fn is(&self, at: usize, kind: &Token<'_>) -> bool {
        self.0.get(at).is_some_and(|(token, _)| std::mem::discriminant(token) == std::mem::discriminant(kind))
    }

    fn word(&self, at: usize) -> Option<&'t str> {
        match self.0.get(at) {
            Some((Token::Ident(word), _)) => Some(word),
            _ => None,
        }
    }

    /// Returns the word at a place, unless it is a field's or gets a value.
    fn value(&self, at: usize) -> Option<&'t str> {
        let is_name = self.is(at.wrapping_sub(1), &Token::Dot) || self.is(at + 1, &Token::Assign);
        self.word(at).filter(|_| !is_name)
    }

    fn reads_a_template(&self, at: usize) -> bool {
        at > 0
            && self.is(at - 1, &Token::BlockStart)
            && matches!(self.word(at), Some("import" | "include" | "extends" | "from"))
    }

    /// Returns whether a statement begins here that sets a field.
    fn sets_a_field(&self, at: usize) -> bool {
        let rest = self.0.iter().skip(at + 2).map(|(token, _)| token);
        let mut target = rest.take_while(|token| !matches!(token, Token::Assign | Token::BlockEnd));
        self.is(at, &Token::BlockStart)
            && self.word(at + 1) == Some("set")
            && target.any(|token| matches!(token, Token::Dot))
    }

    /// Returns whether a statement that is nothing else makes a namespace by the word at this place.
    fn makes_namespace(&self, at: usize) -> bool {
        at >= 4
            && self.word(at) == Some("namespace")
            && self.is(at - 4, &Token::BlockStart)
            && self.word(at - 3) == Some("set")
            && self.word(at - 2).is_some()
            && self.is(at - 1, &Token::Assign)
            && self.is(at + 1, &Token::ParenOpen)
            && self.closed(at + 1).is_some_and(|end| self.is(end + 1, &Token::BlockEnd))
    }

    /// Returns where the parenthesis is closed that is opened here.
    fn closed(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, (token, _)) in self.0.iter().enumerate().skip(open) {
            match token {
                Token::ParenOpen => depth += 1,
                Token::ParenClose if depth == 1 => return Some(at),
                Token::ParenClose => depth -= 1,
                _ => {}
            }
        }
        None
    }

    /// Returns whether what follows takes a field of what stands before, or only asks what that is.
    fn is_for_fields(&self, at: usize) -> bool {
        self.is(at, &Token::Dot) || self.is(at, &Token::BracketOpen) || self.word(at) == Some("is")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(source: &str) -> Option<String> {
        check(source, SyntaxConfig::default()).err().map(|error| error.detail().unwrap_or_default().to_owned())
    }

    #[test]
    fn namespaces_are_used_by_their_fields() {
        for source in [
            "namespace ns {{ 'ns' }} {{ message.ns }} {{ {'namespace': 1} }}",
            "{% macro of(namespace) %}{{ namespace }}{% endmacro %}{% set n = namespace() %}{{ n }}",
            "{%- set ns = namespace(a=1, b=(2, [3])) -%}{% set ns.a = ns['b'] + ns.a %}{{ f(ns=1) }}{% if ns is defined %}x{% endif %}",
        ] {
            assert_eq!(refusal(source), None, "{source}");
        }
    }

    #[test]
    fn a_namespace_as_a_value_is_refused_with_its_line() {
        let made = "{% set n = namespace() %}{% set n.a = 1 %}\n";
        for use_of_it in [
            "{% set n.n = n %}",
            "{% set n.n = [n] %}",
            "{% set m = n %}",
            "{{ n }}",
            "{{ n | tojson }}",
            "{% for m in [n] %}{% endfor %}",
            "{{ f(n) }}",
            "{% set n.n = m is eq(n) or n %}",
        ] {
            let refusal = refusal(&format!("{made}{use_of_it}")).unwrap_or_else(|| panic!("{use_of_it}"));
            assert!(refusal.starts_with("`n` in line 2: "), "{refusal}");
        }
        for source in [
            "{% set n = namespace(), 1 %}{% set m = n[0] %}{% set m.m = m %}",
            "{% set n = [namespace()] %}{% set (n.m, m) = 1, 2 %}",
            "{% set n, m = namespace(), 1 %}{% set m.m = 1 %}",
            "{{ namespace() }}{% set m.m %}{% endset %}",
            "{% set f = namespace %}{% set m.m = 1 %}",
            "{% import 'chat' as m %}",
            "{% from 'chat' import m %}",
            "{%- include 'chat' %}",
        ] {
            assert!(refusal(source).is_some(), "{source}");
        }
    }
}
