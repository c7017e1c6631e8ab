//! Which type each tensor of a file gets: the rules of llama.cpp's `llama_tensor_get_type` (`src/llama-quant.cpp`).

use std::cmp::Ordering;

use regex::Regex;

use crate::model::gguf::{FileType, TensorType, Value};

/// Architectures with rules of their own, which are not here.
const OWN_RULES: &[&str] = &["falcon", "glm5-next", "bailingmoe3"];

/// Architectures whose models of so many layers count as one of 70 billion parameters.
const LARGE: &[(&str, u64)] = &[("llama", 80), ("deci", 80), ("jais2", 68), ("olmo", 80), ("qwen2", 80)];

/// Parts of names whose tensors stay as they are.
const KEPT: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// A tensor whose type is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Unplanned<'a> {
    /// Its GGUF name.
    pub name: &'a str,
    /// Sizes, the one that runs fastest first.
    pub dimensions: &'a [u64],
    /// How it is stored when it is not quantised.
    pub stored: TensorType,
}

/// Returns the order of tensors in a file that llama.cpp quantised: by layer, then by name.
pub fn file_order(a: &str, b: &str) -> Ordering {
    let layer = |name: &str| {
        let number = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map(|(number, _)| number);
        number.and_then(|number| number.parse().ok()).unwrap_or(-1_i64)
    };
    layer(a).cmp(&layer(b)).then_with(|| a.cmp(b))
}

/// What the types of a file follow from.
pub struct Rules<'a> {
    /// The name of the file's type.
    file: &'static str,
    /// What its tensors are unless a rule says otherwise.
    usual: TensorType,
    overrides: &'a [(Regex, TensorType)],
    has_importance: bool,
    layers: usize,
    /// Heads of queries a head of keys and values.
    grouped: u64,
    large: bool,
}

impl<'a> Rules<'a> {
    /// Returns the rules for a file type, a model's metadata, and types that the user chose for tensors by name.
    ///
    /// Returns nothing for a file type that llama.cpp does not make, and for models whose rules are not here: mixtures
    /// of experts, and a few architectures. Those are llama.cpp's to quantise.
    pub fn new(
        file_type: FileType,
        metadata: &[(String, Value)],
        overrides: &'a [(Regex, TensorType)],
        has_importance: bool,
    ) -> Option<Self> {
        let value = |key: &str| metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let Value::String(architecture) = value("general.architecture")? else { return None };
        let number = |key: &str| match value(&format!("{architecture}.{key}"))? {
            Value::Array(array) => array.items.first()?.as_u64(),
            number => number.as_u64(),
        };
        if OWN_RULES.contains(&architecture.as_str()) || number("expert_count").unwrap_or(0) > 0 {
            return None;
        }
        let heads = number("attention.head_count")?;
        let kv_heads = number("attention.head_count_kv").unwrap_or(heads);
        let layers = number("block_count")?;
        let large = LARGE.contains(&(architecture.as_str(), layers)) && (architecture != "llama" || heads != kv_heads);
        Some(Self {
            file: file_type.name(),
            usual: usual(file_type)?,
            overrides,
            has_importance,
            layers: usize::try_from(layers).ok()?,
            grouped: heads.checked_div(kv_heads).unwrap_or(0),
            large,
        })
    }

