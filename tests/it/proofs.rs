//! The proofs of a model, and a gate that reads them.

use crate::support::program::{tunesmith, write};
use crate::support::tiny::project;

const PROOFS: &str = r#"
[filter.dataset]
type = "split"
from = ["pairs"]
eval = 0.5
[eval.ladder]
type = "ladder"
from = ["dataset:eval", "expert", "gguf"]
[eval.stops]
type = "stops"
from = ["gguf", "dataset:eval"]
rows = 2
max-answer-tokens = 4
[eval.parity]
type = "parity"
from = ["gguf", "pairs"]
[eval.ship]
type = "gate"
require = ["ladder.Q8_0.kl < 0.05", "ladder.F16.loss < 20", "parity.different == 0", "stops.ends >= 0"]
"#;

#[test]
fn a_gate_reads_the_ladder_the_stops_and_the_parity() {
    let space = project();
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    write(space.path(), &[("pipeline.toml", &format!("{manifest}{PROOFS}"))]);
    tunesmith(space.path(), &["build"]).expect(0);
    let shown = tunesmith(space.path(), &["show", "ladder"]).expect(0).out;
    assert!(shown.contains("Q8_0.kl"), "{shown}");

    let closed = PROOFS.replace("ladder.Q8_0.kl < 0.05", "ladder.Q8_0.kl > 0.05");
    write(space.path(), &[("pipeline.toml", &format!("{manifest}{closed}"))]);
    let refused = tunesmith(space.path(), &["build"]).expect(3);
    assert!(refused.err.contains("conditions are not met: `ladder.Q8_0.kl > 0.05`"), "{}", refused.err);

    let misspelt = PROOFS.replace("ladder.Q8_0.kl", "ladder.Q8_0.lk");
    write(space.path(), &[("pipeline.toml", &format!("{manifest}{misspelt}"))]);
    let unknown = tunesmith(space.path(), &["check"]).expect(2);
    assert!(unknown.err.contains("Q8_0.lk"), "{}", unknown.err);
}
