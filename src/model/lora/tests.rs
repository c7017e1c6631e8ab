use std::path::Path;

use super::super::weights::tests::tiny_base;
use super::*;

/// Reads the adapter of `tests/fixtures/tiny-llama`.
fn fixture() -> Adapter {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama/adapter");
    let base = tiny_base();
    Adapter::from_peft(base.config(), &folder.join("adapter_config.json"), &folder.join("adapter_model.safetensors"))
        .unwrap()
}

#[test]
fn an_adapter_survives_being_written_and_read_in_pefts_form() {
    let adapter = fixture();
    assert_eq!((adapter.rank(), adapter.modules().len()), (4, 14));
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in adapter.to_peft(0.0).unwrap() {
        fs_err::write(folder.path().join(name), bytes).unwrap();
    }
    let config = folder.path().join("adapter_config.json");
    let read = Adapter::from_peft(tiny_base().config(), &config, &folder.path().join("adapter_model.safetensors"));
    assert_eq!(read.unwrap(), adapter);
}

#[test]
fn an_adapter_of_another_model_is_refused_with_the_tensor() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama/adapter");
    let mut config = tiny_base().config().clone();
    config.intermediate = 64;
    let error =
        Adapter::from_peft(&config, &folder.join("adapter_config.json"), &folder.join("adapter_model.safetensors"));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("layers.0.mlp.gate_proj.lora_B"), "{message}");
}

#[test]
fn a_new_adapter_is_drawn_like_pefts_and_changes_nothing() {
    let base = tiny_base();
    let adapter = Adapter::new(base.config(), &Projection::ALL, 16, 32.0, 1);
    let module = adapter.module(1, Projection::Down).unwrap();
    let (a, b) = (&adapter.parameters()[module.a()], &adapter.parameters()[module.b()]);
    assert!(b.iter().all(|number| *number == 0.0));
    let bound = 1.0 / (48.0_f32).sqrt();
    assert!(a.iter().all(|number| number.abs() <= bound));
    let mean_square: f32 = a.iter().map(|number| number * number).sum::<f32>() / a.len() as f32;
    assert!((mean_square / (bound * bound / 3.0) - 1.0).abs() < 0.1, "{mean_square}");
    let other = Adapter::new(base.config(), &[Projection::Down], 16, 32.0, 1);
    assert_eq!(&other.parameters()[other.module(1, Projection::Down).unwrap().a()], a);
}
