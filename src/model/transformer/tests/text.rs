//! A growing text held against the whole one.

use super::super::super::gguf::TensorType;
use super::super::super::gguf::tiny::Variant;
use super::super::super::weights::WeightFiles;
use super::adapters::{kinds, new_adapter};
use super::portable::stirred;
use super::*;

/// Grows a text from some tokens to so many, and checks that each time the logits have the bits of the whole text's.
#[track_caller]
fn check(model: &Transformer, adapter: Option<&Adapter>, (from, to): (usize, usize), what: &str) {
    let ids: Vec<u32> = (0..to as u32).map(|at| 3 + at * 37 % 250).collect();
    let bits = |logits: &[f32]| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
    let whole = TokenRow { trained: vec![false; ids.len()], ids: ids.clone() };
    let expected = model.logits(adapter, &Batch::new([(0, &whole)])).unwrap();
    let mut text = model.text(adapter, &ids[..from]);
    for (length, id) in (from..=to).zip(ids[from..].iter().map(Some).chain([None])) {
        let found = text.logits().unwrap();
        assert!(bits(&found) == bits(&expected[length - 1]), "{what}: token {length} from {from} on");
        if let Some(id) = id {
            text.push(*id);
        }
    }
}

#[test]
fn a_growing_text_has_the_bits_of_the_whole_for_each_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (name, variant) in Variant::ALL {
        variant.write(&path, 3, TensorType::F32).unwrap();
        let base = Base::open(&WeightFiles::Gguf(path.clone())).unwrap();
        check(&Transformer::load(&base, Storage::Dense, |_| ()).unwrap(), None, (3, 50), name);
    }
}

#[test]
fn a_growing_text_has_the_bits_of_the_whole_with_each_kind_of_adapter() {
    let tiny = tiny();
    for config in kinds() {
        let adapter = stirred(new_adapter(&tiny, &config));
        for from in [1, 15, 16, 17, 33] {
            check(&tiny.model, Some(&adapter), (from, 40), &format!("{config:?}"));
        }
    }
}

#[test]
fn a_text_of_nothing_is_followed_by_nothing_and_an_unknown_token_is_refused() {
    let tiny = tiny();
    let mut text = tiny.model.text(None, &[]);
    assert!(text.logits().unwrap().is_empty());
    text.push(1 << 20);
    let error = text.logits().unwrap_err();
    assert!(matches!(error, ModelError::Adapter { .. }), "{error}");
}
