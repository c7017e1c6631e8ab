//! A base model in a folder as transformers writes it: `config.json`, `tokenizer.json`, `*.safetensors`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::config::{KNOWN_ARCHITECTURES, LlamaConfig, RopeScaling, rope_frequencies};
use super::super::template::ChatTemplate;
use super::super::tokenizer::Tokenizer;
use super::super::{ModelError, Result};
use super::check_shape;
use super::matrix::{Matrix, Storage};

/// The longest header that is read, in bytes; a model of 100,000 tensors has 12 MB.
const LONGEST_HEADER: u64 = 100 << 20;

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
    start: u64,
    bytes: u64,
    dtype: String,
    shape: Vec<usize>,
}

/// One entry of a safetensors header.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// What is read of `config.json`, by its names.
#[derive(Deserialize)]
struct ConfigJson {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    max_position_embeddings: usize,
    sliding_window: Option<usize>,
    rms_norm_eps: f32,
    #[serde(default)]
    tie_word_embeddings: bool,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeJson>,
    /// Where transformers 5 keeps `rope_theta` and the scaling.
    rope_parameters: Option<RopeJson>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    hidden_act: Option<String>,
}

/// The scaling of the rotary embedding, old and new form.
#[derive(Deserialize)]
struct RopeJson {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

impl Folder {
    /// Reads the headers of all safetensors files.
    pub(in super::super) fn open(files: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, path) in files {
            if Path::new(name).extension().is_some_and(|extension| extension == "safetensors") {
                read_header(name, path, &mut tensors)?;
            }
        }
        if tensors.is_empty() {
            return Err(ModelError::MissingFile { name: "model.safetensors" });
        }
        Ok(Self { files: files.clone(), tensors })
    }

    /// Reads `config.json`.
    pub(in super::super) fn config(&self) -> Result<LlamaConfig> {
        let raw: Value = self.json("config.json")?;
        let found = raw.get("model_type").and_then(Value::as_str).unwrap_or("none");
        if !["llama", "mistral"].contains(&found) {
            return Err(ModelError::Architecture { found: found.to_owned(), known: KNOWN_ARCHITECTURES });
        }
        let json: ConfigJson = self.json("config.json")?;
        llama_config(&json, self.tensors.contains_key("lm_head.weight"))
    }

    /// Returns the base of the rotary embedding's frequencies, and their scaling.
    pub(in super::super) fn rope(&self) -> Result<(f64, RopeScaling)> {
        rope(&self.json("config.json")?)
    }

    /// Reads `tokenizer.json`.
    pub(in super::super) fn tokenizer(&self) -> Result<Tokenizer> {
        let (_, text) = self.text("tokenizer.json")?;
        Tokenizer::from_json(&text)
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
        places.sort_by_key(|(_, place)| (&place.file, place.start));
        places.into_iter().map(|(name, place)| (name.as_str(), place.shape.as_slice())).collect()
    }

    /// Fills `numbers` with one row of a tensor: numbers of its last dimension.
    pub(in super::super) fn row(&self, name: &str, row: usize, numbers: &mut [f32]) -> Result<()> {
        let place = self.tensors.get(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })?;
        let foreign = || ModelError::DType { name: name.to_owned(), found: place.dtype.clone() };
        let width = element_bytes(&place.dtype).ok_or_else(foreign)?;
        let length = numbers.len() as u64 * width;
        let start = row as u64 * length;
        if start + length > place.bytes {
            return Err(ModelError::Damaged { path: place.path.clone(), what: format!("tensor `{name}` ends early") });
        }
        let mut bytes = vec![0; length as usize];
        place.open.read_exact_at(&mut bytes, place.start + start)?;
        numbers.copy_from_slice(&decode(&place.dtype, &bytes).ok_or_else(foreign)?);
        Ok(())
    }

    /// Returns a matrix by its name.
    pub(super) fn matrix(&self, name: &str, shape: [usize; 2], storage: Storage) -> Result<Matrix> {
        let (place, bytes) = self.bytes(name, &shape)?;
        let dtype = match place.dtype.as_str() {
            "F32" => GgmlDType::F32,
            "F16" => GgmlDType::F16,
            "BF16" => GgmlDType::BF16,
            _ => return Err(ModelError::DType { name: name.to_owned(), found: place.dtype.clone() }),
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
        decode(&place.dtype, &bytes)
            .ok_or_else(|| ModelError::DType { name: name.to_owned(), found: place.dtype.clone() })
    }

    /// Reads a tensor's bytes.
    fn bytes(&self, name: &str, shape: &[usize]) -> Result<(&TensorPlace, Vec<u8>)> {
        let place = self.tensors.get(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })?;
        check_shape(name, &place.shape, shape)?;
        let mut bytes = vec![0; place.bytes as usize];
        place.open.read_exact_at(&mut bytes, place.start)?;
        Ok((place, bytes))
    }

    fn text(&self, name: &'static str) -> Result<(PathBuf, String)> {
        let path = self.files.get(name).ok_or(ModelError::MissingFile { name })?;
        Ok((path.clone(), fs_err::read_to_string(path)?))
    }
}

