use std::path::Path;

use super::*;

/// Returns the random model of `tests/fixtures/tiny-llama`.
pub(in crate::model) fn tiny_base() -> Base {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let files = names.iter().map(|name| ((*name).to_owned(), folder.join(name))).collect();
    Base::open(&WeightFiles::Folder(files)).unwrap()
}

#[test]
fn the_folder_of_transformers_5_opens_with_its_rope_parameters() {
    let base = tiny_base();
    let config = base.config();
    assert_eq!((config.hidden, config.heads, config.kv_heads, config.head_dim), (32, 4, 2, 8));
    assert!(config.tied);
    // The lowest frequency, 10000^(-6/8), is divided by Llama 3's factor of 8.
    assert!((config.rope_frequencies[3] - 0.001 / 8.0).abs() < 1e-12);
    assert_eq!(base.vector("model.norm.weight", 32).unwrap().len(), 32);
}

#[test]
fn a_tensor_of_another_shape_is_refused_with_both_shapes() {
    let error = tiny_base().vector("model.norm.weight", 31).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor `model.norm.weight` has the shape [32], the model's hyperparameters say [31]"
    );
}

#[test]
fn a_header_that_points_out_of_its_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0; 4]);
    fs_err::write(&path, &bytes).unwrap();
    let files = WeightFiles::Folder([("model.safetensors".to_owned(), path)].into());
    let error = Base::open(&files).unwrap_err();
    assert!(matches!(error, ModelError::Damaged { ref what, .. } if what.contains("`a`")), "{error}");
}

#[test]
fn a_quantised_matrix_gives_the_same_numbers_by_tiles_and_at_once() {
    use candle_core::quantized::{GgmlDType, QTensor};
    let numbers: Vec<f32> = (0..300 * 32).map(|index| (index % 97) as f32 / 7.0 - 5.0).collect();
    let tensor = candle_core::Tensor::from_vec(numbers, (300, 32), &candle_core::Device::Cpu).unwrap();
    let quantised = QTensor::quantize(&tensor, GgmlDType::Q4_1).unwrap();
    let bytes = quantised.data().unwrap();
    let matrix = |storage| Matrix::from_bytes([300, 32], GgmlDType::Q4_1, &bytes, storage).unwrap();
    let (dense, stored) = (matrix(Storage::Dense), matrix(Storage::AsStored));
    assert_eq!(stored.tiles().count(), 2);
    assert_eq!(dense.row(299), stored.row(299));
    assert_eq!(dense.into_dense(), stored.into_dense());
}
