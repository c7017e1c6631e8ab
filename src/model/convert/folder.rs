//! A base in a folder as transformers writes it, as a source in GGUF's names and layout.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::path::PathBuf;

use super::general::size_label;
use super::merge::{Heads, Order};
use super::metadata::metadata;
use super::{ConvertError, Source, SourceTensor};
use crate::model::config::{ModelConfig, RopeScaling};
use crate::model::gguf::Value;
use crate::model::weights::{Folder, gguf_name, is_needless};

/// A base that is a folder with safetensors.
#[derive(Debug)]
pub struct FolderSource {
    folder: Folder,
    metadata: Vec<(String, Value)>,
    tensors: Vec<SourceTensor>,
    origins: Vec<Origin>,
}

/// Where the rows of a tensor come from.
#[derive(Debug)]
enum Origin {
    /// A tensor of the folder, its rows in this order.
    Checkpoint { name: String, order: Order },
    /// One row of the folder: its numbers in this order, as a bias has them.
    Bias { name: String, order: Order },
    /// One row of numbers that follow from the configuration.
    Derived(Vec<f32>),
}

impl FolderSource {
    /// Opens a folder by its files: their relative names, and where they are.
    ///
    /// # Errors
    /// A model of an architecture that is not known, or with parts which the GGUF could not express.
    pub fn open(files: &BTreeMap<String, PathBuf>) -> Result<Self, ConvertError> {
        let folder = Folder::open(files)?;
        let config = folder.config()?.checked()?;
        folder.check(&config)?;
        let metadata = metadata(&folder, &config)?;
        let heads = Heads::of(&metadata);
        let mut source = Self { tensors: Vec::new(), origins: Vec::new(), metadata, folder };
        if let Some(factors) = rope_factors(&source.folder, &config)? {
            source.push("rope_freqs.weight".into(), vec![factors.len() as u64], |_| Origin::Derived(factors));
        }
        let tensors: Vec<(String, Vec<usize>)> =
            source.folder.tensors().into_iter().map(|(name, shape)| (name.to_owned(), shape.to_owned())).collect();
        for (name, shape) in tensors {
            if is_needless(&config, &name) {
                continue;
            }
            let target = gguf_name(&name);
            let dimensions = shape.iter().rev().map(|&size| size as u64).collect();
            source.push(target, dimensions, |tensor| match tensor.dimensions.len() {
                1 => Origin::Bias { name, order: heads.order(tensor) },
                _ => Origin::Checkpoint { name, order: heads.order(tensor) },
            });
        }
        let is_general = |(key, _): &&(String, Value)| key.starts_with("general.");
        let place = source.metadata.iter().take_while(is_general).count();
        source.metadata.insert(place, size_label(&source.tensors));
        Ok(source)
    }

    fn push(&mut self, name: String, dimensions: Vec<u64>, origin: impl FnOnce(&SourceTensor) -> Origin) {
        let tensor = SourceTensor { name, dimensions };
        self.origins.push(origin(&tensor));
        self.tensors.push(tensor);
    }
}

impl Source for FolderSource {
    fn metadata(&self) -> Vec<(String, Value)> {
        self.metadata.clone()
    }

    fn tensors(&self) -> &[SourceTensor] {
        &self.tensors
    }

