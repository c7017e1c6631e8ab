mod nodes;
mod overlays;
mod syntax;
mod tree;
mod values;

use super::*;

/// Returns what a user sees of a manifest that is wrong.
fn problems_with(text: &str, overlays: &Overlays) -> String {
    let manifest = Manifest::parse("pipeline.toml", text, overlays);
    let list = manifest.problems.iter().map(|problem| Box::new(problem.clone()) as Problem).collect();
    let (mut output, _, err) = crate::cli::Output::captured();
    output.problems(&Problems::new(manifest.sources, list));
    err.text()
}

fn problems(text: &str) -> String {
    problems_with(text, &Overlays::default())
}

#[test]
fn limits_hold() {
    let deep = format!("schema = 1\n[source.a]\ntype = \"text\"\nx = {}1{}\n", "[".repeat(40), "]".repeat(40));
    assert!(problems(&deep).contains("manifest::too_deep"));
    let bottomless = format!("schema = 1\nx = {}\n", "[".repeat(100_000));
    assert!(problems(&bottomless).contains("manifest::syntax"));
    let dotted = format!("schema = 1\n{}x = 1\n", "a.".repeat(100_000));
    assert!(problems(&dotted).contains("manifest::syntax"));
    let wide = format!("schema = 1\n[project]\nname = 3 # {}\n", "x".repeat(100_000));
    assert!(problems(&wide).contains("at pipeline.toml:3:8: expected a string"));
    let large = format!("schema = 1\n# {}\n", "x".repeat(8 << 20));
    assert!(problems(&large).contains("manifest::too_large"));
    let mut nodes = "schema = 1\n".to_owned();
    for number in 0..=100_000 {
        nodes.push_str(&format!("[filter.a{number}]\n"));
    }
    assert!(problems(&nodes).contains("manifest::too_many_nodes"));
}

#[test]
fn sizes_and_times_have_units() {
    let text = "schema = 1\n[run]\njobs = 3\nmemory = \"1.5 GiB\"\ntimeout = \"2h 30m\"\n[run.node.a]\nmemory = 1000\n";
    let manifest = Manifest::parse("pipeline.toml", text, &Overlays::default());
    assert_eq!(manifest.problems, []);
    assert_eq!(manifest.run.options.memory, Some(3 << 29));
    assert_eq!(manifest.run.options.timeout, Some(std::time::Duration::from_mins(150)));
    assert_eq!(manifest.run.nodes[0].1.memory, Some(1000));
}

#[test]
fn devices_are_the_cpu_and_gpus_by_number() {
    let device = |name: &str| {
        let text = format!("schema = 1\n[run]\ndevice = \"cpu\"\n[run.node.a]\ndevice = {name}\n");
        let manifest = Manifest::parse("pipeline.toml", &text, &Overlays::default());
        manifest.run.nodes[0].1.device.ok_or_else(|| problems(&text))
    };
    let gpus = ["\"cuda\"", "\"cuda:0\"", "\"cuda:12\""].map(|name| device(name).unwrap());
    assert_eq!(gpus, [0, 0, 12].map(Device::Cuda));
    assert_eq!(device("\"cpu\""), Ok(Device::Cpu));
    for wrong in ["\"gpu\"", "\"cuda:\"", "\"cuda:-1\"", "\"cuda:99999\"", "\"CPU\""] {
        let said = device(wrong).unwrap_err();
        assert!(said.contains("no device has this name") && said.contains("`device = \"cpu\"`"), "{said}");
    }
    assert!(device("1").unwrap_err().contains("not a device in a string"));
}
