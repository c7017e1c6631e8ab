//! Small random models for tests: real shapes, a real byte-level vocabulary, a real chat template.

use std::path::Path;

use super::{GgufError, PlannedTensor, TensorType, Value, Writer};

/// Columns of every matrix are multiples of this, so that the K-quants are really used.
pub(crate) const EMBEDDING: u64 = 256;
/// Attention heads.
pub(crate) const HEADS: u64 = 4;
/// Heads of keys and values.
pub(crate) const KV_HEADS: u64 = 2;
const FEED_FORWARD: u64 = 512;
const LAYERS: u64 = 2;

const QUERY_KEY_VALUE: &[&str] = &["attn_q", "attn_k", "attn_v"];
const ALL_PARTS: &[&str] = &["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

/// The conversation format that most small models use.
pub(crate) const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + \
     message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ \
     '<|im_start|>assistant\n' }}{% endif %}";

/// One tensor in 32 bits.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    /// The GGUF name.
    pub name: String,
    /// Sizes, the one that runs fastest first.
    pub dimensions: Vec<u64>,
    /// The numbers.
    pub numbers: Vec<f32>,
}

/// Returns numbers in -1..1 that depend on nothing but the seed.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// What random models differ in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// As a GGUF has it.
    pub architecture: &'static str,
    /// Whether the output projection is the embedding table.
    pub tied: bool,
    /// The parts that have a bias, such as `attn_q`.
    pub biases: &'static [&'static str],
    /// Whether heads are normalised.
    pub head_norms: bool,
    /// Features of a head.
    pub head_size: u64,
    /// Whether rotary frequencies are divided as Llama 3's are.
    pub rope_factors: bool,
}

impl Variant {
    /// A Llama with tied embeddings.
    pub(crate) const LLAMA: Self = Self {
        architecture: "llama",
        tied: true,
        biases: &[],
        head_norms: false,
        head_size: EMBEDDING / HEADS,
        rope_factors: false,
    };

    /// What is trained here, by name.
    pub(crate) const ALL: [(&str, Self); 7] = [
        ("SmolLM2: tied", Self::LLAMA),
        ("Llama 3: scaled frequencies", Self { rope_factors: true, ..Self::LLAMA }),
        ("Mistral: untied, with large heads", Self { tied: false, head_size: 128, ..Self::LLAMA }),
        ("Llama with all biases", Self { biases: ALL_PARTS, ..Self::LLAMA }),
        ("Qwen2: tied", Self { architecture: "qwen2", biases: QUERY_KEY_VALUE, ..Self::LLAMA }),
        ("Qwen2: untied", Self { architecture: "qwen2", biases: QUERY_KEY_VALUE, tied: false, ..Self::LLAMA }),
        ("Qwen3: large heads", Self { architecture: "qwen3", head_norms: true, head_size: 128, ..Self::LLAMA }),
    ];

    /// Returns names and sizes of the tensors.
    fn shapes(&self) -> Vec<(String, Vec<u64>)> {
        let (queries, keys) = (self.head_size * HEADS, self.head_size * KV_HEADS);
        let table = vec![EMBEDDING, vocabulary().len() as u64];
        let mut shapes = vec![("token_embd.weight".to_owned(), table.clone())];
        for layer in 0..LAYERS {
            let mut push = |name: &str, sizes: Vec<u64>| shapes.push((format!("blk.{layer}.{name}"), sizes));
            for (name, columns, rows) in [
                ("attn_q", EMBEDDING, queries),
                ("attn_k", EMBEDDING, keys),
                ("attn_v", EMBEDDING, keys),
                ("attn_output", queries, EMBEDDING),
                ("ffn_gate", EMBEDDING, FEED_FORWARD),
                ("ffn_up", EMBEDDING, FEED_FORWARD),
                ("ffn_down", FEED_FORWARD, EMBEDDING),
            ] {
                push(&format!("{name}.weight"), vec![columns, rows]);
                if self.biases.contains(&name) {
                    push(&format!("{name}.bias"), vec![rows]);
                }
            }
            for name in ["attn_norm", "ffn_norm"] {
                push(&format!("{name}.weight"), vec![EMBEDDING]);
            }
            for name in ["attn_q_norm", "attn_k_norm"].into_iter().filter(|_| self.head_norms) {
                push(&format!("{name}.weight"), vec![self.head_size]);
            }
        }
        shapes.push(("output_norm.weight".to_owned(), vec![EMBEDDING]));
        if !self.tied {
            shapes.push(("output.weight".to_owned(), table));
        }
        if self.rope_factors {
            shapes.push(("rope_freqs.weight".to_owned(), vec![self.head_size / 2]));
        }
        shapes
    }

