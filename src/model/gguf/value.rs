//! Metadata values: thirteen types, read and written exactly.

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are the format's own type names")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array: elements of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The format's number of the element type.
    pub element: u32,
    /// The elements, all of that type.
    pub items: Vec<Value>,
}

impl Value {
    /// Returns an array of texts.
    pub fn strings(items: impl IntoIterator<Item = String>) -> Self {
        Self::Array(Array { element: 8, items: items.into_iter().map(Self::String).collect() })
    }

    /// Returns an array of signed 32-bit numbers.
    pub fn integers(items: impl IntoIterator<Item = i32>) -> Self {
        Self::Array(Array { element: 5, items: items.into_iter().map(Self::I32).collect() })
    }

    /// Returns an array of 32-bit floats.
    pub fn floats(items: impl IntoIterator<Item = f32>) -> Self {
        Self::Array(Array { element: 6, items: items.into_iter().map(Self::F32).collect() })
    }

    /// Returns the format's number of the value's type.
    pub fn type_id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// Returns the number when the value is one of the integer types and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::U8(number) => Some(u64::from(*number)),
            Self::U16(number) => Some(u64::from(*number)),
            Self::U32(number) => Some(u64::from(*number)),
            Self::U64(number) => Some(*number),
            Self::I8(number) => u64::try_from(*number).ok(),
            Self::I16(number) => u64::try_from(*number).ok(),
            Self::I32(number) => u64::try_from(*number).ok(),
            Self::I64(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Returns the text when the value is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the elements when the value is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(array) => Some(&array.items),
            _ => None,
        }
    }

    /// Appends the value without its type, in the file's little-endian form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(number) => out.push(*number),
            Self::I8(number) => out.extend(number.to_le_bytes()),
            Self::U16(number) => out.extend(number.to_le_bytes()),
            Self::I16(number) => out.extend(number.to_le_bytes()),
            Self::U32(number) => out.extend(number.to_le_bytes()),
            Self::I32(number) => out.extend(number.to_le_bytes()),
            Self::F32(number) => out.extend(number.to_le_bytes()),
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::String(text) => encode_text(text, out),
            Self::U64(number) => out.extend(number.to_le_bytes()),
            Self::I64(number) => out.extend(number.to_le_bytes()),
            Self::F64(number) => out.extend(number.to_le_bytes()),
            Self::Array(array) => {
                out.extend(array.element.to_le_bytes());
                out.extend((array.items.len() as u64).to_le_bytes());
                for item in &array.items {
                    item.encode(out);
                }
            }
        }
    }
}

/// Appends a text with its length in front.
pub(super) fn encode_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
