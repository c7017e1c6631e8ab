//! Action records: what a key gave.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Artifact, Digest, Explained, Result, Store, StoreError};

/// What is known of a node that is fresh or has just been built.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its key.
    pub key: Digest,
    /// Its outputs by name.
    pub outputs: BTreeMap<String, Artifact>,
    /// Metrics and other values.
    pub fields: BTreeMap<String, Value>,
    /// Counted remarks.
    pub report: Vec<(String, u64)>,
}

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
    /// The device, where it was not the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Threads granted.
    pub threads: usize,
}

impl ActionRecord {
    /// Returns what later nodes look at.
    pub fn known(&self, key: Digest) -> Known {
        let (outputs, fields, report) = (self.outputs.clone(), self.fields.clone(), self.report.clone());
        Known { key, outputs, fields, report }
    }
}

impl Store {
    /// Returns the record of `key`, from here or from the shared folder. Whether its objects are still there is
    /// another question. A record that cannot be read counts as none: the next one takes its place.
    pub fn action(&self, key: &Digest) -> Result<Option<ActionRecord>> {
        Ok(self.local_action(key)?.or(self.remote_action(key)?))
    }

    /// Returns what `key` gave when all its bytes are there.
    pub fn hit(&self, key: &Digest) -> Result<Option<Arc<Known>>> {
        let warm = self.warm().hit(key);
        if let Some(known) = warm {
            // That its packed objects are there is as sure as the row; files can be deleted by anybody.
            if known.outputs.values().all(|artifact| self.is_still_here(artifact)) {
                return Ok(Some(known));
            }
            self.warm().drop_hit(key);
        }
        let Some(record) = self.hit_record(key)? else { return Ok(None) };
        let known = Arc::new(record.known(*key));
        if self.local_action(key)?.is_some() {
            self.warm().keep_hit(&known);
        }
        Ok(Some(known))
    }

    /// Returns the record of `key` when all its bytes are there: the one from here, else the shared folder's.
    pub fn hit_record(&self, key: &Digest) -> Result<Option<ActionRecord>> {
        if let Some(record) = self.local_action(key)?
            && self.has_outputs(&record)?
        {
            return Ok(Some(record));
        }
        match self.remote_action(key)? {
            Some(record) if self.has_outputs(&record)? => Ok(Some(record)),
            _ => Ok(None),
        }
    }

    fn has_outputs(&self, record: &ActionRecord) -> Result<bool> {
        for artifact in record.outputs.values() {
            if !self.has_artifact(artifact)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn local_action(&self, key: &Digest) -> Result<Option<ActionRecord>> {
        Ok(self.database.action(key)?.and_then(|text| parse(&text)))
    }

    fn remote_action(&self, key: &Digest) -> Result<Option<ActionRecord>> {
        let Some(remote) = &self.remote else { return Ok(None) };
        Ok(remote.action(key)?.and_then(|text| parse(&text)))
    }

    /// Returns whether there is a record of `key` here that cannot be read.
    pub(super) fn is_unreadable_action(&self, key: &Digest) -> Result<bool> {
        Ok(self.database.action(key)?.is_some_and(|text| parse(&text).is_none()))
    }

    /// Publishes a record in place of the one that may be there, which the caller, who holds the key's lock, found to be
    /// no hit. `durable` returns only when a crash cannot lose it.
    pub fn publish(&self, key: &Digest, record: &ActionRecord, durable: bool) -> Result<()> {
        let text = serde_json::to_string(record)
            .map_err(|cause| StoreError::Unreadable { what: format!("action record {key}"), cause })?;
        self.database.put_action(*key, text)?;
        self.warm().keep_hit(&Arc::new(record.known(*key)));
        self.trust(record.outputs.values());
        if durable { self.flush() } else { Ok(()) }
    }

    /// Copies a record to the shared folder, after its objects were pushed. The first one whose bytes are there stays.
    pub fn push_action(&self, key: &Digest, record: &ActionRecord) -> Result<()> {
        let Some(remote) = &self.remote else { return Ok(()) };
        if self.remote_action(key)?.is_some_and(|first| first.outputs.values().all(|output| remote.holds(output))) {
            return Ok(());
        }
        let text = serde_json::to_string(record)
            .map_err(|cause| StoreError::Unreadable { what: format!("action record {key}"), cause })?;
        remote.put_action(key, &text)
    }

    /// Forgets a record whose objects are gone.
    pub fn drop_action(&self, key: &Digest) -> Result<()> {
        self.warm().drop_hit(key);
        self.database.drop_action(key)
    }

    /// Returns the key that was last noted under `name` by [`Self::put_trace`].
    pub fn last_key(&self, name: &str) -> Result<Option<Digest>> {
        #[derive(Deserialize)]
        struct Last {
            key: Digest,
        }
        if let Some(key) = self.warm().last_key(name) {
            return Ok(Some(key));
        }
        let last: Option<Last> = self.state(name)?;
        if let Some(last) = &last {
            self.warm().keep_last_key(name, last.key);
        }
        Ok(last.map(|last| last.key))
    }

    /// Keeps a named state that has a field `key`, its own being `key`.
    pub fn put_trace<T: Serialize>(&self, name: &str, key: Digest, trace: &T) -> Result<()> {
        self.put_state(name, trace)?;
        self.warm().keep_last_key(name, key);
        Ok(())
    }

    /// Returns a named state, such as the last key of a node; one that cannot be read counts as none.
    pub fn state<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        Ok(self.database.state(name)?.and_then(|text| serde_json::from_str(&text).ok()))
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

fn parse(text: &str) -> Option<ActionRecord> {
    serde_json::from_str(text).ok()
}
