use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::transformer::Transformer;
use super::super::weights::tests::tiny_base;
use super::super::weights::{Base, Storage};
use super::*;

fn tiny_llama() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama")
}

/// Reads an adapter of `tests/fixtures/tiny-llama`.
fn fixture(name: &str) -> Adapter {
    read(&tiny_base(), &tiny_llama().join(name)).unwrap()
}

fn read(base: &Base, folder: &Path) -> super::super::Result<Adapter> {
    let files = ["adapter_config.json", "adapter_model.safetensors"].map(|name| folder.join(name));
    Adapter::from_peft(base.config(), &files[0], &files[1])
}

/// Writes an adapter to a folder.
fn write(adapter: &Adapter, folder: &Path) -> serde_json::Value {
    for (name, bytes) in adapter.to_peft(0.0).unwrap() {
        fs_err::write(folder.join(name), bytes).unwrap();
    }
    serde_json::from_slice(&fs_err::read(folder.join("adapter_config.json")).unwrap()).unwrap()
}

/// Makes a new adapter for the tiny base.
fn new(config: &LoraConfig) -> Result<Adapter, LoraError> {
    let base = tiny_base();
    let model = Transformer::load(&base, Storage::Dense, |_| ()).unwrap();
    Adapter::new(base.config(), config, 1, |layer, projection| model.weight(layer, projection))
}

fn names(names: &[&str]) -> TargetModules {
    TargetModules::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn an_adapter_survives_being_written_and_read_in_pefts_form() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["adapter", "variants/rslora", "variants/dora", "variants/patterns", "variants/pissa"] {
        let adapter = fixture(name);
        write(&adapter, folder.path());
        assert_eq!(read(&tiny_base(), folder.path()).unwrap(), adapter, "{name}");
    }
}

#[test]
fn targets_are_written_as_names_with_blocks_or_as_paths() {
    let folder = tempfile::tempdir().unwrap();
    let written = |config: LoraConfig| write(&new(&config).unwrap(), folder.path());
    let config = written(LoraConfig { targets: names(&["q_proj", "mlp.up_proj"]), ..LoraConfig::default() });
    assert_eq!(config["target_modules"], serde_json::json!(["q_proj", "up_proj"]));
    assert_eq!(config["layers_to_transform"], serde_json::Value::Null);
    let config = written(LoraConfig { layers: Some(vec![1]), ..LoraConfig::default() });
    assert_eq!(config["target_modules"].as_array().unwrap().len(), 7);
    assert_eq!(config["layers_to_transform"], serde_json::json!([1]));
    let targets = TargetModules::Pattern(r".*(0\.self_attn\.q|1\.mlp\.up)_proj".into());
    let config = written(LoraConfig { targets, ..LoraConfig::default() });
    let paths = ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"];
    assert_eq!(config["target_modules"], serde_json::json!(paths));
}

#[test]
fn ranks_and_alphas_by_pattern_come_to_their_modules() {
    let adapter = new(&LoraConfig {
        rank: 4,
        alpha: 8.0,
        exclude: Some(names(&["o_proj"])),
        rank_pattern: [("up_proj".into(), 2), (r"layers\.1\.self_attn\.q_proj".into(), 8)].into(),
        alpha_pattern: [("mlp.*".into(), 6.0)].into(),
        ..LoraConfig::default()
    });
    let adapter = adapter.unwrap();
    let of = |layer, projection| {
        adapter
            .index(layer, projection)
            .map(|index| (adapter.modules()[index].rank(), adapter.modules()[index].scale()))
    };
    assert_eq!(of(0, Projection::Q), Some((4, 2.0)));
    assert_eq!(of(1, Projection::Q), Some((8, 1.0)));
    assert_eq!(of(1, Projection::Up), Some((2, 3.0)));
    assert_eq!(of(0, Projection::Down), Some((4, 1.5)));
    assert_eq!(of(0, Projection::O), None);
    let ends = adapter.modules().windows(2).all(|pair| pair[0].b().end == pair[1].a().start);
    assert!(ends && adapter.modules().last().unwrap().b().end == adapter.parameters().len());
}

