//! What a GGUF says of a model as a whole: how its publisher samples, and how large it is.
//!
//! The reference converter writes more of it: a name, and what it takes for a version, a finetune or a base name, from the
//! folder's name, `_name_or_path` or a model card (`gguf-py/gguf/metadata.py`). A folder's name is no part of the model:
//! the same files give the same bytes wherever they lie.

use serde::Deserialize;

use super::metadata::text;
use super::{ConvertError, SourceTensor};
use crate::model::ModelError;
use crate::model::gguf::Value;
use crate::model::weights::Folder;

/// The file of a model's folder that says how text is generated.
const GENERATION: &str = "generation_config.json";

/// How the publisher samples: what is read of `generation_config.json`.
#[derive(Deserialize)]
struct GenerationJson {
    sequence: Option<String>,
    top_k: Option<i32>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    xtc_probability: Option<f64>,
    xtc_threshold: Option<f64>,
    temperature: Option<f64>,
    penalty_last_n: Option<i32>,
    penalty_repeat: Option<f64>,
    /// What transformers calls the same.
    repetition_penalty: Option<f64>,
    mirostat: Option<i32>,
    mirostat_tau: Option<f64>,
    mirostat_eta: Option<f64>,
}

/// Returns how the publisher samples, which llama.cpp's programs then do unless they are told otherwise.
pub(super) fn sampling(folder: &Folder) -> Result<Vec<(String, Value)>, ConvertError> {
    if !folder.has(GENERATION) {
        return Ok(Vec::new());
    }
    let json: GenerationJson = match folder.json(GENERATION) {
        Ok(json) => json,
        // Some models ship one that is no JSON; transformers and the reference go on without it.
        Err(ModelError::Json { cause, .. }) if cause.is_syntax() || cause.is_eof() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let float = |number: Option<f64>| number.map(|number| Value::F32(number as f32));
    let integer = |number: Option<i32>| number.map(Value::I32);
    let values = [
        ("sequence", json.sequence.map(Value::String)),
        ("top_k", integer(json.top_k)),
        ("top_p", float(json.top_p)),
        ("min_p", float(json.min_p)),
        ("xtc_probability", float(json.xtc_probability)),
        ("xtc_threshold", float(json.xtc_threshold)),
        ("temp", float(json.temperature)),
        ("penalty_last_n", integer(json.penalty_last_n)),
        ("penalty_repeat", float(json.penalty_repeat.or(json.repetition_penalty))),
        ("mirostat", integer(json.mirostat)),
        ("mirostat_tau", float(json.mirostat_tau)),
        ("mirostat_eta", float(json.mirostat_eta)),
    ];
    let named = |(end, value): (&str, Option<Value>)| Some((format!("general.sampling.{end}"), value?));
    Ok(values.into_iter().filter_map(named).collect())
}

/// Returns the numbers of all tensors as people write them, such as `1.2B`.
pub(super) fn size_label(tensors: &[SourceTensor]) -> (String, Value) {
    let count = tensors.iter().map(|tensor| tensor.rows() * tensor.columns()).sum::<u64>() as f64;
    let units = [(1e12, 1e-12, "T"), (1e9, 1e-9, "B"), (1e6, 1e-6, "M")];
    let (factor, unit) =
        units.into_iter().find(|(from, ..)| count > *from).map_or((1e-3, "K"), |(_, factor, unit)| (factor, unit));
    let scaled = count * factor;
    // Two digits at least.
    let places = match scaled.round_ties_even() {
        0.0 => 2,
        whole if whole < 10.0 => 1,
        _ => 0,
    };
    text("general.size_label", &format!("{scaled:.places$}{unit}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sampled(json: &str) -> Result<Vec<(String, Value)>, ConvertError> {
        let space = tempfile::tempdir().unwrap();
        let path = space.path().join(GENERATION);
        fs_err::write(&path, json).unwrap();
        let weights = "tests/fixtures/tiny-llama/model.safetensors".into();
        sampling(&Folder::open(&BTreeMap::from([
            (GENERATION.to_owned(), path),
            ("model.safetensors".to_owned(), weights),
        ]))?)
    }

    #[test]
    fn the_publishers_sampling_is_told_with_the_types_of_the_reference() {
        let llama = r#"{"eos_token_id": [128001], "do_sample": true, "temperature": 0.6, "top_p": 0.9, "min_p": null}"#;
        let expected = [("general.sampling.top_p", 0.9_f32), ("general.sampling.temp", 0.6)];
        assert_eq!(sampled(llama).unwrap(), expected.map(|(key, number)| (key.to_owned(), Value::F32(number))));
        let qwen = sampled(r#"{"repetition_penalty": 1.1, "temperature": 1, "top_k": 20}"#).unwrap();
        let expected = [("top_k", Value::I32(20)), ("temp", Value::F32(1.0)), ("penalty_repeat", Value::F32(1.1))];
        assert_eq!(qwen, expected.map(|(end, value)| (format!("general.sampling.{end}"), value)));
        assert_eq!(sampled("{").unwrap(), []);
        assert!(sampled(r#"{"top_k": "many"}"#).unwrap_err().to_string().contains(GENERATION));
    }

    #[test]
    fn sizes_are_written_as_the_reference_writes_them() {
        let label = |count: u64| {
            let tensor = SourceTensor { name: "a".into(), dimensions: vec![count] };
            size_label(&[tensor]).1
        };
        // model_weight_count_rounded_notation of gguf-py/gguf/utility.py.
        for (count, expected) in [
            (1_235_814_432, "1.2B"),
            (8_030_261_312, "8.0B"),
            (70_553_706_560, "71B"),
            (134_515_008, "135M"),
            (9_600_000, "10M"),
            (7_200_000, "7.2M"),
            (1_000_000, "1000K"),
            (400, "0.40K"),
            (1_200_000_000_000, "1.2T"),
        ] {
            assert_eq!(label(count), Value::String(expected.into()));
        }
    }
}
