//! A base model in one GGUF.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;

use super::super::config::{Architecture, Biases, KNOWN_ARCHITECTURES, ModelConfig, rope_frequencies};
use super::super::gguf::{Header, TensorInfo, Value};
use super::super::template::ChatTemplate;
use super::super::tokenizer::{BpeParts, SentencePieceParts, TokenType, Tokenizer};
use super::super::{ModelError, Result};
use super::matrix::{Matrix, Storage};
use super::{check_shape, finite, inventory, rope};

/// What Llama 3's frequencies are divided by: computed with, but no weight.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// An open GGUF.
#[derive(Debug)]
pub(super) struct Gguf {
    path: PathBuf,
    file: File,
    header: Header,
    /// Shapes of the tensors in transformers' order.
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Gguf {
    /// Reads the header.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let header = Header::read(path)?;
        let shape = |info: &TensorInfo| info.dimensions.iter().rev().map(|size| *size as usize).collect();
        let shapes = header.tensors.iter().map(|info| (info.name.clone(), shape(info))).collect();
        Ok(Self { path: path.to_owned(), file: fs_err::File::open(path)?.into_parts().0, header, shapes })
    }

    /// Reads the hyperparameters.
    pub(super) fn config(&self) -> Result<ModelConfig> {
        let name = self.text("general.architecture")?;
        let architecture = Architecture::from_gguf(name)
            .ok_or_else(|| ModelError::Architecture { found: name.to_owned(), known: KNOWN_ARCHITECTURES })?;
        let key = |end: &str| format!("{name}.{end}");
        let given = |end: &str| self.header.get(&key(end)).map(|_| self.number(&key(end))).transpose();
        if given("expert_count")?.is_some_and(|experts| experts > 0) {
            return Err(ModelError::Unsupported { what: "a mixture of experts".into() });
        }
        let hidden = self.number(&key("embedding_length"))?;
        let heads = self.number(&key("attention.head_count"))?;
        let plain_head = hidden.checked_div(heads).unwrap_or(0);
        let head_dim = given("attention.key_length")?.unwrap_or(plain_head);
        if given("attention.value_length")?.unwrap_or(plain_head) != head_dim {
            return Err(ModelError::Unsupported { what: "values of another size than its keys".into() });
        }
        let context = self.number(&key("context_length"))?;
        // A window is kept by never training rows that are longer: within it attention sees all.
        let window = given("attention.sliding_window")?.filter(|window| *window > 0);
        Ok(ModelConfig {
            architecture,
            biases: self.biases(architecture),
            hidden,
            intermediate: self.number(&key("feed_forward_length"))?,
            layers: self.number(&key("block_count"))?,
            heads,
            kv_heads: given("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            vocabulary: self.shape("token_embd.weight")?.first().copied().unwrap_or(0),
            context: window.map_or(context, |window| window.min(context)),
            rms_epsilon: self.float(&key("attention.layer_norm_rms_epsilon"))?,
            tied: !self.shapes.contains_key("output.weight"),
            rope_frequencies: self.frequencies(name, head_dim)?,
        })
    }

    /// Refuses tensors that do not fit the hyperparameters.
    pub(super) fn check(&self, config: &ModelConfig) -> Result<()> {
        let found = self.shapes.iter().filter(|(name, _)| *name != ROPE_FACTORS);
        let found = found.map(|(name, shape)| (name.clone(), shape.as_slice()));
        inventory::check(config, found.collect(), gguf_name)
    }

    /// A GGUF does not say which biases it has: the first block's tensors do.
    fn biases(&self, architecture: Architecture) -> Biases {
        let has = |part: &str| self.shapes.contains_key(&format!("blk.0.{part}.bias"));
        Biases {
            attention_inputs: architecture == Architecture::Qwen2 || has("attn_q"),
            attention_output: has("attn_output"),
            feed_forward: has("ffn_gate"),
        }
    }

    /// Returns the rotary frequencies: those of the metadata, divided by the tensor `rope_freqs.weight` of Llama 3.
    fn frequencies(&self, architecture: &str, head_dim: usize) -> Result<Vec<f64>> {
        let key = |end: &str| format!("{architecture}.rope.{end}");
        if let Some(rotated) = self.header.get(&key("dimension_count")).and_then(Value::as_u64)
            && rotated != head_dim as u64
        {
            return Err(ModelError::Unsupported {
                what: format!("a rotary embedding of {rotated} of {head_dim} features"),
            });
        }
        let base = match self.header.get(&key("freq_base")) {
            Some(_) => f64::from(self.float(&key("freq_base"))?),
            None => 10_000.0,
        };
        let mut frequencies = rope_frequencies(head_dim, base, rope::scaling(&self.header, architecture)?);
        if self.shapes.contains_key(ROPE_FACTORS) {
            let factors = self.raw_vector(ROPE_FACTORS, head_dim / 2)?;
            for (frequency, factor) in frequencies.iter_mut().zip(factors) {
                *frequency /= f64::from(factor);
            }
        }
        Ok(frequencies)
    }

    /// Rebuilds the tokenizer from the metadata.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        match self.text("tokenizer.ggml.model")? {
            "gpt2" => Tokenizer::from_bpe(&BpeParts {
                pre: self.text("tokenizer.ggml.pre").unwrap_or("default"),
                tokens: self.texts("tokenizer.ggml.tokens")?,
                types: self.token_types()?,
                merges: self.texts("tokenizer.ggml.merges")?,
            }),
            "llama" => Tokenizer::from_sentence_piece(SentencePieceParts {
                tokens: self.texts("tokenizer.ggml.tokens")?,
                scores: self.floats("tokenizer.ggml.scores")?,
                types: self.token_types()?,
                adds_space: !matches!(self.header.get("tokenizer.ggml.add_space_prefix"), Some(Value::Bool(false))),
            }),
            other => Err(Tokenizer::unknown(other)),
        }
    }

    /// Returns the chat template.
    pub(super) fn template(&self) -> Result<ChatTemplate> {
        let Ok(source) = self.text("tokenizer.chat_template") else { return Err(ModelError::NoTemplate) };
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let token = |key: &str| {
            let id = self.number(key).ok()?;
            tokens.get(id).map(|token| (*token).to_owned())
        };
        ChatTemplate::new(source, token("tokenizer.ggml.bos_token_id"), token("tokenizer.ggml.eos_token_id"))
    }

    /// Returns a matrix by its name in transformers.
    pub(super) fn matrix(
        &self,
        config: &ModelConfig,
        name: &str,
        shape: [usize; 2],
        storage: Storage,
    ) -> Result<Matrix> {
        let mut bytes = self.bytes(&gguf_name(name), &shape)?;
        if let Some(heads) = paired_heads(config, name) {
            bytes = to_half_split(&bytes, heads, shape[0]);
        }
        self.decode(&gguf_name(name), shape, &bytes, storage)
    }

    /// Returns a vector by its name in transformers.
    pub(super) fn vector(&self, config: &ModelConfig, name: &str, length: usize) -> Result<Vec<f32>> {
        let numbers = self.raw_vector(&gguf_name(name), length)?;
        let Some(heads) = paired_heads(config, name) else { return Ok(numbers) };
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let bytes = to_half_split(&bytes, heads, length);
        Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    fn raw_vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let bytes = self.bytes(name, &[length])?;
        Ok(self.decode(name, [1, length], &bytes, Storage::Dense)?.into_dense())
    }

    fn decode(&self, name: &str, shape: [usize; 2], bytes: &[u8], storage: Storage) -> Result<Matrix> {
        let kind = self.info(name)?.tensor_type.name();
        let dtype = dtype(kind).ok_or_else(|| ModelError::DType { name: name.to_owned(), found: kind.into() })?;
        Matrix::from_bytes(shape, dtype, bytes, storage).map_err(|cause| ModelError::Tensor {
            name: name.to_owned(),
            path: self.path.clone(),
            cause: Box::new(cause),
        })
    }

    /// Reads a tensor as it is stored.
    fn bytes(&self, name: &str, shape: &[usize]) -> Result<Vec<u8>> {
        check_shape(name, self.shape(name)?, shape)?;
        let info = self.info(name)?;
        let mut bytes = vec![0; info.size as usize];
        self.file.read_exact_at(&mut bytes, self.header.data_offset + info.offset)?;
        if finite::quantised(info.tensor_type.name(), &bytes) {
            return Ok(bytes);
        }
        Err(ModelError::NotFinite { name: name.to_owned(), path: self.path.clone() })
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.header.tensor(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })
    }

    fn shape(&self, name: &str) -> Result<&[usize]> {
        let shape = self.shapes.get(name).map(Vec::as_slice);
        shape.ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })
    }

    fn missing(key: &str) -> ModelError {
        ModelError::MissingKey { key: key.to_owned() }
    }

    fn text(&self, key: &str) -> Result<&str> {
        self.header.text(key).ok_or_else(|| Self::missing(key))
    }

    fn number(&self, key: &str) -> Result<usize> {
        let number = self.header.get(key).and_then(Value::as_u64);
        number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| Self::missing(key))
    }

    fn float(&self, key: &str) -> Result<f32> {
        let number = match self.header.get(key) {
            Some(Value::F32(number)) => Some(*number),
            Some(Value::F64(number)) => Some(*number as f32),
            _ => None,
        };
        number.filter(|number| number.is_finite() && *number > 0.0).ok_or_else(|| Self::missing(key))
    }

    fn array(&self, key: &str) -> Result<&[Value]> {
        self.header.get(key).and_then(Value::as_array).ok_or_else(|| Self::missing(key))
    }

    fn texts(&self, key: &str) -> Result<Vec<&str>> {
        self.array(key)?.iter().map(|item| item.as_str().ok_or_else(|| Self::missing(key))).collect()
    }

    fn floats(&self, key: &str) -> Result<Vec<f32>> {
        let number = |item: &Value| match item {
            Value::F32(number) => Ok(*number),
            _ => Err(Self::missing(key)),
        };
        self.array(key)?.iter().map(number).collect()
    }

    fn token_types(&self) -> Result<Vec<TokenType>> {
        let key = "tokenizer.ggml.token_type";
        let kind = |item: &Value| match item {
            Value::I32(2) => Ok(TokenType::Unknown),
            Value::I32(3) => Ok(TokenType::Control),
            Value::I32(4) => Ok(TokenType::UserDefined),
            Value::I32(_) => Ok(TokenType::Normal),
            _ => Err(Self::missing(key)),
        };
        self.array(key)?.iter().map(kind).collect()
    }
}

