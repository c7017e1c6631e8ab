//! A base model in a folder as transformers writes it: `config.json`, `tokenizer.json`, `*.safetensors`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::config::{ModelConfig, RopeScaling};
use super::super::floats;
use super::super::safetensors::{SafetensorsError, TensorInfo, read_header};
use super::super::template::ChatTemplate;
use super::super::tokenizer::Tokenizer;
use super::super::{ModelError, Result};
use super::config_json::ConfigJson;
use super::matrix::{Matrix, Storage};
use super::{check_shape, finite, inventory};

/// The weights of a model in one file.
const ONE_FILE: &str = "model.safetensors";
/// What names the files of a model whose weights are in several.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Returns whether a file of a model's folder, by its name, has weights or says where they are.
pub fn are_weights(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")
}

/// An open folder.
#[derive(Debug)]
pub(in super::super) struct Folder {
    files: BTreeMap<String, PathBuf>,
    tensors: BTreeMap<String, TensorPlace>,
}

/// Where one tensor is.
#[derive(Debug)]
struct TensorPlace {
    /// The file's name in the folder.
    file: String,
    path: PathBuf,
    open: Arc<std::fs::File>,
    info: TensorInfo,
}

/// Which file has which tensor.
#[derive(Deserialize)]
struct IndexJson {
    weight_map: BTreeMap<String, String>,
}

impl Folder {
    /// Reads the headers of the safetensors files: the one file, or those that the index names, or all.
    pub(in super::super) fn open(files: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let mut folder = Self { files: files.clone(), tensors: BTreeMap::new() };
        for name in folder.weight_files()? {
            let path = files.get(&name).ok_or_else(|| ModelError::MissingShard { name: name.clone() })?;
            let open = Arc::new(fs_err::File::open(path)?.into_parts().0);
            for (tensor, info) in read_header(path)? {
                let place = TensorPlace { file: name.clone(), path: path.clone(), open: Arc::clone(&open), info };
                if let Some(other) = folder.tensors.insert(tensor.clone(), place) {
                    return Err(ModelError::TensorTwice { name: tensor, files: [other.file, name] });
                }
            }
        }
        if folder.tensors.is_empty() {
            return Err(ModelError::MissingFile { name: ONE_FILE });
        }
        Ok(folder)
    }

    /// Returns the files that have the weights, in the order that transformers has: publishers lay the same weights in
    /// other forms beside them.
    fn weight_files(&self) -> Result<BTreeSet<String>> {
        if self.files.contains_key(ONE_FILE) {
            return Ok([ONE_FILE.to_owned()].into());
        }
        if self.files.contains_key(INDEX) {
            let index: IndexJson = self.json(INDEX)?;
            return Ok(index.weight_map.into_values().collect());
        }
        let is_weights = |name: &&String| Path::new(name).extension().is_some_and(|end| end == "safetensors");
        Ok(self.files.keys().filter(is_weights).cloned().collect())
    }

    /// Reads `config.json`.
    pub(in super::super) fn config(&self) -> Result<ModelConfig> {
        let architecture = ConfigJson::architecture(&self.json("config.json")?)?;
        let json: ConfigJson = self.json("config.json")?;
        json.config(architecture, self.tensors.contains_key("lm_head.weight"))
    }

    /// Refuses tensors that do not fit the hyperparameters.
    pub(in super::super) fn check(&self, config: &ModelConfig) -> Result<()> {
        let found = self.tensors.iter().map(|(name, place)| (name.clone(), place.info.shape.as_slice()));
        inventory::check(config, found.collect(), str::to_owned)
    }

    /// Returns the base of the rotary embedding's frequencies, and their scaling.
    pub(in super::super) fn rope(&self) -> Result<(f64, RopeScaling)> {
        self.json::<ConfigJson>("config.json")?.rope()
    }

    /// Reads `tokenizer.json`.
    pub(in super::super) fn tokenizer(&self) -> Result<Tokenizer> {
        let (_, text) = self.text("tokenizer.json")?;
        Tokenizer::from_json(&text)
    }

    /// Returns whether the folder has a file of this name.
    pub(in super::super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Returns SentencePiece's own file, where the folder has one.
    pub(in super::super) fn sentence_piece(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.files.get("tokenizer.model").map(fs_err::read).transpose()?)
    }

    /// Reads the template from `chat_template.jinja` or from `tokenizer_config.json`.
    pub(super) fn template(&self) -> Result<ChatTemplate> {
        let source = self.template_source()?;
        ChatTemplate::new(&source, self.special_token("bos_token")?, self.special_token("eos_token")?)
    }

    /// Returns the template as it is written.
    pub(in super::super) fn template_source(&self) -> Result<String> {
        if let Ok((_, source)) = self.text("chat_template.jinja") {
            return Ok(source);
        }
        template_source(&self.json("tokenizer_config.json")?).map(str::to_owned).ok_or(ModelError::NoTemplate)
    }

