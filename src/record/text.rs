//! The text of a record that was read and is not kept: it stays in the JSON that it was read from.
//!
//! Most records of a source are written as they were read, and most threads give no row: the escapes of a long text are
//! only taken out when somebody looks at it.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use super::quoted::{self, Escaped, Quoted};

/// A text, borrowed where that can be.
#[derive(Clone, Debug)]
pub struct Text<'a>(Form<'a>);

#[derive(Clone, Debug)]
enum Form<'a> {
    Borrowed(&'a str),
    Owned(String),
    /// In a place of its own: a record has a dozen texts of which one or two have escapes, and moves from hand to hand.
    Escaped(Box<Unread<'a>>),
}

/// A text that is read when somebody looks at it.
#[derive(Clone, Debug)]
struct Unread<'a> {
    escaped: Escaped<'a>,
    text: OnceCell<String>,
}

/// What the texts of records are.
pub trait RecordText: AsRef<str> {
    /// Returns the text's canonical JSON where that is at hand.
    fn canonical(&self) -> Option<&str>;
}

impl RecordText for String {
    fn canonical(&self) -> Option<&str> {
        None
    }
}

impl RecordText for Text<'_> {
    fn canonical(&self) -> Option<&str> {
        match &self.0 {
            Form::Escaped(unread) => Some(unread.escaped.json()),
            Form::Borrowed(_) | Form::Owned(_) => None,
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Form::Borrowed(text) => text,
            Form::Owned(text) => text,
            Form::Escaped(unread) => unread.text.get_or_init(|| unread.escaped.text()),
        }
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Default for Text<'_> {
    fn default() -> Self {
        "".into()
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<'a> From<Quoted<'a>> for Text<'a> {
    fn from(text: Quoted<'a>) -> Self {
        Self(match text {
            Quoted::Plain(text) => Form::Borrowed(text),
            Quoted::Escaped(escaped) => Form::Escaped(Box::new(Unread { escaped, text: OnceCell::new() })),
            Quoted::Read(text) => Form::Owned(text),
        })
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Form::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Form::Owned(text))
    }
}

impl From<Text<'_>> for String {
    fn from(text: Text<'_>) -> Self {
        match text.0 {
            Form::Borrowed(text) => text.to_owned(),
            Form::Owned(text) => text,
            Form::Escaped(unread) => unread.text.into_inner().unwrap_or_else(|| unread.escaped.text()),
        }
    }
}

/// Serde's own for `Cow` never borrows.
impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(text.into())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(text.to_owned().into())
            }
        }
        deserializer.deserialize_str(Of)
    }
}

/// A text that may be long, read from JSON: it is worth the look at what kind of string it is.
pub trait LongText<'de>: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// The deserializer's.
    fn long<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl<'de> LongText<'de> for String {
    fn long<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl<'de: 'a, 'a> LongText<'de> for Text<'a> {
    fn long<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        quoted::read(json).map(Self::from).map_err(|error| {
            // The place in the value is none in the line, which the deserializer adds.
            let error = error.to_string();
            D::Error::custom(error.rsplit_once(" at line ").map_or(error.as_str(), |(what, _)| what))
        })
    }
}
