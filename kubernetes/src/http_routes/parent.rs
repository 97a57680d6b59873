use std::{fmt, str::FromStr};

/// Maximum length of the name of a Gateway or a listener.
const MAX_NAME: usize = 253;
/// Maximum length of the name of a namespace.
const MAX_NAMESPACE: usize = 63;

/// The Gateway that HTTPRoutes attach to, or one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) listener: Option<String>,
}

impl Parent {
    /// Parses the setting; an empty one means no Gateway.
    ///
    /// # Errors
    ///
    /// Returns an error that shows the format if `text` has another one.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, String> {
        match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some),
        }
    }
}

impl FromStr for Parent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (namespace, name, listener) = match parts[..] {
            [namespace, name] => (namespace, name, None),
            [namespace, name, listener] => (namespace, name, Some(listener)),
            _ => return Err(wanted(text)),
        };
        let is_namespace = namespace.len() <= MAX_NAMESPACE && is_label(namespace);
        if !is_namespace || !is_name(name) || !listener.is_none_or(is_name) {
            return Err(wanted(text));
        }
        let listener = listener.map(str::to_owned);
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), listener })
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        self.listener.iter().try_for_each(|listener| write!(f, "/{listener}"))
    }
}

fn wanted(text: &str) -> String {
    format!("{text:?} names no Gateway; want NAMESPACE/NAME, or NAMESPACE/NAME/LISTENER")
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    bytes.iter().all(|byte| is_alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_named_with_its_namespace_and_maybe_a_listener() {
        for text in ["infra/web", "infra/web.example", "infra/web/https"] {
            assert_eq!(Parent::read(text).unwrap().unwrap().to_string(), text);
        }
        for none in ["", " \n"] {
            assert_eq!(Parent::read(none), Ok(None));
        }
        let long = format!("infra/{}", "a".repeat(254));
        let other = format!("{}/web", "a".repeat(64));
        for bad in [
            "web",
            "infra/",
            "/web",
            "infra/web/",
            "a/b/c/d",
            "Infra/web",
            "in.fra/web",
            "a/-b",
            &long,
            &other,
        ] {
            let why = Parent::read(bad).unwrap_err();
            assert!(why.contains("want NAMESPACE/NAME, or NAMESPACE/NAME/LISTENER"), "{why}");
        }
    }
}