#[test]
fn what_a_configuration_asks_of_a_base_in_vain_is_named() {
    let check = |config: LoraConfig, message: &str, help: &str| {
        let error = new(&config).unwrap_err();
        assert_eq!(error.to_string(), message);
        let found = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(found.contains(help), "{found}");
    };
    let plain = LoraConfig::default;
    check(
        LoraConfig { targets: names(&["q_proj", "w_porj"]), ..plain() },
        "`targets`: `w_porj` names no module of the base model",
        "known are: q_proj, k_proj, v_proj",
    );
    check(
        LoraConfig { targets: names(&["gate"]), ..plain() },
        "`targets`: `gate` names no module of the base model",
        "did you mean `gate_proj`?",
    );
    check(
        LoraConfig { targets: TargetModules::Pattern("q_proj".into()), ..plain() },
        "`targets`: `q_proj` names no module of the base model",
        "write `targets = [\"q_proj\"]`; a pattern matches whole paths, such as `model.layers.0.self_attn.q_proj`",
    );
    check(
        LoraConfig { exclude: Some(TargetModules::AllLinear), ..plain() },
        "`targets`: what `exclude` and `layers` leave of it names no module of the base model",
        "known are",
    );
    check(
        LoraConfig { layers: Some(vec![0, 2]), ..plain() },
        "`layers` names block 2, the base model has the blocks 0 to 1",
        "counted from 0",
    );
    check(
        LoraConfig { rank: 17, ..plain() },
        "rank 17 is larger than a side of `model.layers.0.self_attn.k_proj`, which turns 32 numbers into 16",
        "rank-pattern = { k_proj = 16 }",
    );
    check(
        LoraConfig { targets: names(&["q_proj"]), rank_pattern: [("v_proj".into(), 8)].into(), ..plain() },
        "`rank-pattern`: `v_proj` matches no trained module",
        "trained are: q_proj",
    );
    check(
        LoraConfig { alpha_pattern: [("v_proj".into(), 8.0), ("self_attn.*".into(), 4.0)].into(), ..plain() },
        "`alpha-pattern`: `self_attn.*` and `v_proj` both match `model.layers.0.self_attn.v_proj`",
        "one alone",
    );
}

#[test]
fn an_adapter_of_another_model_is_refused_with_the_module() {
    let folder = tiny_llama().join("adapter");
    let mut config = tiny_base().config().clone();
    config.intermediate = 64;
    let files = ["adapter_config.json", "adapter_model.safetensors"].map(|name| folder.join(name));
    let message = Adapter::from_peft(&config, &files[0], &files[1]).unwrap_err().to_string();
    let expected = "the adapter does not fit: `model.layers.0.mlp.gate_proj` turns 32 numbers into 48, in the base model it \
                    turns 32 into 64";
    assert_eq!(message, expected);
    config = tiny_base().config().clone();
    config.layers = 1;
    let message = Adapter::from_peft(&config, &files[0], &files[1]).unwrap_err().to_string();
    assert!(message.contains("it trains `model.layers.1."), "{message}");
}

#[test]
fn what_peft_can_and_is_not_computed_here_is_named() {
    let folder = tiny_llama().join("adapter");
    let config = fs_err::read_to_string(folder.join("adapter_config.json")).unwrap();
    let tensors = fs_err::read(folder.join("adapter_model.safetensors")).unwrap();
    PeftAdapter::parse(config.as_bytes(), &tensors).unwrap();
    let check = |key: &str, value: serde_json::Value, expected: &str| {
        let mut changed: serde_json::Value = serde_json::from_str(&config).unwrap();
        changed[key] = value;
        let message = PeftAdapter::parse(changed.to_string().as_bytes(), &tensors).unwrap_err().to_string();
        assert!(message.contains(expected), "{message} lacks {expected}");
    };
    check("use_qalora", true.into(), "has `use_qalora` = true, which is not supported");
    check("modules_to_save", serde_json::json!(["lm_head"]), "has `modules_to_save` = [\"lm_head\"]");
    check("bias", "all".into(), "has `bias` = \"all\"");
    check("lora_bias", true.into(), "has `lora_bias` = true");
    check("fan_in_fan_out", true.into(), "has `fan_in_fan_out` = true");
    check("peft_type", "LOHA".into(), "has `peft_type` = \"LOHA\"");
    check("layer_replication", serde_json::json!([[0, 1]]), "has `layer_replication` = [[0,1]]");
    check("a_later_invention", serde_json::json!({"x": 1}), "has `a_later_invention` = {\"x\":1}");
    check("init_lora_weights", "pissa_niter_4".into(), "belongs to a changed base");
    check("r", 8.into(), "× 4, its rank is 8");
    check("use_dora", true.into(), "it has no tensor `base_model.model.model.layers.0.");
    check("r", "four".into(), "is not what PEFT writes");
}

