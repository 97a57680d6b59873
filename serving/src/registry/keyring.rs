//! Credentials for registries, as Secrets for pulling images have them.

use std::{collections::BTreeMap, fmt};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use crate::image::Image;

/// The key of a Secret of the type `kubernetes.io/dockerconfigjson`.
const CONFIG_JSON: &str = ".dockerconfigjson";
/// The key of a Secret of the type `kubernetes.io/dockercfg`.
const CONFIG: &str = ".dockercfg";
/// Docker Hub, and other names that its credentials have.
const DOCKER_HUB: &str = "index.docker.io";
const DOCKER_HUB_ALIASES: [&str; 2] = ["docker.io", "registry-1.docker.io"];
/// The most credentials that are tried for one image.
const MOST_TRIED: usize = 8;
/// Padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password, or a token in its place.
    pub password: String,
}

impl fmt::Debug for Credentials {
    /// Leaves the password out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Returns the value of the header `Authorization`.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", BASE64.encode(format!("{}:{}", self.username, self.password)))
    }
}

/// Credentials, each for a part of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring(Vec<(Scope, Credentials)>);

/// The images that credentials are for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    /// The host with its port, if any; a `*` stands for a part of a name between two dots.
    host: String,
    /// What the repository begins with.
    path: String,
}

#[derive(Deserialize)]
struct ConfigJson {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    username: Option<String>,
    password: Option<String>,
    /// Both, with a colon between them, in Base64.
    auth: Option<String>,
}

impl Keyring {
    /// Adds the credentials of a Secret for pulling images.
    ///
    /// # Errors
    ///
    /// Returns an error, in one sentence, if it has none or cannot be read. It does not contain what the Secret does.
    pub fn add(&mut self, secret: &Secret) -> Result<(), String> {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let data = secret.data.as_ref();
        let invalid = |_| format!("Secret {name:?} has credentials that are not valid JSON");
        let entries = if let Some(text) = data.and_then(|data| data.get(CONFIG_JSON)) {
            serde_json::from_slice::<ConfigJson>(&text.0).map_err(invalid)?.auths
        } else if let Some(text) = data.and_then(|data| data.get(CONFIG)) {
            serde_json::from_slice(&text.0).map_err(invalid)?
        } else {
            return Err(format!("Secret {name:?} has neither {CONFIG_JSON} nor {CONFIG}"));
        };
        let read = entries.into_iter().filter_map(|(key, entry)| Some((Scope::of(&key), entry.read()?)));
        self.0.extend(read);
        Ok(())
    }

    /// Returns the credentials for an image, those for the smallest part of the registry first, and otherwise in the
    /// order in which they were added.
    pub fn matching(&self, image: &Image) -> Vec<&Credentials> {
        let mut matching: Vec<_> = self.0.iter().filter(|(scope, _)| scope.has(image)).collect();
        matching.sort_by_key(|(scope, _)| std::cmp::Reverse((scope.path.len(), scope.host.len())));
        matching.into_iter().map(|(_, credentials)| credentials).take(MOST_TRIED).collect()
    }
}

impl Entry {
    fn read(self) -> Option<Credentials> {
        if let (Some(username), Some(password)) = (self.username, self.password)
            && !username.is_empty()
        {
            return Some(Credentials { username, password });
        }
        let both = BASE64.decode(self.auth?.trim()).ok()?;
        let both = String::from_utf8(both).ok()?;
        let (username, password) = both.split_once(':')?;
        let password = password.trim_end_matches(['\0', '\n']);
        Some(Credentials { username: username.to_owned(), password: password.to_owned() })
    }
}

impl Scope {
    /// Reads a key of the credentials: `registry.example.com/team`, perhaps with a scheme, or with the version of the
    /// API as the path's first part.
    fn of(key: &str) -> Self {
        let key = ["https://", "http://"].iter().find_map(|scheme| key.strip_prefix(scheme)).unwrap_or(key);
        let (host, path) = key.split_once('/').unwrap_or((key, ""));
        let path = ["v1", "v2"].iter().find_map(|version| path.strip_prefix(version)).unwrap_or(path);
        let host = host.to_ascii_lowercase();
        let host = if DOCKER_HUB_ALIASES.contains(&host.as_str()) { DOCKER_HUB.to_owned() } else { host };
        Self { host, path: path.trim_matches('/').to_owned() }
    }

    /// Returns whether it has the image, as the kubelet decides it.
    fn has(&self, image: &Image) -> bool {
        let split = |host: &str| match host.split_once(':') {
            Some((name, port)) => (name.to_owned(), port.to_owned()),
            None => (host.to_owned(), String::new()),
        };
        let registry = image.registry.to_ascii_lowercase();
        let ((pattern, wanted_port), (name, port)) = (split(&self.host), split(&registry));
        let parts = || pattern.split('.').zip(name.split('.'));
        wanted_port == port
            && pattern.split('.').count() == name.split('.').count()
            && parts().all(|(pattern, part)| matches(pattern, part))
            && image.repository.starts_with(&self.path)
    }
}