    fn rows(&self, tensor: usize, first_row: u64, numbers: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.tensors[tensor].columns() as usize;
        match &self.origins[tensor] {
            Origin::Derived(row) => numbers.copy_from_slice(row),
            Origin::Bias { name, order } => {
                let mut row = vec![0.0; columns];
                self.folder.numbers(name, 0, &mut row)?;
                for (at, number) in numbers.iter_mut().enumerate() {
                    *number = row[order.original(at)];
                }
            }
            Origin::Checkpoint { name, order: Order::Same } => {
                self.folder.numbers(name, first_row * columns as u64, numbers)?;
            }
            Origin::Checkpoint { name, order } => {
                for (row, numbers) in (first_row as usize..).zip(numbers.chunks_exact_mut(columns.max(1))) {
                    self.folder.numbers(name, (order.original(row) * columns) as u64, numbers)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns by what Llama 3 divides its rotary frequencies: llama.cpp reads that from a tensor of its own.
fn rope_factors(folder: &Folder, config: &ModelConfig) -> Result<Option<Vec<f32>>, ConvertError> {
    let (base, scaling) = folder.rope()?;
    let RopeScaling::Llama3 { factor, low, high, original_context } = scaling else { return Ok(None) };
    let (longest, shortest) = ((original_context / low) as f32, (original_context / high) as f32);
    // In 32 bits and in the steps of the reference converter, whose PyTorch divides a number by a tensor as the number times
    // the tensor's reciprocal: so the last bits are the same, too.
    let factors = (0..config.head_dim / 2).map(|pair| {
        let exponent = (2 * pair) as f32 / config.head_dim as f32;
        let frequency = 1.0 / base.powf(f64::from(exponent)) as f32;
        let wavelength = 1.0 / frequency * TAU as f32;
        if wavelength < shortest {
            return 1.0;
        }
        if wavelength > longest {
            return factor as f32;
        }
        let smooth = (1.0 / wavelength * original_context as f32 - low as f32) / (high - low) as f32;
        1.0 / ((1.0 - smooth) / factor as f32 + smooth)
    });
    Ok(Some(factors.collect()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::convert::{Merge, Merged, merge};
    use crate::model::gguf::{FileType, Header};

    /// The files of the tiny model that the tests train.
    fn files() -> BTreeMap<String, PathBuf> {
        let folder = Path::new("tests/fixtures/tiny-llama");
        let names =
            ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
        names.map(|name| (name.to_owned(), folder.join(name))).into()
    }

    fn convert(files: &BTreeMap<String, PathBuf>, output: &Path) -> Result<Merged, ConvertError> {
        let how =
            &mut Merge { adapter: None, float: FileType::F16, threads: 1, earlier: None, progress: &mut |_, _| true };
        merge(&FolderSource::open(files)?, output, how)
    }

    /// A copy of the tiny model with one of its JSON files edited.
    fn edited(folder: &Path, name: &str, edit: impl Fn(&str) -> String) -> BTreeMap<String, PathBuf> {
        let mut files = files();
        let text = fs_err::read_to_string(&files[name]).unwrap();
        assert_ne!(edit(&text), text);
        fs_err::write(folder.join(name), edit(&text)).unwrap();
        files.insert(name.into(), folder.join(name));
        files
    }

    #[test]
    fn tensors_and_metadata_are_those_of_the_reference_converter() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("ours.gguf");
        convert(&files(), &output).unwrap();
        let [ours, reference] = [&output, Path::new("tests/fixtures/tiny-llama/reference.gguf")].map(|path| {
            let header = Header::read(path).unwrap();
            let bytes = fs_err::read(path).unwrap();
            let tensors: Vec<_> = header
                .tensors
                .iter()
                .map(|tensor| {
                    let start = (header.data_offset + tensor.offset) as usize;
                    let bytes = bytes[start..start + tensor.size as usize].to_vec();
                    (tensor.name.clone(), tensor.dimensions.clone(), tensor.tensor_type, bytes)
                })
                .collect();
            // The reference takes the folder's.
            let metadata: BTreeMap<String, Value> =
                header.metadata.into_iter().filter(|(key, _)| key != "general.name").collect();
            (tensors, metadata)
        });
        assert_eq!(ours.1, reference.1);
        assert_eq!(ours.0, reference.0);
    }

    #[test]
    fn a_tokenizer_that_llama_cpp_could_not_be_told_of_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |edit: &dyn Fn(&str) -> String| {
            let files = edited(folder.path(), "tokenizer.json", edit);
            let output = folder.path().join("out.gguf");
            let error = convert(&files, &output).unwrap_err();
            assert!(!output.exists());
            error.to_string()
        };
        let other_split = |text: &str| text.replace(r#""individual_digits": true"#, r#""individual_digits": false"#);
        assert!(refused(&other_split).contains("splits text in a way that has no name"));
        let sentence_piece = |text: &str| text.replace(r#""byte_fallback": false"#, r#""byte_fallback": true"#);
        assert!(refused(&sentence_piece).contains("a SentencePiece tokenizer"));
    }

    #[test]
    fn rotary_factors_are_the_reference_converters_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let files = edited(folder.path(), "config.json", |text| {
            let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
            json["rope_parameters"]["rope_theta"] = 500_000.0.into();
            json["rope_parameters"]["original_max_position_embeddings"] = 8192.into();
            json["head_dim"] = 64.into();
            json.to_string()
        });
        let files = Folder::open(&files).unwrap();
        let factors = rope_factors(&files, &files.config().unwrap()).unwrap().unwrap();
        // convert_hf_to_gguf.py on a model with Llama 3.2's heads, PyTorch 2.15.
        let ramp = [0x3fc6_d64a, 0x402c_732e, 0x40a8_3c06];
        let expected = [vec![1.0_f32.to_bits(); 15], ramp.to_vec(), vec![8.0_f32.to_bits(); 14]].concat();
        assert_eq!(factors.into_iter().map(f32::to_bits).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_leading_token_is_told_where_the_tokenizer_or_its_settings_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let adds_bos = |files: &BTreeMap<String, PathBuf>| {
            let metadata = FolderSource::open(files).unwrap().metadata();
            metadata.into_iter().find(|(key, _)| key == "tokenizer.ggml.add_bos_token").map(|(_, value)| value)
        };
        assert_eq!(adds_bos(&files()), None);
        let leading = edited(folder.path(), "tokenizer.json", |text| {
            let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
            let token = serde_json::json!({"SpecialToken": {"id": "<|im_start|>", "type_id": 0}});
            json["post_processor"]["single"].as_array_mut().unwrap().insert(0, token);
            json["post_processor"]["special_tokens"] =
                serde_json::json!({"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}});
            json.to_string()
        });
        assert_eq!(adds_bos(&leading), Some(Value::Bool(true)));
        // Llama 3.1 begins both texts of a pair, and the reference says that no separator is added.
        let separator = |between: &str| {
            let files = edited(folder.path(), "tokenizer.json", |text| {
                let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
                let special = |id: &str| serde_json::json!({"SpecialToken": {"id": id, "type_id": 0}});
                let [a, b] = ["A", "B"].map(|id| serde_json::json!({"Sequence": {"id": id, "type_id": 0}}));
                let begin = special("<|im_start|>");
                json["post_processor"]["single"] = serde_json::json!([begin, a]);
                json["post_processor"]["pair"] = serde_json::json!([begin, a, special(between), b]);
                json["post_processor"]["special_tokens"] = ["<|im_start|>", "<|im_end|>"]
                    .map(|id| (id.to_owned(), serde_json::json!({"id": id, "ids": [1], "tokens": [id]})))
                    .into_iter()
                    .collect::<serde_json::Map<_, _>>()
                    .into();
                json.to_string()
            });
            let metadata = FolderSource::open(&files).unwrap().metadata();
            metadata.into_iter().find(|(key, _)| key == "tokenizer.ggml.add_sep_token").map(|(_, value)| value)
        };
        assert_eq!(separator("<|im_start|>"), Some(Value::Bool(false)));
        assert_eq!(separator("<|im_end|>"), Some(Value::Bool(true)));
        let settings =
            edited(folder.path(), "tokenizer_config.json", |text| text.replacen('{', r#"{"add_bos_token": false,"#, 1));
        assert_eq!(adds_bos(&settings), Some(Value::Bool(false)));
    }
}
