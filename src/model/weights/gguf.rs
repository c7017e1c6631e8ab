//! A base model in one GGUF. The header is read by candle, which bounds every length by the file's size.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};

use super::super::config::{KNOWN_ARCHITECTURES, LlamaConfig, RopeScaling, rope_frequencies};
use super::super::template::ChatTemplate;
use super::super::tokenizer::{BpeParts, TokenType, Tokenizer};
use super::super::{ModelError, Result};
use super::blocks::decode;
use super::check_shape;
use super::matrix::{Matrix, Storage};

/// An open GGUF.
#[derive(Debug)]
pub(super) struct Gguf {
    path: PathBuf,
    content: Content,
}

impl Gguf {
    /// Reads the header.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut file = BufReader::new(fs_err::File::open(path)?);
        let content = Content::read(&mut file).map_err(|cause| ModelError::Unreadable {
            path: path.to_owned(),
            format: "GGUF",
            cause: Box::new(cause),
        })?;
        Ok(Self { path: path.to_owned(), content })
    }

    /// Reads the hyperparameters.
    pub(super) fn config(&self) -> Result<LlamaConfig> {
        let architecture = self.text("general.architecture")?;
        if architecture != "llama" {
            return Err(ModelError::Architecture { found: architecture.to_owned(), known: KNOWN_ARCHITECTURES });
        }
        if self.content.metadata.contains_key("llama.expert_count") {
            return Err(ModelError::Unsupported { what: "a mixture of experts".into() });
        }
        let hidden = self.number("llama.embedding_length")?;
        let heads = self.number("llama.attention.head_count")?;
        let head_dim = match self.content.metadata.get("llama.attention.key_length") {
            Some(_) => self.number("llama.attention.key_length")?,
            None if heads == 0 => 0,
            None => hidden / heads,
        };
        let embedding = self.shape("token_embd.weight")?;
        Ok(LlamaConfig {
            hidden,
            intermediate: self.number("llama.feed_forward_length")?,
            layers: self.number("llama.block_count")?,
            heads,
            kv_heads: match self.content.metadata.get("llama.attention.head_count_kv") {
                Some(_) => self.number("llama.attention.head_count_kv")?,
                None => heads,
            },
            head_dim,
            vocabulary: embedding.first().copied().unwrap_or(0),
            context: self.number("llama.context_length")?,
            rms_epsilon: self.float("llama.attention.layer_norm_rms_epsilon")?,
            tied: !self.content.tensor_infos.contains_key("output.weight"),
            rope_frequencies: self.frequencies(head_dim)?,
        })
    }

    /// Returns the rotary frequencies: those of the metadata, divided by the tensor `rope_freqs.weight` of Llama 3.
    fn frequencies(&self, head_dim: usize) -> Result<Vec<f64>> {
        if let Some(Value::U32(rotated)) = self.content.metadata.get("llama.rope.dimension_count")
            && *rotated as usize != head_dim
        {
            return Err(ModelError::Unsupported {
                what: format!("a rotary embedding of {rotated} of {head_dim} features"),
            });
        }
        let base = match self.content.metadata.get("llama.rope.freq_base") {
            Some(_) => f64::from(self.float("llama.rope.freq_base")?),
            None => 10_000.0,
        };
        let scaling = match self.content.metadata.get("llama.rope.scaling.type") {
            None => RopeScaling::None,
            Some(Value::String(name)) if name == "none" => RopeScaling::None,
            Some(Value::String(name)) if name == "linear" => {
                RopeScaling::Linear { factor: f64::from(self.float("llama.rope.scaling.factor")?) }
            }
            Some(other) => {
                return Err(ModelError::Unsupported { what: format!("rotary scaling of the type {other:?}") });
            }
        };
        let mut frequencies = rope_frequencies(head_dim, base, scaling);
        if self.content.tensor_infos.contains_key("rope_freqs.weight") {
            let factors = self.raw_vector("rope_freqs.weight", head_dim / 2)?;
            for (frequency, factor) in frequencies.iter_mut().zip(factors) {
                *frequency /= f64::from(factor);
            }
        }
        Ok(frequencies)
    }

    /// Rebuilds the tokenizer from the metadata.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        let model = self.text("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(Tokenizer::unknown(model));
        }
        let pre = self.text("tokenizer.ggml.pre").unwrap_or("default");
        Tokenizer::from_bpe(&BpeParts {
            pre,
            tokens: self.texts("tokenizer.ggml.tokens")?,
            types: self.token_types()?,
            merges: self.texts("tokenizer.ggml.merges")?,
        })
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
        config: &LlamaConfig,
        name: &str,
        shape: [usize; 2],
        storage: Storage,
    ) -> Result<Matrix> {
        let gguf_name = gguf_name(name);
        let tensor = self.tensor(&gguf_name, &shape)?;
        let mut bytes = tensor.data().map_err(|cause| self.unreadable(&gguf_name, cause))?.into_owned();
        let heads = match name.rsplit('.').nth(1) {
            Some("q_proj") => Some(config.heads),
            Some("k_proj") => Some(config.kv_heads),
            _ => None,
        };
        if let Some(heads) = heads {
            bytes = to_half_split(&bytes, heads, shape[0]);
        }
        Matrix::from_bytes(shape, tensor.dtype(), &bytes, storage).map_err(|cause| self.unreadable(&gguf_name, cause))
    }

    /// Returns a vector by its name in transformers.
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        self.raw_vector(&gguf_name(name), length)
    }

    fn raw_vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let tensor = self.tensor(name, &[length])?;
        let bytes = tensor.data().map_err(|cause| self.unreadable(name, cause))?;
        let mut numbers = vec![0.0; length];
        decode(tensor.dtype(), &bytes, &mut numbers);
        Ok(numbers)
    }

    fn shape(&self, name: &str) -> Result<&[usize]> {
        match self.content.tensor_infos.get(name) {
            Some(info) => Ok(info.shape.dims()),
            None => Err(ModelError::MissingTensor { name: name.to_owned() }),
        }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<QTensor> {
        check_shape(name, self.shape(name)?, shape)?;
        let mut file = BufReader::new(fs_err::File::open(&self.path)?);
        self.content.tensor(&mut file, name, &Device::Cpu).map_err(|cause| self.unreadable(name, cause))
    }

    fn unreadable(&self, name: &str, cause: candle_core::Error) -> ModelError {
        ModelError::Tensor { name: name.to_owned(), path: self.path.clone(), cause: Box::new(cause) }
    }

    fn missing(key: &str) -> ModelError {
        ModelError::MissingKey { key: key.to_owned() }
    }

    fn text(&self, key: &str) -> Result<&str> {
        match self.content.metadata.get(key) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(Self::missing(key)),
        }
    }

    fn number(&self, key: &str) -> Result<usize> {
        let value = self.content.metadata.get(key).ok_or_else(|| Self::missing(key))?;
        let number = match value {
            Value::I32(number) => u64::try_from(*number).ok(),
            Value::I64(number) => u64::try_from(*number).ok(),
            other => other.to_u64().ok(),
        };
        number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| Self::missing(key))
    }

    fn float(&self, key: &str) -> Result<f32> {
        match self.content.metadata.get(key) {
            Some(Value::F32(number)) => Ok(*number),
            Some(Value::F64(number)) => Ok(*number as f32),
            _ => Err(Self::missing(key)),
        }
    }

    fn array(&self, key: &str) -> Result<&[Value]> {
        match self.content.metadata.get(key) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(Self::missing(key)),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<&str>> {
        let mut texts = Vec::new();
        for item in self.array(key)? {
            let Value::String(text) = item else { return Err(Self::missing(key)) };
            texts.push(text.as_str());
        }
        Ok(texts)
    }

    fn token_types(&self) -> Result<Vec<TokenType>> {
        let key = "tokenizer.ggml.token_type";
        let kind = |item: &Value| match item {
            Value::I32(3) => Ok(TokenType::Control),
            Value::I32(4) => Ok(TokenType::UserDefined),
            Value::I32(_) => Ok(TokenType::Normal),
            _ => Err(Self::missing(key)),
        };
        self.array(key)?.iter().map(kind).collect()
    }
}

/// Returns the name that llama.cpp's converter gives to a tensor of transformers.
pub(in super::super) fn gguf_name(name: &str) -> String {
    let names = [
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
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
