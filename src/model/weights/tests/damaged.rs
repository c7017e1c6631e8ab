//! What is wrong with weights is said before anything is computed with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};

use super::super::{Base, Storage, WeightFiles};
use super::{fixture, tiny_base};
use crate::model::transformer::Transformer;

/// Tensors of the random model in 32 bits, by their names in transformers.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn tensors() -> Tensors {
    let header = crate::model::safetensors::read_header(&fixture("model.safetensors")).unwrap();
    let base = tiny_base();
    let numbers = |name: &str, shape: &[usize]| match *shape {
        [rows, columns] => base.matrix(name, rows, columns, Storage::Dense).unwrap().into_dense(),
        _ => base.vector(name, shape[0]).unwrap(),
    };
    header.into_iter().map(|(name, info)| (name.clone(), (info.shape.clone(), numbers(&name, &info.shape)))).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, numbers))| (name, shape, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views =
        bytes.iter().map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap()));
    fs_err::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A folder whose weights are these files; the rest is the random model's.
fn folder(files: &[(&str, &Path)]) -> WeightFiles {
    let rest = ["config.json", "tokenizer.json", "tokenizer_config.json"];
    let mut all: BTreeMap<String, PathBuf> = rest.iter().map(|name| ((*name).to_owned(), fixture(name))).collect();
    all.extend(files.iter().map(|(name, path)| ((*name).to_owned(), path.to_path_buf())));
    WeightFiles::Folder(all)
}

/// Loads the random model with its tensors edited, and returns what is said about it.
fn said(edit: impl FnOnce(&mut Tensors)) -> Result<(), String> {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("model.safetensors");
    let mut tensors = tensors();
    edit(&mut tensors);
    write(&path, &tensors);
    let base = Base::open(&folder(&[("model.safetensors", &path)]));
    let loaded = base.and_then(|base| Transformer::load(&base, Storage::Dense, |_| ()));
    loaded.map(|_| ()).map_err(|error| error.to_string().replace(&path.display().to_string(), "MODEL"))
}

#[test]
fn missing_misshapen_and_surplus_tensors_are_named() {
    said(|_| ()).unwrap();
    assert_eq!(
        said(|tensors| drop(tensors.remove("model.layers.1.mlp.up_proj.weight"))).unwrap_err(),
        "the base model has no tensor `model.layers.1.mlp.up_proj.weight`"
    );
    let reshape = |tensors: &mut Tensors| {
        let (shape, _) = tensors.get_mut("model.layers.0.self_attn.k_proj.weight").unwrap();
        *shape = vec![32, 16];
    };
    assert_eq!(
        said(reshape).unwrap_err(),
        "tensor `model.layers.0.self_attn.k_proj.weight` has the shape [32, 16], the model's hyperparameters say [16, 32]"
    );
    let surplus = |tensors: &mut Tensors| {
        for name in ["a", "b", "c", "d"] {
            tensors.insert(format!("model.layers.0.self_attn.{name}_proj.bias"), (vec![1], vec![0.0]));
        }
    };
    assert_eq!(
        said(surplus).unwrap_err(),
        "the base model has tensors that the architecture `llama` does not have: `model.layers.0.self_attn.a_proj.bias`, \
         `model.layers.0.self_attn.b_proj.bias`, `model.layers.0.self_attn.c_proj.bias` and 1 more"
    );
}

#[test]
fn what_follows_from_the_configuration_may_be_there() {
    said(|tensors| {
        for layer in 0..2 {
            let name = format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq");
            tensors.insert(name, (vec![4], vec![1.0; 4]));
        }
        let table = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".into(), table);
    })
    .unwrap();
}

#[test]
fn a_model_that_says_it_has_a_head_of_its_own_must_have_it() {
    let space = tempfile::tempdir().unwrap();
    let config = fs_err::read_to_string(fixture("config.json")).unwrap();
    let path = space.path().join("config.json");
    for (value, is_whole) in [("true", true), ("null", true), ("false", false)] {
        let edited = config.replace("\"tie_word_embeddings\": true", &format!("\"tie_word_embeddings\": {value}"));
        fs_err::write(&path, edited).unwrap();
        let files = [("config.json", path.as_path()), ("model.safetensors", &fixture("model.safetensors"))];
        let opened = Base::open(&folder(&files)).map(|_| ()).map_err(|error| error.to_string());
        let missing = Err("the base model has no tensor `lm_head.weight`".to_owned());
        assert_eq!(opened, if is_whole { Ok(()) } else { missing }, "{value}");
    }
}