/// Returns candle's name of a type that is read.
fn dtype(kind: &str) -> Option<GgmlDType> {
    Some(match kind {
        "F32" => GgmlDType::F32,
        "F16" => GgmlDType::F16,
        "BF16" => GgmlDType::BF16,
        "Q4_0" => GgmlDType::Q4_0,
        "Q4_1" => GgmlDType::Q4_1,
        "Q5_0" => GgmlDType::Q5_0,
        "Q5_1" => GgmlDType::Q5_1,
        "Q8_0" => GgmlDType::Q8_0,
        "Q2_K" => GgmlDType::Q2K,
        "Q3_K" => GgmlDType::Q3K,
        "Q4_K" => GgmlDType::Q4K,
        "Q5_K" => GgmlDType::Q5K,
        "Q6_K" => GgmlDType::Q6K,
        _ => return None,
    })
}

/// Returns how many heads the rows of a tensor make, if the GGUF has them in pairs.
fn paired_heads(config: &ModelConfig, name: &str) -> Option<usize> {
    match name.rsplit('.').nth(1) {
        Some("q_proj") if config.architecture.has_paired_rows() => Some(config.heads),
        Some("k_proj") if config.architecture.has_paired_rows() => Some(config.kv_heads),
        _ => None,
    }
}

/// Returns the name that llama.cpp's converter gives to a tensor of transformers.
pub(in super::super) fn gguf_name(name: &str) -> String {
    let names = [
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
        ("model.layers", "blk"),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
    ];
    names.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// Puts the rows of each head from llama.cpp's order (pairs beside each other) into transformers' (half after half).
fn to_half_split(bytes: &[u8], heads: usize, rows: usize) -> Vec<u8> {
    let row_bytes = bytes.len() / rows;
    let (head_rows, half) = (rows / heads, rows / heads / 2);
    let mut split = Vec::with_capacity(bytes.len());
    for row in 0..rows {
        let (head, within) = (row / head_rows, row % head_rows);
        let from = head * head_rows + within % half * 2 + within / half;
        split.extend_from_slice(&bytes[from * row_bytes..][..row_bytes]);
    }
    split
}
