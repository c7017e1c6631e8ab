//! The element types of tensors, and the names of whole files' quantisations.

use std::fmt;

/// How a tensor's numbers are stored, by ggml's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorType(u32);

/// Number, name, elements in a block, bytes of a block (`ggml/src/ggml-common.h`).
const TENSOR_TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
    (42, "Q2_0", 64, 18),
];

impl TensorType {
    /// 32-bit floats.
    pub const F32: Self = Self(0);
    /// 16-bit IEEE floats.
    pub const F16: Self = Self(1);
    /// bfloat16.
    pub const BF16: Self = Self(30);
    /// Blocks of 32 numbers of 8 bits with one scale.
    pub const Q8_0: Self = Self(8);

    /// Returns the type with ggml's number, if it is one that ggml still reads.
    pub fn from_id(id: u32) -> Option<Self> {
        TENSOR_TYPES.iter().any(|entry| entry.0 == id).then_some(Self(id))
    }

    /// Returns the type with this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        TENSOR_TYPES.iter().find(|entry| entry.1.eq_ignore_ascii_case(name)).map(|entry| Self(entry.0))
    }

    /// Returns all types.
    pub fn all() -> impl Iterator<Item = Self> {
        TENSOR_TYPES.iter().map(|entry| Self(entry.0))
    }

    /// Returns ggml's number.
    pub const fn id(self) -> u32 {
        self.0
    }

    /// Returns the name in capitals, such as `Q4_K`.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Returns the number of elements that are stored together.
    pub fn block_elements(self) -> u64 {
        self.entry().2
    }

    /// Returns the bytes of one block.
    pub fn block_bytes(self) -> u64 {
        self.entry().3
    }

    /// Returns the bytes of `elements` numbers; nothing when they do not fill whole blocks or overflow.
    pub fn bytes(self, elements: u64) -> Option<u64> {
        let blocks = elements.checked_div(self.block_elements())?;
        if blocks * self.block_elements() == elements { blocks.checked_mul(self.block_bytes()) } else { None }
    }

    fn entry(self) -> (u32, &'static str, u64, u64) {
        // Values are only made from the table's rows.
        TENSOR_TYPES.iter().copied().find(|entry| entry.0 == self.0).unwrap_or(TENSOR_TYPES[0])
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a whole file is quantised: `general.file_type`, the names of `llama-quantize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType(u32);

/// Number and name (`enum llama_ftype`); the second name is how `llama-quantize` also calls it.
const FILE_TYPES: &[(u32, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
    (39, "NVFP4"),
    (40, "Q1_0"),
    (41, "Q2_0"),
];

impl FileType {
    /// 32-bit floats.
    pub const F32: Self = Self(0);
    /// 16-bit IEEE floats.
    pub const F16: Self = Self(1);
    /// bfloat16.
    pub const BF16: Self = Self(32);
    /// 8 bits, in blocks of 32.
    pub const Q8_0: Self = Self(7);

    /// Returns the type with llama.cpp's number.
    pub fn from_id(id: u32) -> Option<Self> {
        FILE_TYPES.iter().any(|entry| entry.0 == id).then_some(Self(id))
    }

    /// Returns the type with this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        FILE_TYPES.iter().find(|entry| entry.1.eq_ignore_ascii_case(name)).map(|entry| Self(entry.0))
    }

    /// Returns all types.
    pub fn all() -> impl Iterator<Item = Self> {
        FILE_TYPES.iter().map(|entry| Self(entry.0))
    }

    /// Returns llama.cpp's number.
    pub const fn id(self) -> u32 {
        self.0
    }

    /// Returns the name, such as `Q4_K_M`.
    pub fn name(self) -> &'static str {
        FILE_TYPES.iter().find(|entry| entry.0 == self.0).map_or("F32", |entry| entry.1)
    }

    /// Returns whether numbers are stored as they are, in 32 or 16 bits: nothing is quantised.
    pub fn is_float(self) -> bool {
        [Self::F32, Self::F16, Self::BF16].contains(&self)
    }

    /// Returns whether llama.cpp refuses to quantise to this type without an importance matrix.
    pub fn needs_importance(self) -> bool {
        ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "Q2_K_S", "IQ3_XXS", "IQ3_XS"].contains(&self.name())
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