#[test]
fn hyperparameters_that_make_no_number_are_refused() {
    let space = tempfile::tempdir().unwrap();
    let config = fs_err::read_to_string(fixture("config.json")).unwrap();
    let path = space.path().join("config.json");
    let said = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        edit(&mut config);
        fs_err::write(&path, config.to_string()).unwrap();
        let files = [("config.json", path.as_path()), ("model.safetensors", &fixture("model.safetensors"))];
        Base::open(&folder(&files)).map(|_| ()).map_err(|error| error.to_string())
    };
    said(&|_| ()).unwrap();
    for theta in [0.0, -10_000.0] {
        let error = said(&|config| config["rope_parameters"]["rope_theta"] = theta.into()).unwrap_err();
        assert!(error.contains("its base or its scaling is no number above 0"), "{theta}: {error}");
    }
    let error = said(&|config| config["rope_parameters"]["factor"] = 0.0.into()).unwrap_err();
    assert!(error.contains("`rope_scaling.factor`"), "{error}");
    let error = said(&|config| config["rms_norm_eps"] = (-1.0).into()).unwrap_err();
    assert!(error.contains("a norm's epsilon of -1"), "{error}");
}

#[test]
fn weights_of_sixteen_bits_are_the_numbers_that_they_hold() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("model.safetensors");
    let plain = tensors();
    for dtype in [Dtype::F16, Dtype::BF16] {
        let bytes = |number: f32| match dtype {
            Dtype::F16 => half::f16::from_f32(number).to_le_bytes(),
            _ => half::bf16::from_f32(number).to_le_bytes(),
        };
        let rounded = |number: f32| match dtype {
            Dtype::F16 => half::f16::from_f32(number).to_f32(),
            _ => half::bf16::from_f32(number).to_f32(),
        };
        let stored: Vec<(&String, Vec<usize>, Vec<u8>)> = plain
            .iter()
            .map(|(name, (shape, numbers))| (name, shape.clone(), numbers.iter().flat_map(|x| bytes(*x)).collect()))
            .collect();
        let views =
            stored.iter().map(|(name, shape, bytes)| (*name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
        fs_err::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let base = Base::open(&folder(&[("model.safetensors", &path)])).unwrap();
        for (name, (shape, numbers)) in &plain {
            let expected: Vec<f32> = numbers.iter().map(|number| rounded(*number)).collect();
            let found = match shape[..] {
                [rows, columns] => [Storage::Dense, Storage::AsStored]
                    .map(|storage| base.matrix(name, rows, columns, storage).unwrap().into_dense()),
                _ => [base.vector(name, shape[0]).unwrap(), expected.clone()],
            };
            assert!(found.iter().all(|found| *found == expected), "{name} in {dtype:?}");
        }
    }
}

#[test]
fn a_weight_that_is_no_number_is_found_while_the_model_is_read() {
    for bad in [f32::NAN, f32::INFINITY] {
        let spoil = |tensors: &mut Tensors| tensors.get_mut("model.norm.weight").unwrap().1[7] = bad;
        let error = said(spoil).unwrap_err();
        assert_eq!(error, "tensor `model.norm.weight` of `MODEL` has a number that is infinite or none");
    }
}

#[test]
fn shards_are_read_by_their_index_and_must_all_be_there() {
    let space = tempfile::tempdir().unwrap();
    let [one, two, other, index] =
        ["one.safetensors", "two.safetensors", "consolidated.safetensors", "model.safetensors.index.json"]
            .map(|name| space.path().join(name));
    let mut first = tensors();
    let second = first.split_off("model.layers.1");
    write(&one, &first);
    write(&two, &second);
    // Mistral's publishers lay the same weights beside it under their own names.
    write(&other, &[("tok_embeddings.weight".to_owned(), (vec![1], vec![0.0]))].into());
    let map = first.keys().map(|name| (name, "one.safetensors"));
    let map: BTreeMap<_, _> = map.chain(second.keys().map(|name| (name, "two.safetensors"))).collect();
    fs_err::write(&index, serde_json::json!({ "metadata": {}, "weight_map": map }).to_string()).unwrap();
    let named = ("model.safetensors.index.json", index.as_path());
    let files = [("one.safetensors", one.as_path()), ("two.safetensors", &two), ("consolidated.safetensors", &other)];
    let base = Base::open(&folder(&[&files[..], &[named]].concat())).unwrap();
    assert_eq!(base.vector("model.norm.weight", 32).unwrap(), second["model.norm.weight"].1);
    let error = Base::open(&folder(&[files[0], named])).unwrap_err();
    assert_eq!(error.to_string(), "the model's index names `two.safetensors`, which its folder does not have");
    let error = Base::open(&folder(&files)).unwrap_err();
    assert!(error.to_string().contains("`tok_embeddings.weight`"), "without an index all files count: {error}");
    let error = Base::open(&folder(&[files[0], ("again.safetensors", &one)])).unwrap_err();
    assert!(error.to_string().contains("in `again.safetensors` and in `one.safetensors`"), "{error}");
    let whole = fs_err::read(&two).unwrap();
    fs_err::write(&two, &whole[..whole.len() - 1]).unwrap();
    let error = Base::open(&folder(&[&files[..], &[named]].concat())).unwrap_err();
    assert!(error.to_string().contains("is no whole safetensors file: tensor `model.norm.weight` claims"), "{error}");
}
