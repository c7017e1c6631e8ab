//! Many nodes.

use std::fmt::Write as _;

use super::space::Space;

#[test]
fn two_thousand_nodes_are_built_and_then_found_fresh() {
    let mut text = String::new();
    for n in 0..1000 {
        writeln!(text, "[source.s{n}]\ntype = \"text\"\npath = \"s/{n}.txt\"").unwrap();
        writeln!(text, "[filter.f{n}]\ntype = \"join\"\nfrom = [\"s{n}\", \"s{}\"]", (n + 1) % 1000).unwrap();
    }
    let space = Space::new(&text);
    for n in 0..1000 {
        space.write(&format!("tree/s/{n}.txt"), &n.to_string());
    }
    assert_eq!(space.runs().len(), 2000);
    assert_eq!(space.runs().len(), 0);
    space.write("tree/s/7.txt", "seven");
    assert_eq!(space.runs(), ["f6", "f7", "s7"]);
}