    /// Returns the type of each tensor. They must be in [`file_order`]: some types depend on those before.
    ///
    /// Returns nothing where rows do not fill the blocks of a type that no other takes the place of.
    pub fn types(&self, tensors: &[Unplanned<'_>]) -> Option<Vec<TensorType>> {
        let mut layers = Layers {
            tied: tensors.iter().all(|tensor| tensor.name != "output.weight"),
            values: tensors.iter().filter(|tensor| Part::of(tensor.name).is_values()).count(),
            ..Layers::default()
        };
        tensors.iter().map(|tensor| self.one(tensor, &mut layers)).collect()
    }

    /// Returns whether llama.cpp refuses to store this tensor so without an importance matrix.
    pub fn needs_importance(&self, name: &str, kind: TensorType) -> bool {
        !matches!(Part::of(name), Part::Embedding | Part::Output)
            && (matches!(kind.name(), "IQ3_XXS" | "IQ2_XXS" | "IQ2_XS" | "IQ2_S" | "IQ1_M" | "IQ1_S")
                || (kind.name() == "Q2_K" && self.file == "Q2_K_S"))
    }

    fn one(&self, tensor: &Unplanned<'_>, layers: &mut Layers) -> Option<TensorType> {
        if !is_quantised(tensor) {
            return Some(tensor.stored);
        }
        let chosen = self.overrides.iter().find(|(pattern, _)| pattern.is_match(tensor.name));
        let kind = match chosen {
            Some(&(_, kind)) => kind,
            None => self.by_rule(tensor, layers),
        };
        fitting(kind, tensor.dimensions[0])
    }

    /// `llama_tensor_get_type_impl`.
    fn by_rule(&self, tensor: &Unplanned<'_>, layers: &mut Layers) -> TensorType {
        let part = Part::of(tensor.name);
        if part == Part::Output || (layers.tied && part == Part::Embedding) {
            return self.output(tensor);
        }
        let file = self.file;
        if file == "MXFP4_MOE" {
            return named("Q8_0");
        }
        if part == Part::Embedding {
            return match file {
                "IQ2_XXS" | "IQ2_XS" | "IQ1_S" | "IQ1_M" => named("Q2_K"),
                "IQ2_S" | "IQ2_M" | "IQ3_XXS" => named("IQ3_S"),
                "TQ1_0" | "TQ2_0" | "Q2_0" => named("Q4_K"),
                _ => self.usual,
            };
        }
        if matches!(file, "IQ2_XXS" | "IQ2_XS" | "IQ1_S" | "IQ2_S" | "IQ2_M" | "IQ1_M") {
            return self.smallest(part, layers);
        }
        match part {
            Part::Values | Part::Fused => self.values(layers),
            Part::Keys | Part::Queries => match file {
                "IQ3_XS" => named("IQ3_XXS"),
                "IQ3_XXS" => named("IQ2_S"),
                _ => self.usual,
            },
            Part::Down => self.down(layers),
            Part::AttentionOutput => match file {
                "Q2_K" => named("Q3_K"),
                "IQ3_XXS" => named("IQ3_S"),
                "Q3_K_M" | "IQ3_M" => named("Q4_K"),
                "Q3_K_L" => named("Q5_K"),
                _ => self.usual,
            },
            Part::Gate => self.middle(Layers::next(&mut layers.gate)),
            Part::Up => self.middle(Layers::next(&mut layers.up)),
            _ => self.usual,
        }
    }

    fn output(&self, tensor: &Unplanned<'_>) -> TensorType {
        let whole = tensor.dimensions[0].is_multiple_of(self.usual.block_elements());
        match self.file {
            _ if self.file == "MXFP4_MOE" || !whole => named("Q8_0"),
            "IQ2_XXS" | "IQ2_XS" | "IQ3_XXS" | "IQ1_S" | "IQ2_S" | "IQ2_M" | "IQ1_M" => named("Q5_K"),
            _ if self.usual == named("Q8_0") => self.usual,
            _ => named("Q6_K"),
        }
    }

    /// The types of files with about two bits a weight and less.
    fn smallest(&self, part: Part, layers: &mut Layers) -> TensorType {
        let better = if matches!(self.file, "IQ2_S" | "IQ2_M") { named("IQ3_S") } else { named("Q2_K") };
        match part {
            Part::Values | Part::Fused => {
                Layers::next(&mut layers.value);
                if self.grouped >= 4 { named("Q4_K") } else { better }
            }
            Part::Down if Layers::next(&mut layers.down) < self.layers / 8 => better,
            Part::AttentionOutput => match self.file {
                "IQ1_S" | "IQ1_M" => named("IQ2_XXS"),
                "IQ2_S" | "IQ2_M" => named("IQ3_S"),
                _ => self.usual,
            },
            _ => self.usual,
        }
    }

    fn values(&self, layers: &mut Layers) -> TensorType {
        let layer = Layers::next(&mut layers.value);
        let kind = match self.file {
            "Q2_K" if self.grouped < 4 => named("Q3_K"),
            "Q2_K" | "IQ3_M" => named("Q4_K"),
            "Q2_K_S" | "IQ3_XXS" | "IQ3_XS" | "IQ3_S" if self.grouped >= 4 => named("Q4_K"),
            "IQ3_XXS" if !self.has_importance => named("IQ3_S"),
            "Q3_K_M" => named(if layer < 2 { "Q5_K" } else { "Q4_K" }),
            "Q3_K_L" => named("Q5_K"),
            "IQ4_NL" | "IQ4_XS" if self.grouped >= 4 => named("Q5_K"),
            "Q4_K_M" | "Q5_K_M" if more_bits(layer, layers.values) => named("Q6_K"),
            "Q4_K_S" if layer < 4 => named("Q5_K"),
            _ => self.usual,
        };
        if self.large && [named("Q3_K"), named("Q4_K")].contains(&kind) { named("Q5_K") } else { kind }
    }

    fn down(&self, layers: &mut Layers) -> TensorType {
        let layer = Layers::next(&mut layers.down);
        let early = layer < self.layers / 8;
        match self.file {
            "Q2_K" => named("Q3_K"),
            "Q2_K_S" | "IQ3_M" if early => named("Q4_K"),
            "IQ3_XXS" if !self.has_importance => named(if early { "Q4_K" } else { "Q3_K" }),
            "Q3_K_M" => named(if layer < self.layers / 16 { "Q5_K" } else { "Q4_K" }),
            "Q3_K_L" => named("Q5_K"),
            "Q4_K_M" | "Q5_K_M" if more_bits(layer, self.layers) => named("Q6_K"),
            "IQ4_NL" | "IQ4_XS" if early && !self.has_importance => named("Q5_K"),
            "Q4_K_S" if early => named("Q5_K"),
            "Q4_0" if early && self.has_importance => named("Q4_1"),
            "Q5_0" if early && self.has_importance => named("Q5_1"),
            _ => self.usual,
        }
    }

    fn middle(&self, layer: usize) -> TensorType {
        let middle = layer >= self.layers / 8 && layer < 7 * self.layers / 8;
        if self.file == "IQ3_XS" && middle { named("IQ3_XXS") } else { self.usual }
    }
}

/// What was seen of the model so far.
#[derive(Default)]
struct Layers {
    /// Whether the embedding is the output matrix, too.
    tied: bool,
    /// Tensors that are values, in all.
    values: usize,
    value: usize,
    down: usize,
    gate: usize,
    up: usize,
}

impl Layers {
    /// Counts one more, and returns how many there were.
    fn next(count: &mut usize) -> usize {
        *count += 1;
        *count - 1
    }
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Embedding,
    Output,
    Queries,
    Keys,
    Values,
    /// Queries, keys and values in one, or compressed values: they count as values.
    Fused,
    AttentionOutput,
    Up,
    Gate,
    Down,
    Other,
}

impl Part {
    fn of(name: &str) -> Self {
        const PARTS: &[(&str, Part)] = &[
            ("attn_qkv.weight", Part::Fused),
            ("attn_kv_b.weight", Part::Fused),
            ("attn_v.weight", Part::Values),
            ("attn_k.weight", Part::Keys),
            ("attn_q.weight", Part::Queries),
            ("attn_output.weight", Part::AttentionOutput),
            ("ffn_up", Part::Up),
            ("ffn_gate", Part::Gate),
            ("ffn_down", Part::Down),
        ];
        match name {
            "output.weight" => Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => Self::Embedding,
            _ => PARTS.iter().find(|(part, _)| name.contains(part)).map_or(Self::Other, |(_, part)| *part),
        }
    }

