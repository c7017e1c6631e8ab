//! Values that must not be shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{NetError, Result};

/// What an address holds in another form than its own.
const IN_ADDRESS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

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

    /// Returns a digest that tells tokens apart without telling them.
    pub(super) fn digest(&self) -> blake3::Hash {
        blake3::derive_key("tunesmith net token", self.0.as_bytes()).into()
    }

    /// Masks the token wherever it stands in `text`, as it is or as addresses hold it.
    fn masked(&self, text: &str) -> String {
        let encoded = utf8_percent_encode(&self.0, IN_ADDRESS).to_string();
        text.replace(&self.0, "***").replace(&encoded, "***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

/// A token with what stands for it in the header `authorization`.
#[derive(Clone, Debug)]
pub(super) struct Credential {
    secret: Secret,
    header: Secret,
}

impl Credential {
    /// Shows a token.
    pub(super) fn bearer(secret: Secret) -> Self {
        let header = Secret(format!("Bearer {}", secret.0));
        Self { secret, header }
    }

    /// Shows a name and its password.
    pub(super) fn basic(name: &str, secret: Secret) -> Self {
        let header = Secret(format!("Basic {}", BASE64.encode(format!("{name}:{}", secret.0))));
        Self { secret, header }
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the header's value, to be sent.
    pub(super) fn header(&self) -> &str {
        &self.header.0
    }

    /// Masks the token, and a name and its password in one, wherever they stand in `text`.
    pub(super) fn masked(&self, text: &str) -> String {
        let sent = self.header().split_once(' ').map_or(self.header(), |(_, sent)| sent);
        self.secret.masked(text).replace(sent, "***")
    }
}
