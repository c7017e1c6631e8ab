//! `filter.scrub`: secrets and personal data go before a model learns them.
//!
//! What is found is masked by a placeholder, drops its row, or is kept, by class. It finds what has a form; names of people
//! and passwords in sentences have none.

mod entropy;
mod find;
mod named;
#[cfg(test)]
mod tests;

use globset::GlobSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::find::{Class, find};
use super::rows::{self, Fate};
use crate::node::{Kind, KindInfo, NodeError, Outcome, Run, SettingProblem, settings};
use crate::record::{Conversation, Counts, Role};

/// The kind.
#[derive(Debug)]
pub(super) struct Scrub;

/// History: 1, the first; 2, what stands behind a secret's name.
const VERSION: u32 = 2;

static INFO: KindInfo = rows::info(
    "scrub",
    VERSION,
    "rows without secrets and personal data: tokens, keys, e-mail and IP addresses, phone numbers",
);

/// Settings of `filter.scrub`. Each class is masked, drops its row, or is kept.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Tokens of well-known services (GitHub, GitLab, AWS, Google, Slack, npm, `PyPI`, Hugging Face, `OpenAI`, …) and JSON
    /// Web Tokens: `<TOKEN>`.
    #[serde(default)]
    tokens: Policy,
    /// Private keys in PEM, or in base64 as Kubernetes has them: `<PRIVATE-KEY>`.
    #[serde(default)]
    private_keys: Policy,
    /// User and password in a URL: `<LOGIN>`. Those that only show where one would stand, as `user:password`, are none.
    #[serde(default)]
    logins: Policy,
    /// Strings that only chance makes: `<SECRET>`. Digests, UUIDs, certificates, public keys and what is in a URL are none.
    #[serde(default)]
    high_entropy: Policy,
    /// How many bits a character of such a string has at least, from 2 to 6.
    #[serde(default = "default_entropy")]
    #[schemars(range(min = 2.0, max = 6.0))]
    min_entropy: f64,
    /// E-mail addresses: `<EMAIL>`. Those of reserved domains such as `example.com` are none.
    #[serde(default)]
    email_addresses: Policy,
    /// Public IP addresses: `<IP-ADDRESS>`. Private, local and documentation ranges, versions, and public resolvers are none.
    #[serde(default)]
    ip_addresses: Policy,
    /// Phone numbers in international or American form: `<PHONE-NUMBER>`.
    #[serde(default)]
    phone_numbers: Policy,
    /// Globs of what may stay, whatever its class, such as `*@linkerd.io`; case does not matter.
    #[serde(default)]
    allow: Vec<String>,
}

/// What is done with something found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    /// A placeholder takes its place.
    #[default]
    Mask,
    /// The row is dropped.
    Drop,
    /// It stays.
    Keep,
}

const fn default_entropy() -> f64 {
    3.7
}

impl Settings {
    const fn policy(&self, class: Class) -> Policy {
        match class {
            Class::Token => self.tokens,
            Class::PrivateKey => self.private_keys,
            Class::Login => self.logins,
            Class::Entropy => self.high_entropy,
            Class::Email => self.email_addresses,
            Class::IpAddress => self.ip_addresses,
            Class::PhoneNumber => self.phone_numbers,
        }
    }
}

impl Kind for Scrub {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = settings::canonical::<Settings>(settings)?;
        let mut problems = settings::glob_problems("allow", &value["allow"]);
        if value["min-entropy"].as_f64().is_none_or(|bits| !(2.0..=6.0).contains(&bits)) {
            problems
                .push(settings::out_of_range(&["min-entropy"], "bits a character, from 2 to 6; 3.7 is the default"));
        }
        settings::accepted(value, problems)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let allowed = rows::globs(run, &settings.allow, |glob| {
            glob.case_insensitive(true);
        })?;
        let rows = rows::merged(run, run.inputs())?;
        let scope = format!("filter.scrub {VERSION} {}", run.job.settings);
        rows::decide(run, &rows, &scope, |row, counts| scrubbed(row, &settings, &allowed, counts))
    }
}

/// Scrubs a row. The system prompt is the user's own and stays as it is.
fn scrubbed(row: &Conversation, settings: &Settings, allowed: &GlobSet, counts: &mut Counts) -> Fate {
    let mut row = row.clone();
    let mut is_edited = false;
    let mut found = Counts::default();
    for turn in row.turns.iter_mut().filter(|turn| turn.role != Role::System) {
        let mut text = String::new();
        let mut at = 0;
        for finding in find(&turn.text, settings.min_entropy) {
            let words = finding.class.words();
            let what = turn.text[finding.range.clone()].trim_matches(['<', '>']);
            match settings.policy(finding.class) {
                _ if allowed.is_match(what) => found.add(format!("allowed: {words}"), 1),
                Policy::Keep => found.add(format!("kept: {words}"), 1),
                Policy::Drop => {
                    counts.add(format!("dropped row: {words} in it"), 1);
                    return Fate::Dropped;
                }
                Policy::Mask => {
                    found.add(format!("masked: {words}"), 1);
                    text.push_str(&turn.text[at..finding.range.start]);
                    text.push_str(finding.class.placeholder());
                    at = finding.range.end;
                }
            }
        }
        if at > 0 {
            text.push_str(&turn.text[at..]);
            turn.text = text;
            is_edited = true;
        }
    }
    counts.add_all(&found);
    if is_edited {
        counts.add("rows with something masked", 1);
        Fate::Edited(row)
    } else {
        Fate::Kept
    }
}
