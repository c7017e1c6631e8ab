//! Values that must not be shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{NetError, Result};

/// A token. Nothing prints it: its `Debug` form is a mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a token, without white space around it.
    ///
    /// # Errors
    /// [`NetError::BadToken`] when it could not stand in a header.
    pub fn new(value: &str) -> Result<Self> {
        let value = value.trim();
        let fits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if fits { Ok(Self(value.to_owned())) } else { Err(NetError::BadToken) }
    }

    /// Returns the value of the header `authorization` that shows a token.
    pub(super) fn bearer(&self) -> Self {
        Self(format!("Bearer {}", self.0))
    }

    /// Returns the value of the header `authorization` that shows a name and this password.
    pub(super) fn basic(&self, name: &str) -> Self {
        Self(format!("Basic {}", BASE64.encode(format!("{name}:{}", self.0))))
    }

    /// Returns the text, to be sent.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns a digest that tells tokens apart without telling them.
    pub(super) fn digest(&self) -> blake3::Hash {
        blake3::derive_key("tunesmith net token", self.0.as_bytes()).into()
    }

    /// Masks the token wherever it stands in `text`.
    pub(super) fn masked(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(***)")
    }
}
