//! The architecture's invariants, checked on the source text: who may use whom, and who may touch the world.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Which modules of this crate each module may use, beside itself. `cli` and the crate's root may use all.
const LAYERS: &[(&str, &[&str])] = &[
    ("field", &[]),
    ("secret", &[]),
    ("suggest", &[]),
    ("manifest", &["secret", "suggest"]),
    ("store", &[]),
    ("net", &[]),
    ("record", &["store", "suggest"]),
    ("llama", &[]),
    ("model", &["llama", "record", "store"]),
    ("serve", &["llama", "model", "net", "record"]),
    ("node", &["field", "llama", "model", "net", "record", "secret", "store", "suggest"]),
    ("graph", &["field", "manifest"]),
    ("engine", &["graph", "manifest", "node", "record", "store"]),
    ("cli", &["engine", "graph", "llama", "manifest", "model", "net", "node", "record", "serve", "store"]),
];

/// What only some modules may touch: a pattern, who may, and in what words a breach is told.
const WORLD: &[(&str, &[&str], &str)] = &[
    (r"\bureq\b", &["net"], "only `net` speaks HTTP"),
    (r"\b(rustls|rustls_native_certs)::", &["net"], "only `net` speaks TLS"),
    (r"\b(hyper|hyper_util|http_body_util|tokio)::", &["serve"], "only `serve` serves HTTP"),
    (r"\brusqlite\b", &["store"], "only `store` knows its database"),
    (r"\bcandle_core\b", &["model"], "only `model` knows tensors"),
    (r"\bllama_cpp_sys_2\b", &["llama"], "only `llama` knows llama.cpp"),
    (r"\b(clap|indicatif|console)::", &["cli"], "only `cli` knows the terminal"),
    (r"\be?print(ln)?!", &["cli"], "only `cli` prints"),
    (
        r"\benv::(var|vars|var_os|vars_os|args|args_os|set_var|remove_var)\b",
        &["cli", "main"],
        "only `cli` reads the environment",
    ),
    (r"\bprocess::exit\b", &["cli", "main"], "only `cli` ends the process"),
];

/// Packages in `Cargo.lock`. Raising it is a decision: each package costs build time on every machine. Twelve are built
/// for the feature `cuda` alone.
const PACKAGES: usize = 419;

/// Lines of one file in `src`. Tests may be longer: they are a table of what is said about what.
const LONGEST: usize = 600;

/// One file below `src`.
struct Source {
    /// Relative to the package, with `/`.
    path: String,
    /// Its text with comments blanked and unit tests cut off.
    code: String,
    /// Lines in all.
    length: usize,
}

impl Source {
    /// Returns the top-level module, such as `store`, or `lib` and `main`.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
    }

    /// Returns `path:line` of a place in the code.
    fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.code[..offset].matches('\n').count() + 1)
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

/// Reads all of `src`. Unit tests may do what code may not: they print, they make certain files.
fn sources() -> Vec<Source> {
    files_below(&package().join("src"))
        .iter()
        .filter(|path| !path.ends_with("tests.rs") && !path.components().any(|part| part.as_os_str() == "tests"))
        .map(|path| read(path))
        .collect()
}

fn read(path: &Path) -> Source {
    let text = fs_err::read_to_string(path).unwrap();
    let tests = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let without_comment =
        |line: &str| if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() };
    let code = text[..tests].lines().map(without_comment).collect::<Vec<_>>().join("\n");
    let path = path.strip_prefix(package()).unwrap().to_string_lossy().replace('\\', "/");
    Source { path, code, length: text.lines().count() }
}

/// Returns the names that a file uses from this crate's root, each with its offset.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let path = Regex::new(r"\bcrate::(?:(\w+)|\{((?:[^{}]|\{[^{}]*\})*)\})").unwrap();
    let first = Regex::new(r"(?:^|,)\s*(\w+)").unwrap();
    let mut uses = Vec::new();
    for found in path.captures_iter(&source.code) {
        let offset = found.get_match().start();
        match (found.get(1), found.get(2)) {
            (Some(name), _) => uses.push((offset, name.as_str().to_owned())),
            (None, Some(list)) => {
                uses.extend(first.captures_iter(list.as_str()).map(|name| (offset, name[1].to_owned())));
            }
            (None, None) => {}
        }
    }
    uses
}

