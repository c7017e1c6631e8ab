//! What a user sees of mistakes in settings and options.

use insta::assert_snapshot;

use super::problems;

#[test]
fn settings_that_a_kind_refuses_are_pointed_at() {
    let toml = r#"
[model]
max-token = 2
[source.docs]
type = "text"
rank = "high"
paht = "x"
set = { a = 1 }
[source.more]
type = "text"
matrix = { rank = [8, "x"], foo = [1] }
"#;
    assert_snapshot!(problems(toml), @r#"
    settings::unknown_key

      × node `model`: unknown setting `max-token`
       ╭─[pipeline.toml:3:1]
     2 │ [model]
     3 │ max-token = 2
       · ────┬────
       ·     ╰── no setting has this name
     4 │ [source.docs]
       ╰────
      help: did you mean `max-tokens`?

    settings::wrong_value

      × node `docs`: `rank` must be a whole number from 0, not the string "high"
       ╭─[pipeline.toml:6:8]
     5 │ type = "text"
     6 │ rank = "high"
       ·        ───┬──
       ·           ╰── expected a whole number from 0
     7 │ paht = "x"
       ╰────

    settings::unknown_key

      × node `docs`: unknown setting `paht`
       ╭─[pipeline.toml:7:1]
     6 │ rank = "high"
     7 │ paht = "x"
       · ──┬─
       ·   ╰── no setting has this name
     8 │ set = { a = 1 }
       ╰────
      help: did you mean `path`?

    settings::wrong_value

      × node `docs`: `a` must be a string, not the number `1`
       ╭─[pipeline.toml:8:13]
     7 │ paht = "x"
     8 │ set = { a = 1 }
       ·             ┬
       ·             ╰── expected a string
     9 │ [source.more]
       ╰────
      help: write `a = "1"`

    settings::wrong_value

      × node `more`: `rank` must be a whole number from 0, not the string "x"
        ╭─[pipeline.toml:11:23]
     10 │ type = "text"
     11 │ matrix = { rank = [8, "x"], foo = [1] }
        ·                       ─┬─
        ·                        ╰── expected a whole number from 0
        ╰────

    settings::unknown_key

      × node `more`: unknown setting `foo`
        ╭─[pipeline.toml:11:29]
     10 │ type = "text"
     11 │ matrix = { rank = [8, "x"], foo = [1] }
        ·                             ─┬─
        ·                              ╰── no setting has this name
        ╰────
      help: settings here: base, path, folder, rank, alpha, max-tokens, set, require, token

    the manifest has 6 problems
    "#);
}

#[test]
fn a_kind_that_needs_the_model_says_so() {
    let toml = r#"
[source.docs]
type = "text"
[filter.pairs]
type = "pairs"
from = ["docs"]
[train.expert]
type = "lora"
from = ["pairs"]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::no_model

      × node `expert` needs a base model
       ╭─[pipeline.toml:8:8]
     7 │ [train.expert]
     8 │ type = "lora"
       ·        ───┬──
       ·           ╰── this type reads `[model]`
     9 │ from = ["pairs"]
       ╰────
      help: add `[model]` with its `base`, such as `base = "ollama:llama3.1:8b"`
    "#);
}

#[test]
fn refresh_and_run_options_name_what_is_there() {
    let toml = r#"
[source.docs]
type = "text"
refresh = "always"
[run.node.dosc]
retries = 1
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::needless_refresh

      × node `docs` takes no snapshot that could be refreshed
       ╭─[pipeline.toml:4:11]
     3 │ type = "text"
     4 │ refresh = "always"
       ·           ────┬───
       ·               ╰── nothing remote here
     5 │ [run.node.dosc]
       ╰────
      help: remove `refresh`: local files and other nodes are looked at in each build

    graph::unknown_run_node

      × `[run.node]` names unknown node `dosc`
       ╭─[pipeline.toml:5:11]
     4 │ refresh = "always"
     5 │ [run.node.dosc]
       ·           ──┬─
       ·             ╰── no node has this name
     6 │ retries = 1
       ╰────
      help: did you mean `docs`?

    the manifest has 2 problems
    "#);
}
