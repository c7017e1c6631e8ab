//! How a registry asks to log in: the header `www-authenticate`.

use std::collections::BTreeMap;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password, with each request.
    Basic,
    /// A token, which is fetched elsewhere.
    Bearer {
        /// Where.
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the header, of which several may have become one list. A token comes first, where both are offered.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let mut basic = None;
        for (scheme, mut parameters) in challenges(header) {
            match scheme.to_ascii_lowercase().as_str() {
                "bearer" => {
                    let realm = parameters.remove("realm").filter(|realm| !realm.is_empty())?;
                    let (service, scope) = (parameters.remove("service"), parameters.remove("scope"));
                    return Some(Self::Bearer { realm, service, scope });
                }
                "basic" => basic = Some(Self::Basic),
                _ => {}
            }
        }
        basic
    }
}

/// Returns each scheme with its parameters.
fn challenges(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header.trim_start_matches([',', ' ']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = value_of(value);
            if let Some((_, parameters)) = found.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = after;
        } else {
            found.push((word.to_owned(), BTreeMap::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([',', ' ']);
    }
    found
}

/// Returns a parameter's value, and what follows.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
            Some(Challenge::Bearer { realm: realm.into(), service, scope })
        };
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            Challenge::parse(docker),
            bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"))
        );
        assert_eq!(Challenge::parse(r#"Basic realm="Registry Realm""#), Some(Challenge::Basic));
        assert_eq!(
            Challenge::parse(r#"Basic realm="x, y", bearer realm="https://\"a\"/t", service=b"#),
            bearer("https://\"a\"/t", Some("b"), None)
        );
        for other in
            ["", "Negotiate", "Bearer", "Bearer realm=", "Digest realm=\"x\"", "=,=", "\"", "Bearer realm=\"open"]
        {
            let found = Challenge::parse(other);
            assert!(found.is_none() || found == bearer("open", None, None), "{other}: {found:?}");
        }
    }
}
