//! Whose token it is, and whether that one may write: what the hub says of itself, before anything is sent.

use serde::Deserialize;

use super::error::HubError;
use super::hub::Hub;
use crate::net::Request;

/// The permission of a token for chosen places that lets repositories be written.
const WRITES: &str = "repo.write";

#[derive(Deserialize)]
struct Account {
    name: String,
    #[serde(default)]
    orgs: Vec<Organization>,
    auth: Option<Auth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Organization {
    name: String,
    role_in_org: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Auth {
    access_token: Option<AccessToken>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessToken {
    role: Option<String>,
    fine_grained: Option<FineGrained>,
}

#[derive(Deserialize)]
struct FineGrained {
    #[serde(default)]
    scoped: Vec<Scope>,
}

#[derive(Deserialize)]
struct Scope {
    #[serde(default)]
    permissions: Vec<String>,
}

impl Hub<'_, '_> {
    /// Refuses a token that cannot write to the repository, as far as the hub tells. One that does not speak of accounts is
    /// believed.
    pub(super) fn may_write(&self) -> Result<(), HubError> {
        let response = self.ask(&Request::get(self.url("/api/whoami-v2")?).json().takes(&[404]))?;
        if response.status == 404 {
            return Ok(());
        }
        let owner = self.repo.split('/').next().unwrap_or_default();
        match response.json::<Account>()?.refusal(owner) {
            Some(why) => Err(self.no_right(why)),
            None => Ok(()),
        }
    }
}

impl Account {
    /// Returns why this one writes to no repository of `owner`.
    fn refusal(&self, owner: &str) -> Option<String> {
        let token = self.auth.as_ref().and_then(|auth| auth.access_token.as_ref());
        if token.and_then(|token| token.role.as_deref()) == Some("read") {
            return Some("it may only read".into());
        }
        let rights = token.and_then(|token| token.fine_grained.as_ref());
        if let Some(FineGrained { scoped }) = rights {
            // Which places it is for the hub itself tells best.
            let writes = scoped.iter().any(|scope| scope.permissions.iter().any(|right| right == WRITES));
            return (!writes).then(|| format!("it has the right `{WRITES}` nowhere"));
        }
        if self.name == owner {
            return None;
        }
        match self.orgs.iter().find(|organization| organization.name == owner) {
            None => Some(format!("it is one of `{}`, who is no member of `{owner}`", self.name)),
            Some(found) if found.role_in_org.as_deref() == Some("read") => {
                Some(format!("it is one of `{}`, who may only read what `{owner}` has", self.name))
            }
            Some(_) => None,
        }
    }
}

/// Reads whose a token is, for the fuzz target.
pub(super) fn read_account(bytes: &[u8]) {
    if let Ok(account) = serde_json::from_slice::<Account>(bytes) {
        drop(account.refusal("team"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(account: &Value) -> Option<String> {
        serde_json::from_value::<Account>(account.clone()).unwrap().refusal("team")
    }

    #[test]
    fn who_may_not_write_is_told_by_role_owner_and_scope() {
        let token =
            |role: &str| json!({"name": "team", "auth": {"type": "access_token", "accessToken": {"role": role}}});
        assert_eq!(refusal(&token("write")), None);
        assert_eq!(refusal(&token("read")).unwrap(), "it may only read");
        let member = |role: &str| json!({"name": "me", "orgs": [{"name": "team", "roleInOrg": role}]});
        assert_eq!(refusal(&member("contributor")), None);
        assert!(refusal(&member("read")).unwrap().contains("only read what `team` has"));
        assert!(refusal(&json!({"name": "me"})).unwrap().contains("no member of `team`"));
        let scoped = |right: &str| {
            let rights = json!({"global": [], "scoped": [{"entity": {"name": "team"}, "permissions": [right]}]});
            json!({"name": "me", "auth": {"accessToken": {"role": "fineGrained", "fineGrained": rights}}})
        };
        assert_eq!(refusal(&scoped("repo.write")), None);
        assert!(refusal(&scoped("repo.content.read")).unwrap().contains("`repo.write` nowhere"));
    }
}
