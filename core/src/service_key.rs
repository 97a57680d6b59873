use std::{fmt, str::FromStr};

use thiserror::Error;

/// Identifies a service by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The Kubernetes namespace; `local` for services of `ebb run`.
    pub namespace: String,
    /// The name of the Service object.
    pub name: String,
}

/// The error for a text that does not name a service.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} does not name a service: want namespace/name, each of 1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-'"
)]
pub struct InvalidServiceKey(pub String);

impl ServiceKey {
    /// Creates a key from trusted names, without validation.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Returns whether `label` is an RFC 1123 label, as names of namespaces and Services are.
    pub fn is_valid_name(label: &str) -> bool {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ServiceKey {
    type Err = InvalidServiceKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('/')
            .filter(|(namespace, name)| Self::is_valid_name(namespace) && Self::is_valid_name(name))
            .map(|(namespace, name)| Self::new(namespace, name))
            .ok_or_else(|| InvalidServiceKey(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_what_it_prints() {
        let key = ServiceKey::new("default", "hello-1");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn names_that_are_no_labels_are_refused() {
        for text in ["", "/", "a", "a/", "/b", "A/b", "a/b/c", "a/-b", "a/b-", "a/b c"] {
            assert_eq!(text.parse::<ServiceKey>(), Err(InvalidServiceKey(text.to_owned())), "{text:?}");
        }
        assert!(!ServiceKey::is_valid_name(&"a".repeat(64)));
    }
}