    /// Returns a special token of `tokenizer_config.json`, such as `eos_token`: a text, or an object with `content`.
    pub(in super::super) fn special_token(&self, key: &str) -> Result<Option<String>> {
        let config: Value = self.json("tokenizer_config.json")?;
        let Some(value) = config.get(key) else { return Ok(None) };
        Ok(value.as_str().or_else(|| value.get("content").and_then(Value::as_str)).map(str::to_owned))
    }

    /// Reads a JSON file of the folder.
    pub(in super::super) fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        let (path, text) = self.text(name)?;
        serde_json::from_str(&text).map_err(|cause| ModelError::Json { path, cause })
    }

    /// Returns names and shapes of the tensors in the order in which they lie in the files.
    pub(in super::super) fn tensors(&self) -> Vec<(&str, &[usize])> {
        let mut places: Vec<_> = self.tensors.iter().collect();
        places.sort_by_key(|(_, place)| (&place.file, place.info.start));
        places.into_iter().map(|(name, place)| (name.as_str(), place.info.shape.as_slice())).collect()
    }

    /// Returns the type that a tensor is stored as, by its name in the format.
    pub(in super::super) fn stored(&self, name: &str) -> Result<&str> {
        Ok(&self.place(name)?.info.dtype)
    }

    /// Fills `numbers` with those of a tensor from its number `first` on, in the order in which they lie.
    pub(in super::super) fn numbers(&self, name: &str, first: u64, numbers: &mut [f32]) -> Result<()> {
        let place = self.place(name)?;
        let foreign = || ModelError::DType { name: name.to_owned(), found: place.info.dtype.clone() };
        let width = element_bytes(&place.info.dtype).ok_or_else(foreign)?;
        let start = first * width;
        if start + numbers.len() as u64 * width > place.info.bytes {
            let what = format!("tensor `{name}` ends early");
            return Err(SafetensorsError::Damaged { path: place.path.clone(), what }.into());
        }
        let start = place.info.start + start;
        match place.info.dtype.as_str() {
            "F32" => floats::read_f32(&place.open, start, numbers)?,
            "F16" => floats::read_f16(&place.open, start, numbers)?,
            _ => floats::read_bf16(&place.open, start, numbers)?,
        }
        Ok(())
    }

    /// Returns a matrix by its name.
    pub(super) fn matrix(&self, name: &str, shape: [usize; 2], storage: Storage) -> Result<Matrix> {
        let (place, bytes) = self.bytes(name, &shape)?;
        let dtype = match place.info.dtype.as_str() {
            "F32" => GgmlDType::F32,
            "F16" => GgmlDType::F16,
            "BF16" => GgmlDType::BF16,
            _ => return Err(ModelError::DType { name: name.to_owned(), found: place.info.dtype.clone() }),
        };
        Matrix::from_bytes(shape, dtype, &bytes, storage).map_err(|cause| ModelError::Tensor {
            name: name.to_owned(),
            path: place.path.clone(),
            cause: Box::new(cause),
        })
    }

    /// Returns a vector by its name.
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        self.floats(name, &[length])
    }

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (place, bytes) = self.bytes(name, shape)?;
        decode(&place.info.dtype, &bytes)
            .ok_or_else(|| ModelError::DType { name: name.to_owned(), found: place.info.dtype.clone() })
    }

    /// Reads a tensor's bytes.
    fn bytes(&self, name: &str, shape: &[usize]) -> Result<(&TensorPlace, Vec<u8>)> {
        let place = self.place(name)?;
        check_shape(name, &place.info.shape, shape)?;
        let mut bytes = vec![0; place.info.bytes as usize];
        place.open.read_exact_at(&mut bytes, place.info.start)?;
        if !finite::plain(&place.info.dtype, &bytes) {
            return Err(ModelError::NotFinite { name: name.to_owned(), path: place.path.clone() });
        }
        Ok((place, bytes))
    }

    fn place(&self, name: &str) -> Result<&TensorPlace> {
        self.tensors.get(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })
    }

    fn text(&self, name: &'static str) -> Result<(PathBuf, String)> {
        let path = self.files.get(name).ok_or(ModelError::MissingFile { name })?;
        Ok((path.clone(), fs_err::read_to_string(path)?))
    }
}

/// Returns the bytes of a number of a type that is read.
fn element_bytes(dtype: &str) -> Option<u64> {
    match dtype {
        "F32" => Some(4),
        "F16" | "BF16" => Some(2),
        _ => None,
    }
}

/// Returns the numbers, or `None` for a type that is not read.
fn decode(dtype: &str, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    match dtype {
        "F32" => Some(bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect()),
        "F16" => Some(pairs().map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
        "BF16" => Some(pairs().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()),
        _ => None,
    }
}

/// Returns the template of `tokenizer_config.json`: one text, or the one named `default` of several.
fn template_source(config: &Value) -> Option<&str> {
    match config.get("chat_template")? {
        Value::String(source) => Some(source),
        Value::Array(named) => named
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template"))
            .and_then(Value::as_str),
        _ => None,
    }
}