    /// Returns random tensors.
    pub(crate) fn tensors(&self, seed: u64) -> Vec<Tensor> {
        let made = self.shapes().into_iter().enumerate().map(|(index, (name, dimensions))| {
            let count = dimensions.iter().product::<u64>() as usize;
            let numbers = noise(seed * 1_000 + index as u64, count);
            let number = |x: f32| match name.as_str() {
                "rope_freqs.weight" => 4.5 + x * 3.5,
                name if name.ends_with("norm.weight") => 1.0 + x * 0.1,
                name if name.ends_with(".bias") => x * 0.5,
                _ => x * 0.12,
            };
            let numbers = numbers.into_iter().map(number).collect();
            Tensor { name, dimensions, numbers }
        });
        made.collect()
    }

    /// Returns the metadata.
    pub(crate) fn metadata(&self) -> Vec<(String, Value)> {
        let keys = metadata().into_iter().map(|(key, value)| match key.strip_prefix("llama.") {
            Some("rope.dimension_count") => (self.key("rope.dimension_count"), Value::U32(self.head_size as u32)),
            Some(end) => (self.key(end), value),
            None if key == "general.architecture" => (key, Value::String(self.architecture.into())),
            None => (key, value),
        });
        let mut keys: Vec<_> = keys.collect();
        if self.head_size != EMBEDDING / HEADS {
            let size = Value::U32(self.head_size as u32);
            keys.push((self.key("attention.key_length"), size.clone()));
            keys.push((self.key("attention.value_length"), size));
        }
        keys
    }

    fn key(&self, end: &str) -> String {
        format!("{}.{end}", self.architecture)
    }

    /// Writes a random model, its matrices as `matrix` says and the rest in 32 bits.
    pub(crate) fn write(&self, path: &Path, seed: u64, matrix: TensorType) -> Result<(), GgufError> {
        write_with(path, &self.metadata(), &self.tensors(seed), matrix)
    }
}

/// Returns the tensors of a random Llama with tied embeddings.
pub(crate) fn tensors(seed: u64) -> Vec<Tensor> {
    Variant::LLAMA.tensors(seed)
}