/// Reads one file's header into `tensors`, every place checked against the file's size.
fn read_header(name: &str, path: &Path, tensors: &mut BTreeMap<String, TensorPlace>) -> Result<()> {
    let damaged = |what: String| ModelError::Damaged { path: path.to_owned(), what };
    let mut file = fs_err::File::open(path)?;
    let size = file.metadata()?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| damaged(format!("it has only {size} bytes")))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER || length.saturating_add(8) > size {
        return Err(damaged(format!("its header claims {length} of {size} bytes")));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header)?;
    let header: BTreeMap<String, Value> =
        serde_json::from_slice(&header).map_err(|cause| ModelError::Json { path: path.to_owned(), cause })?;
    let open = Arc::new(file.into_parts().0);
    for (tensor, entry) in header {
        if tensor == "__metadata__" {
            continue;
        }
        let entry: Entry =
            serde_json::from_value(entry).map_err(|cause| ModelError::Json { path: path.to_owned(), cause })?;
        let [start, end] = entry.data_offsets;
        let data = 8 + length;
        let elements = entry.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size as u64));
        let expected = element_bytes(&entry.dtype).and_then(|bytes| elements?.checked_mul(bytes));
        let fits = start <= end && data.checked_add(end).is_some_and(|end| end <= size);
        if !fits || expected.is_some_and(|expected| expected != end - start) {
            return Err(damaged(format!("tensor `{tensor}` claims bytes {start} to {end}")));
        }
        let place = TensorPlace {
            file: name.to_owned(),
            path: path.to_owned(),
            open: Arc::clone(&open),
            start: data + start,
            bytes: end - start,
            dtype: entry.dtype,
            shape: entry.shape,
        };
        tensors.insert(tensor, place);
    }
    Ok(())
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
pub(super) fn decode(dtype: &str, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    match dtype {
        "F32" => Some(bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect()),
        "F16" => Some(pairs().map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
        "BF16" => Some(pairs().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()),
        _ => None,
    }
}

/// Makes hyperparameters of `config.json`.
fn llama_config(json: &ConfigJson, has_head: bool) -> Result<LlamaConfig> {
    let unsupported = |what: &str| Err(ModelError::Unsupported { what: what.to_owned() });
    if json.attention_bias || json.mlp_bias {
        return unsupported("biases in its projections");
    }
    if json.hidden_act.as_deref().is_some_and(|name| name != "silu") {
        return unsupported("an activation other than `silu`");
    }
    if json.num_attention_heads == 0 {
        return Err(ModelError::MissingKey { key: "num_attention_heads".into() });
    }
    let head_dim = json.head_dim.unwrap_or(json.hidden_size / json.num_attention_heads);
    let (base, scaling) = rope(json)?;
    Ok(LlamaConfig {
        hidden: json.hidden_size,
        intermediate: json.intermediate_size,
        layers: json.num_hidden_layers,
        heads: json.num_attention_heads,
        kv_heads: json.num_key_value_heads.unwrap_or(json.num_attention_heads),
        head_dim,
        vocabulary: json.vocab_size,
        context: json
            .sliding_window
            .map_or(json.max_position_embeddings, |window| window.min(json.max_position_embeddings)),
        rms_epsilon: json.rms_norm_eps,
        tied: json.tie_word_embeddings || !has_head,
        rope_frequencies: rope_frequencies(head_dim, base, scaling),
    })
}

/// Returns the base of the rotary embedding's frequencies, and their scaling.
fn rope(json: &ConfigJson) -> Result<(f64, RopeScaling)> {
    let rope = json.rope_parameters.as_ref().or(json.rope_scaling.as_ref());
    let base = json.rope_theta.or(rope.and_then(|rope| rope.rope_theta)).unwrap_or(10_000.0);
    Ok((base, scaling(rope, json.max_position_embeddings)?))
}

fn scaling(rope: Option<&RopeJson>, context: usize) -> Result<RopeScaling> {
    let Some(rope) = rope else { return Ok(RopeScaling::None) };
    let needed = |value: Option<f64>, key: &str| value.ok_or(ModelError::MissingKey { key: key.to_owned() });
    match rope.rope_type.as_deref() {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: needed(rope.factor, "rope_scaling.factor")? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: needed(rope.factor, "rope_scaling.factor")?,
            low: needed(rope.low_freq_factor, "rope_scaling.low_freq_factor")?,
            high: needed(rope.high_freq_factor, "rope_scaling.high_freq_factor")?,
            original_context: rope.original_max_position_embeddings.unwrap_or(context as f64),
        }),
        Some(other) => Err(ModelError::Unsupported { what: format!("rotary scaling of the type `{other}`") }),
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
