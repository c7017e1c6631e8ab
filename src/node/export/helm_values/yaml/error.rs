//! What can be wrong with a YAML text, or with the place in it that is to be changed.

use miette::Diagnostic;

/// What can be wrong with a YAML text, or with the place in it that is to be changed. Lines count from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub(in crate::node::export::helm_values) enum YamlError {
    /// The text of a path is none.
    #[error("`{path}` is no path of a value: {why}")]
    #[diagnostic(
        code(yaml::bad_path),
        help("write it as `helm --set` has it: `a.b[0].c`; `\\.` is a dot within a key")
    )]
    BadPath { path: String, why: &'static str },
    /// The text is no YAML.
    #[error("line {line}, column {column}: {what}")]
    #[diagnostic(code(yaml::syntax), help("mend the file; `helm lint` reads it in the same way"))]
    Syntax { line: usize, column: usize, what: String },
    /// The file has nothing in it.
    #[error("there is no document in it")]
    #[diagnostic(code(yaml::empty), help("write the value by hand first: tunesmith changes values and adds none"))]
    Empty,
    /// A key is not there.
    #[error("{} has no key `{key}`", place(.at))]
    #[diagnostic(code(yaml::no_key), help("{help}"))]
    NoKey { at: String, key: String, help: String },
    /// A list is too short.
    #[error("{} has {count} entries, so none with the number {index}", place(.at))]
    #[diagnostic(code(yaml::no_entry), help("entries count from 0"))]
    NoEntry { at: String, index: usize, count: usize },
    /// The path goes through something else than the file has.
    #[error("{} is {found}, not {expected} (line {line})", place(.at))]
    #[diagnostic(
        code(yaml::other_form),
        help("compare the path with the file: a mapping is read by `.KEY`, a list by `[N]`")
    )]
    OtherForm { at: String, found: &'static str, expected: &'static str, line: usize },
    /// A key stands twice in one mapping.
    #[error("{} has the key `{key}` in line {first} and again in line {second}", place(.at))]
    #[diagnostic(code(yaml::key_twice), help("remove one of them: readers do not agree which one counts"))]
    KeyTwice { at: String, key: String, first: usize, second: usize },
    /// The value is another one's.
    #[error("{} in line {line} is an alias of the value in line {anchor}", place(.at))]
    #[diagnostic(code(yaml::alias), help("name the path of the value itself, or write it out in place of the alias"))]
    Alias { at: String, line: usize, anchor: usize },
    /// A key comes from a merged mapping.
    #[error("{} has `{key}` only by the merge (`<<`) in line {line}", place(.at))]
    #[diagnostic(code(yaml::merged), help("name the path of the merged mapping, or write the key beside the merge"))]
    Merged { at: String, key: String, line: usize },
    /// The value's tag says that it is no text.
    #[error("{} in line {line} has the tag `{tag}`, which a text does not fit", place(.at))]
    #[diagnostic(code(yaml::tag), help("remove the tag, or set a value that fits it"))]
    Tag { at: String, line: usize, tag: String },
    /// The change would reach further than the value.
    #[error("{} in line {line} is written in a way that cannot be changed in place", place(.at))]
    #[diagnostic(
        code(yaml::not_in_place),
        help("write it by hand in quotes once, such as `key: \"value\"`; from then on it can be changed")
    )]
    NotInPlace { at: String, line: usize },
    /// The value is not what was put there.
    #[error("{} in line {line} is now {found}, which tunesmith did not write", place(.at))]
    #[diagnostic(code(yaml::changed_since), help("somebody changed it since: put the value back by hand"))]
    ChangedSince { at: String, line: usize, found: String },
}

fn place(path: &str) -> String {
    if path.is_empty() { "the document".into() } else { format!("`{path}`") }
}