/// Returns the metadata of such a model.
pub(crate) fn metadata() -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.into());
    let vocabulary = vocabulary();
    let kinds = (0..vocabulary.len() as i32).map(|token| if token < 3 { 3 } else { 1 }).collect::<Vec<_>>();
    let count = vocabulary.len() as u32;
    [
        ("general.architecture", text("llama")),
        ("general.type", text("model")),
        ("general.name", text("Tiny")),
        ("llama.block_count", Value::U32(LAYERS as u32)),
        ("llama.context_length", Value::U32(512)),
        ("llama.embedding_length", Value::U32(EMBEDDING as u32)),
        ("llama.feed_forward_length", Value::U32(FEED_FORWARD as u32)),
        ("llama.attention.head_count", Value::U32(HEADS as u32)),
        ("llama.attention.head_count_kv", Value::U32(KV_HEADS as u32)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("general.file_type", Value::U32(0)),
        ("llama.vocab_size", Value::U32(count)),
        ("llama.rope.dimension_count", Value::U32((EMBEDDING / HEADS) as u32)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("smollm")),
        ("tokenizer.ggml.tokens", Value::strings(vocabulary)),
        ("tokenizer.ggml.token_type", Value::integers(kinds)),
        ("tokenizer.ggml.merges", Value::strings(MERGES.iter().map(|&merge| merge.to_owned()))),
        ("tokenizer.ggml.bos_token_id", Value::U32(1)),
        ("tokenizer.ggml.eos_token_id", Value::U32(2)),
        ("tokenizer.ggml.unknown_token_id", Value::U32(0)),
        ("tokenizer.ggml.padding_token_id", Value::U32(2)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(false)),
        ("tokenizer.chat_template", text(CHATML)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

const MERGES: &[&str] = &["t h", "th e", "i n", "a n", "e r", "o n", "Ġ the", "Ġ a", "in g"];

/// Markers, the 256 bytes as GPT-2 writes them, and what the merges make.
fn vocabulary() -> Vec<String> {
    let markers = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].into_iter().map(str::to_owned);
    let printable = |byte: u32| (33..127).contains(&byte) || (161..173).contains(&byte) || (174..256).contains(&byte);
    let mut next = 256;
    let bytes = (0..256_u32).map(|byte| {
        let code = if printable(byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).map(String::from).unwrap_or_default()
    });
    let bytes: Vec<String> = bytes.collect();
    markers.chain(bytes).chain(MERGES.iter().map(|merge| merge.replace(' ', ""))).collect()
}

/// Writes a model of these tensors, matrices as `matrix` says and the rest in 32 bits.
pub(crate) fn write(path: &Path, tensors: &[Tensor], matrix: TensorType) -> Result<(), GgufError> {
    write_with(path, &metadata(), tensors, matrix)
}

/// Writes a random model that splits text as `pre` says and merges every two bytes that are neighbours in `text`.
#[cfg(feature = "llama")]
pub(crate) fn write_with_split(path: &Path, pre: &str, text: &str) -> Result<(), GgufError> {
    let (mut tokens, alphabet) = (vocabulary(), vocabulary().split_off(3));
    let mut merges = Vec::new();
    for pair in text.as_bytes().windows(2) {
        let [left, right] = [pair[0], pair[1]].map(|byte| &alphabet[usize::from(byte)]);
        let (token, merge) = (format!("{left}{right}"), format!("{left} {right}"));
        if !merges.contains(&merge) {
            merges.push(merge);
            tokens.extend((!tokens.contains(&token)).then_some(token));
        }
    }
    write_with_vocabulary(path, pre, &tokens, &merges, |token| token < 3)
}

/// Writes a random model whose vocabulary ends with these markers, as control tokens.
#[cfg(feature = "llama")]
pub(crate) fn write_with_markers(path: &Path, markers: &[&str]) -> Result<(), GgufError> {
    let mut tokens = vocabulary();
    let first = tokens.len();
    tokens.extend(markers.iter().map(|&marker| marker.to_owned()));
    let merges: Vec<String> = MERGES.iter().map(|&merge| merge.to_owned()).collect();
    write_with_vocabulary(path, "gpt-2", &tokens, &merges, |token| token < 3 || token >= first)
}

#[cfg(feature = "llama")]
fn write_with_vocabulary(
    path: &Path,
    pre: &str,
    tokens: &[String],
    merges: &[String],
    is_control: impl Fn(usize) -> bool,
) -> Result<(), GgufError> {
    let mut metadata = metadata();
    for (key, value) in &mut metadata {
        match key.as_str() {
            "llama.vocab_size" => *value = Value::U32(tokens.len() as u32),
            "tokenizer.ggml.pre" => *value = Value::String(pre.into()),
            "tokenizer.ggml.tokens" => *value = Value::strings(tokens.to_vec()),
            "tokenizer.ggml.token_type" => {
                *value = Value::integers((0..tokens.len()).map(|token| if is_control(token) { 3 } else { 1 }));
            }
            "tokenizer.ggml.merges" => *value = Value::strings(merges.to_vec()),
            _ => {}
        }
    }
    let mut tensors = tensors(1);
    tensors[0].dimensions[1] = tokens.len() as u64;
    tensors[0].numbers = noise(1, EMBEDDING as usize * tokens.len());
    write_with(path, &metadata, &tensors, TensorType::F16)
}

/// Writes a model with this metadata.
pub(crate) fn write_with(
    path: &Path,
    metadata: &[(String, Value)],
    tensors: &[Tensor],
    matrix: TensorType,
) -> Result<(), GgufError> {
    let type_of = |tensor: &Tensor| if tensor.dimensions.len() == 1 { TensorType::F32 } else { matrix };
    let planned = tensors.iter().map(|tensor| PlannedTensor {
        name: tensor.name.clone(),
        dimensions: tensor.dimensions.clone(),
        tensor_type: type_of(tensor),
    });
    let mut writer = Writer::create(path, metadata, planned.collect())?;
    for tensor in tensors {
        let bytes: Vec<u8> = if type_of(tensor) == TensorType::F32 {
            tensor.numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        } else {
            tensor.numbers.iter().flat_map(|&number| half::f16::from_f32(number).to_le_bytes()).collect()
        };
        writer.write(&bytes)?;
    }
    writer.finish()
}