#[track_caller]
fn assert_none(breaches: &str) {
    assert!(breaches.is_empty(), "\n{breaches}");
}

#[test]
fn modules_use_only_the_layers_below_them() {
    let mut breaches = String::new();
    for source in sources() {
        let module = source.module();
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            writeln!(breaches, "{}: module `{module}` has no place in the layers", source.path).unwrap();
            continue;
        };
        for (offset, used) in uses(&source) {
            let is_module = LAYERS.iter().any(|(name, _)| *name == used);
            if is_module && used != module && !allowed.contains(&used.as_str()) {
                writeln!(breaches, "{}: {module} uses {used}", source.place(offset)).unwrap();
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn a_family_of_kinds_knows_no_other_family() {
    let families = Regex::new(r"\bnode::(eval|export|filter|model|source|train)\b").unwrap();
    let mut breaches = String::new();
    for source in sources() {
        let Some(family) = source.path.strip_prefix("src/node/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        for used in families.captures_iter(&source.code).filter(|used| used[1] != *family.0) {
            let place = source.place(used.get_match().start());
            writeln!(breaches, "{place}: {} uses {}", family.0, &used[1]).unwrap();
        }
    }
    assert_none(&breaches);
}

#[test]
fn only_their_owners_touch_the_world() {
    let mut breaches = String::new();
    for (pattern, owners, words) in WORLD {
        let pattern = Regex::new(pattern).unwrap();
        for source in sources().iter().filter(|source| !owners.contains(&source.module())) {
            for found in pattern.find_iter(&source.code) {
                writeln!(breaches, "{}: {words}: `{}`", source.place(found.start()), found.as_str()).unwrap();
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn no_file_is_too_long_to_read() {
    let mut breaches = String::new();
    for source in sources() {
        if source.length > LONGEST {
            writeln!(breaches, "{}: {} lines, at most {LONGEST}", source.path, source.length).unwrap();
        }
    }
    assert_none(&breaches);
}

#[test]
fn no_file_is_forgotten_by_the_compiler() {
    let mut breaches = String::new();
    for root in ["src", "tests/it"] {
        let root = package().join(root);
        for path in files_below(&root).iter().filter(|path| !is_root(&root, path)) {
            let is_folder = path.ends_with("mod.rs");
            let named = if is_folder { path.parent().unwrap() } else { path };
            let name = named.file_stem().unwrap().to_str().unwrap();
            let folder = named.parent().unwrap();
            let parents = ["mod.rs", "lib.rs", "main.rs"].map(|file| folder.join(file));
            let declares = Regex::new(&format!(r"(?m)^\s*(pub(\([a-z]+\))? )?mod {name}\b")).unwrap();
            let declared = parents
                .iter()
                .filter(|parent| parent.exists())
                .any(|parent| declares.is_match(&fs_err::read_to_string(parent).unwrap()))
                || declares.is_match(&fs_err::read_to_string(folder.with_extension("rs")).unwrap_or_default());
            if !declared {
                writeln!(breaches, "{}: no `mod {name};` names it", path.display()).unwrap();
            }
        }
    }
    assert_none(&breaches);
}

fn is_root(root: &Path, path: &Path) -> bool {
    ["lib.rs", "main.rs"].iter().any(|file| root.join(file) == path)
}

#[test]
fn the_lock_file_keeps_its_budget() {
    let lock = fs_err::read_to_string(package().join("Cargo.lock")).unwrap();
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    assert!(
        packages <= PACKAGES,
        "Cargo.lock has {packages} packages, the budget is {PACKAGES}: is the new one worth it?"
    );
}

#[test]
fn a_breach_of_the_layers_is_found() {
    let used = |code: &str| {
        let source = Source { path: "src/store/x.rs".into(), code: code.into(), length: 1 };
        uses(&source).into_iter().map(|(offset, name)| format!("{} {name}", source.place(offset))).collect::<Vec<_>>()
    };
    assert_eq!(used("\nuse crate::engine::Plan;"), ["src/store/x.rs:2 engine"]);
    assert_eq!(used("let x = crate::cli::run();"), ["src/store/x.rs:1 cli"]);
    let group = used("use crate::{\n    net::{Client, Url},\n    node::Run,\n};");
    assert!(
        group.contains(&"src/store/x.rs:1 net".into()) && group.contains(&"src/store/x.rs:1 node".into()),
        "{group:?}"
    );
}
