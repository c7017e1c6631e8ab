//! Action records: what a key gave.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Artifact, Digest, Explained, Result, Store, StoreError};

/// What a key gave, published after all its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActionRecord {
    /// The key, with all that went into it.
    pub explained: Explained,
    /// The outputs by name.
    pub outputs: BTreeMap<String, Artifact>,
    /// Metrics and other values.
    pub fields: BTreeMap<String, Value>,
    /// Counted remarks, such as dropped records by reason.
    pub report: Vec<(String, u64)>,
    /// Where and how long it ran; never part of a key.
    pub provenance: Provenance,
}

/// Where and how long a run took place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provenance {
    /// tunesmith's version.
    pub tunesmith: String,
    /// Processor architecture and the vector instructions in use.
    pub isa: String,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Threads granted.
    pub threads: usize,
}

impl Store {
    /// Returns the record of `key`, from here or from the shared folder. Whether its objects are still there is
    /// another question.
    pub fn action(&self, key: &Digest) -> Result<Option<ActionRecord>> {
        let text = match (self.database.action(key)?, &self.remote) {
            (Some(text), _) => Some(text),
            (None, Some(remote)) => remote.action(key)?,
            (None, None) => None,
        };
        text.map(|text| parse(key, &text)).transpose()
    }

    /// Publishes a record; the first one of a key stays. `durable` returns only when a crash cannot lose it.
    pub fn publish(&self, key: &Digest, record: &ActionRecord, durable: bool) -> Result<()> {
        let text = serde_json::to_string(record)
            .map_err(|cause| StoreError::Unreadable { what: format!("action record {key}"), cause })?;
        self.database.put_action(*key, text)?;
        if durable { self.flush() } else { Ok(()) }
    }

    /// Copies a record to the shared folder, after its objects were pushed.
    pub fn push_action(&self, key: &Digest, record: &ActionRecord) -> Result<()> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let text = serde_json::to_string(record)
            .map_err(|cause| StoreError::Unreadable { what: format!("action record {key}"), cause })?;
        remote.put_action(key, &text)
    }

    /// Forgets a record whose objects are gone.
    pub fn drop_action(&self, key: &Digest) -> Result<()> {
        self.database.drop_action(key)
    }

    /// Returns a named state, such as the last key of a node, as JSON.
    pub fn state<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let text = self.database.state(name)?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|cause| StoreError::Unreadable { what: format!("state `{name}`"), cause })
    }

    /// Returns the named states below `prefix`, such as the last keys of all nodes; those of another form are left out.
    pub fn states<T: serde::de::DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>> {
        let texts = self.database.states(prefix)?;
        Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    /// Keeps a named state, such as the last key of a node, as JSON.
    pub fn put_state<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|cause| StoreError::Unreadable { what: format!("state `{name}`"), cause })?;
        self.database.put_state(name, text)
    }
}

fn parse(key: &Digest, text: &str) -> Result<ActionRecord> {
    serde_json::from_str(text).map_err(|cause| StoreError::Unreadable { what: format!("action record {key}"), cause })
}
