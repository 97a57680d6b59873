use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

/// Maximum length of a host, in bytes (RFC 1035, section 2.3.4, without the dots at both ends).
const MAX_NAME: usize = 253;
/// Maximum length of a label, in bytes.
const MAX_LABEL: usize = 63;

/// A host by which clients reach a service through the gateway: `hello.example.com`, or `*.example.com` for every
/// name below `example.com`. Always in lower case, like the hostname of a Gateway's listener.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Box<str>);

/// Why a text is not a valid host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAHost {
    /// It, or one of its labels, is longer than DNS allows.
    #[error("is too long for the name of a host")]
    TooLong,
    /// It has capital letters.
    #[error("is not in lower case")]
    Capital,
    /// It is an IP address, which certificates and listeners do not name.
    #[error("is an IP address")]
    Address,
    /// A `*` is not alone in the first label.
    #[error("has a * that is not its whole first label")]
    Wildcard,
    /// Another error.
    #[error("is not the name of a host")]
    Malformed,
}

impl Host {
    /// Returns the host as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a wildcard's suffix without its leading dot; `None` if the host is not a wildcard.
    pub fn parent(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Returns whether it matches every name that `other` matches.
    pub fn covers(&self, other: &Self) -> bool {
        match self.parent() {
            None => self == other,
            Some(parent) => {
                let name = other.parent().unwrap_or(other.as_str());
                let is_below = name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
                is_below || other.parent() == Some(parent)
            }
        }
    }
}

impl FromStr for Host {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        if text.len() > MAX_NAME || name.split('.').any(|label| label.len() > MAX_LABEL) {
            Err(NotAHost::TooLong)
        } else if text.parse::<IpAddr>().is_ok() {
            Err(NotAHost::Address)
        } else if name.contains('*') {
            Err(NotAHost::Wildcard)
        } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Err(NotAHost::Capital)
        } else if name.split('.').all(is_label) {
            Ok(Self(text.into()))
        } else {
            Err(NotAHost::Malformed)
        }
    }
}

fn is_label(label: &str) -> bool {
    let is_alphanumeric =
        |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    label.bytes().all(|byte| is_alphanumeric(Some(byte)) || byte == b'-')
        && is_alphanumeric(label.bytes().next())
        && is_alphanumeric(label.bytes().next_back())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_checked_as_those_of_a_listener() {
        let longest =
            [["a"; 63].concat(), ["b"; 63].concat(), ["c"; 63].concat(), ["d"; 61].concat()].join(".");
        for text in ["localhost", "hello.example.com", "*.example.com", "*.com", "a-1.b", "1.2.3.a", &longest]
        {
            assert_eq!(text.parse::<Host>().map(|host| host.to_string()), Ok(text.to_owned()));
        }
        for (text, why) in [
            ("", NotAHost::Malformed),
            ("*", NotAHost::Wildcard),
            ("*.", NotAHost::Malformed),
            ("*.*.com", NotAHost::Wildcard),
            ("a.*.com", NotAHost::Wildcard),
            ("*a.com", NotAHost::Wildcard),
            ("a..com", NotAHost::Malformed),
            ("a.com.", NotAHost::Malformed),
            ("-a.com", NotAHost::Malformed),
            ("a-.com", NotAHost::Malformed),
            ("a_b.com", NotAHost::Malformed),
            ("a.com:80", NotAHost::Malformed),
            ("http://a.com", NotAHost::Malformed),
            ("A.com", NotAHost::Capital),
            ("10.0.0.1", NotAHost::Address),
            ("::1", NotAHost::Address),
            (&["a"; 64].concat(), NotAHost::TooLong),
            (&format!("{longest}d"), NotAHost::TooLong),
        ] {
            assert_eq!(text.parse::<Host>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_wildcard_covers_every_name_below_and_not_its_parent() {
        for (wide, narrow, covers) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "*.a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "aexample.com", false),
            ("*.a.example.com", "*.example.com", false),
            ("example.com", "example.com", true),
            ("example.com", "a.example.com", false),
            ("example.com", "*.example.com", false),
        ] {
            assert_eq!(host(wide).covers(&host(narrow)), covers, "{wide} {narrow}");
        }
    }
}
