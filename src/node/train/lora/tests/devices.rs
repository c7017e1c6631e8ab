//! Where a training computes.

use super::*;
use crate::model::Device;
use crate::model::transformer::{Backend, Portable};
use crate::node::Grant;

/// Gives `go` a run of ten rows on a device.
fn on<T>(bench: &Bench, settings: &Value, device: Device, go: impl FnOnce(&Run<'_>) -> T) -> T {
    let grant = Grant { threads: 2, memory: None, device };
    both::with_grant(bench, (&LORA, settings), ten_rows(bench), grant, go)
}

#[test]
fn a_training_in_portable_operations_loses_what_the_fused_one_loses() {
    let settings = settings(&json!({"dropout": 0.1, "neftune-alpha": 5.0, "label-smoothing": 0.1, "dora": true}));
    let fused = Bench::new();
    let expected = trained(&fused, &settings);
    let bench = Bench::new();
    let portable = on(&bench, &settings, Device::Cpu, |run| {
        session::train_with(run, Method::Lora, |model| {
            Ok(Backend::Portable(Box::new(Portable::new(model, Device::Cpu)?)))
        })
    });
    let found = portable.unwrap();
    assert_ne!(found.outputs["adapter"], expected.0["adapter"], "the same path was taken twice");
    assert_alike(&metrics(&bench, &found.outputs), &metrics(&fused, &expected.0), 1e-4);
}

#[cfg(feature = "cuda")]
#[test]
fn a_training_on_the_gpu_loses_nearly_what_one_on_the_cpu_loses() {
    let settings = settings(&json!({"dropout": 0.1, "neftune-alpha": 5.0, "label-smoothing": 0.1}));
    let fused = Bench::new();
    let expected = trained(&fused, &settings);
    let bench = Bench::new();
    let found = on(&bench, &settings, Device::Cuda(0), |run| LORA.run(run)).unwrap();
    assert_ne!(found.outputs["adapter"], expected.0["adapter"], "the same path was taken twice");
    assert_alike(&metrics(&bench, &found.outputs), &metrics(&fused, &expected.0), 5e-2);
}

/// Checks two trainings' steps, whose losses and gradients may differ by as much, relatively.
#[track_caller]
fn assert_alike(found: &[Value], expected: &[Value], error: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        for name in ["loss", "grad-norm"] {
            let [found, expected] = [found, expected].map(|line| line[name].as_f64().unwrap());
            assert!((found / expected - 1.0).abs() < error, "{name}: {found} is not {expected}");
        }
        for name in ["step", "learning-rate", "trained-tokens"] {
            assert_eq!(found[name], expected[name]);
        }
    }
}

#[test]
fn a_device_that_cannot_be_used_is_refused_before_anything_is_read() {
    let bench = Bench::new();
    let settings = settings(&json!({}));
    // No machine has so many.
    let device = Device::Cuda(4095);
    let error = on(&bench, &settings, device, |run| LORA.run(run)).unwrap_err();
    if cfg!(feature = "cuda") {
        assert_eq!(error.code.as_deref(), Some("model::device"), "{error:?}");
    } else {
        assert_eq!(error.code.as_deref(), Some("model::no_cuda"), "{error:?}");
        assert_eq!(error.message, "`device` is `cuda:4095`, and this tunesmith was built without the feature `cuda`");
        assert!(error.help.as_ref().is_some_and(|help| help.contains("--features cuda")), "{error:?}");
    }
    assert!(bench.events.progress().is_empty());
    assert_eq!(on(&bench, &settings, device, |run| LORA.cost(run)).unwrap_err(), error);
}