/// Returns whether `text` is what `pattern` says, in which a `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let starts = rest.char_indices().map(|(index, _)| index).chain([rest.len()]);
    starts.into_iter().any(|start| matches(after, &rest[start..]))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    fn secret(key: &str, text: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some("pull".to_owned());
        secret.data = Some(BTreeMap::from([(key.to_owned(), ByteString(text.as_bytes().to_vec()))]));
        secret
    }

    fn keyring(keys: &[&str]) -> Keyring {
        let entry = |key: &&str| ((*key).to_owned(), json!({"username": key, "password": "secret"}));
        let auths: serde_json::Map<String, Value> = keys.iter().map(entry).collect();
        let mut keyring = Keyring::default();
        keyring.add(&secret(CONFIG_JSON, &json!({ "auths": auths }).to_string())).unwrap();
        keyring
    }

    fn found(keys: &[&str], image: &str) -> Vec<String> {
        let image = Image::parse(image).unwrap();
        keyring(keys).matching(&image).into_iter().map(|one| one.username.clone()).collect()
    }

    #[test]
    fn credentials_are_for_their_registry_and_the_part_of_it_that_they_name() {
        for (key, image, is_for) in [
            ("reg.example.com", "reg.example.com/a/b", true),
            ("https://reg.example.com", "reg.example.com/a/b", true),
            ("https://REG.example.com/v2/", "reg.example.com/a/b", true),
            ("http://reg.example.com/", "reg.example.com/a/b", true),
            ("reg.example.com", "other.example.com/a/b", false),
            ("reg.example.com", "reg.example.com.evil.org/a/b", false),
            ("reg.example.com", "reg.example.com:5000/a/b", false),
            ("reg.example.com:5000", "reg.example.com:5000/a/b", true),
            ("reg.example.com/a", "reg.example.com/a/b", true),
            ("reg.example.com/v1/a", "reg.example.com/a/b", true),
            ("reg.example.com/b", "reg.example.com/a/b", false),
            ("*.example.com", "reg.example.com/a/b", true),
            ("*.example.com", "eu.reg.example.com/a/b", false),
            ("*.dkr.ecr.*.example.com", "1.dkr.ecr.eu.example.com/ab", true),
            ("r*g.example.com", "reg.example.com/ab", true),
            ("*", "reg.example.com/ab", false),
            ("https://index.docker.io/v1/", "nginx", true),
            ("docker.io", "shop/cart", true),
            ("docker.io/shop", "shop/cart", true),
            ("docker.io/library", "shop/cart", false),
        ] {
            assert_eq!(!found(&[key], image).is_empty(), is_for, "{key} {image}");
        }
    }

    #[test]
    fn the_credentials_of_the_smallest_part_come_first() {
        let keys = ["reg.example.com", "reg.example.com/a/b", "*.example.com", "reg.example.com/a"];
        assert_eq!(
            found(&keys, "reg.example.com/a/b:v1"),
            ["reg.example.com/a/b", "reg.example.com/a", "reg.example.com", "*.example.com"]
        );
    }

    #[test]
    fn both_forms_of_secrets_and_of_credentials_are_read() {
        let both = BASE64.encode("me:pass:word");
        for (key, text) in [
            (CONFIG, json!({"reg.example.com": {"auth": both}})),
            (CONFIG, json!({"reg.example.com": {"auth": both.trim_end_matches('='), "email": "x"}})),
            (CONFIG_JSON, json!({"auths": {"reg.example.com": {"auth": format!("{both}\n")}}})),
            (CONFIG_JSON, json!({"auths": {"reg.example.com": {"username": "me", "password": "pass:word"}}})),
            (
                CONFIG_JSON,
                json!({"auths": {"reg.example.com": {"username": "", "password": "", "auth": both}}}),
            ),
        ] {
            let mut keyring = Keyring::default();
            keyring.add(&secret(key, &text.to_string())).unwrap();
            let image = Image::parse("reg.example.com/ab").unwrap();
            let expected = Credentials { username: "me".to_owned(), password: "pass:word".to_owned() };
            assert_eq!(keyring.matching(&image), [&expected], "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_for_pulling_is_refused_without_its_content() {
        for (key, text, error) in [
            ("password", "{}", "Secret \"pull\" has neither .dockerconfigjson nor .dockercfg"),
            (CONFIG_JSON, "top secret", "Secret \"pull\" has credentials that are not valid JSON"),
            (CONFIG, "[\"top secret\"]", "Secret \"pull\" has credentials that are not valid JSON"),
        ] {
            assert_eq!(Keyring::default().add(&secret(key, text)), Err(error.to_owned()));
        }
        let mut keyring = Keyring::default();
        let odd =
            json!({"auths": {"a.example": {}, "b.example": {"auth": "%"}, "c.example": {"auth": "bm8="}}});
        keyring.add(&secret(CONFIG_JSON, &odd.to_string())).unwrap();
        assert_eq!(keyring, Keyring::default());
    }

    #[test]
    fn a_password_is_not_printed() {
        let text = format!("{:?}", keyring(&["reg.example.com"]));
        assert!(text.contains("reg.example.com") && !text.contains("secret"), "{text}");
    }
}