    fn is_values(self) -> bool {
        matches!(self, Self::Values | Self::Fused)
    }
}

/// The layers of a file with a medium mixture that get the larger type: the first and last eighth, and every third.
fn more_bits(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// Returns whether a file's type changes how the tensor is stored: `tensor_allows_quantization`.
pub fn is_quantised(tensor: &Unplanned<'_>) -> bool {
    let name = tensor.name;
    tensor.dimensions.iter().skip(1).any(|&size| size > 1)
        && name.ends_with("weight")
        && !KEPT.iter().any(|kept| name.contains(kept))
        && name != "position_embd.weight"
        && name != "token_types.weight"
}

/// Returns the type, or the one that takes its place where rows do not fill its blocks: `tensor_type_fallback`.
pub fn fitting(kind: TensorType, columns: u64) -> Option<TensorType> {
    let fits = |kind: TensorType| columns.is_multiple_of(kind.block_elements());
    if fits(kind) {
        return Some(kind);
    }
    let other = match kind.name() {
        "IQ1_S" | "IQ1_M" | "IQ2_XXS" | "IQ2_XS" | "IQ2_S" | "IQ3_XXS" | "IQ3_S" | "IQ4_XS" => named("IQ4_NL"),
        "Q2_0" | "Q2_K" | "Q3_K" | "TQ1_0" | "TQ2_0" => named("Q4_0"),
        "Q4_K" => named("Q5_0"),
        "Q5_K" => named("Q5_1"),
        "Q6_K" => named("Q8_0"),
        _ if kind.block_elements() > 32 => return None,
        _ => kind,
    };
    Some(if fits(other) { other } else { TensorType::F16 })
}

/// `llama_ftype_get_default_type`, for files that are quantised.
fn usual(file_type: FileType) -> Option<TensorType> {
    Some(named(match file_type.name() {
        "Q2_K_S" => "Q2_K",
        "Q3_K_S" | "Q3_K_M" | "Q3_K_L" => "Q3_K",
        "Q4_K_S" | "Q4_K_M" => "Q4_K",
        "Q5_K_S" | "Q5_K_M" => "Q5_K",
        "IQ2_S" => "IQ2_XS",
        "IQ2_M" => "IQ2_S",
        "IQ3_XS" | "IQ3_M" => "IQ3_S",
        "MXFP4_MOE" => "MXFP4",
        "F32" | "F16" | "BF16" | "NVFP4" => return None,
        same => same,
    }))
}

/// Returns a type that ggml has.
fn named(name: &str) -> TensorType {
    TensorType::from_name(name).unwrap_or(TensorType::F32)
}