#[test]
fn an_adapter_without_a_module_that_its_settings_target_is_refused() {
    let base = tiny_base();
    let config = LoraConfig { targets: names(&["q_proj"]), ..LoraConfig::default() };
    let folder = tempfile::tempdir().unwrap();
    let mut settings = write(&new(&config).unwrap(), folder.path());
    settings["target_modules"] = serde_json::json!(["q_proj", "v_proj", "conv1d"]);
    fs_err::write(folder.path().join("adapter_config.json"), settings.to_string()).unwrap();
    let message = read(&base, folder.path()).unwrap_err().to_string();
    let expected = "its settings target `model.layers.0.self_attn.v_proj`, of which it has no tensors";
    assert!(message.contains(expected), "{message}");
    let missing = PeftAdapter::read(&BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(missing, "the adapter has no `adapter_config.json`");
}

#[test]
fn a_new_adapter_is_drawn_like_pefts_and_changes_nothing() {
    let config = LoraConfig::default();
    let adapter = new(&config).unwrap();
    let module = &adapter.modules()[adapter.index(1, Projection::Down).unwrap()];
    let (a, b) = (&adapter.parameters()[module.a()], &adapter.parameters()[module.b()]);
    assert!(b.iter().all(|number| *number == 0.0));
    let bound = 1.0 / (48.0_f32).sqrt();
    assert!(a.iter().all(|number| number.abs() <= bound));
    let mean_square = |a: &[f32]| a.iter().map(|number| number * number).sum::<f32>() / a.len() as f32;
    assert!((mean_square(a) / (bound * bound / 3.0) - 1.0).abs() < 0.1, "{}", mean_square(a));
    let other = new(&LoraConfig { targets: names(&["down_proj"]), ..config.clone() }).unwrap();
    assert_eq!(&other.parameters()[other.modules()[1].a()], a);
    let normal = new(&LoraConfig { init: Init::Gaussian, ..config }).unwrap();
    let deviation = mean_square(&normal.parameters()[module.a()]).sqrt();
    assert!((deviation * 16.0 - 1.0).abs() < 0.1, "{deviation}");
}

#[test]
fn pissa_starts_from_what_peft_starts_from() {
    let init = Init::Pissa { iterations: 16 };
    let ours = new(&LoraConfig { rank: 4, alpha: 8.0, init, ..LoraConfig::default() }).unwrap();
    let theirs = fixture("variants/pissa/initial");
    for (ours_module, theirs_module) in ours.modules().iter().zip(theirs.modules()) {
        let product = |adapter: &Adapter, module: &Module| {
            let mut rows = vec![vec![0.0; module.inputs]; module.outputs];
            for (row, numbers) in rows.iter_mut().enumerate() {
                adapter.low_rank(module).add_to_row(row, 1.0, numbers);
            }
            rows.concat()
        };
        // Singular vectors are known up to their signs, so the products are compared.
        let (ours, theirs) = (product(&ours, ours_module), product(&theirs, theirs_module));
        let difference: Vec<f32> = ours.iter().zip(&theirs).map(|(a, b)| a - b).collect();
        let relative = length(&difference) / length(&theirs);
        assert!(relative < 1e-3, "{ours_module:?}: {relative}");
    }
}
