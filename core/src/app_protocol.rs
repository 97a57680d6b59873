use std::str::FromStr;

use thiserror::Error;

/// The version of HTTP that an app speaks, as its owner declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge (h2c).
    Http2,
}

/// The error for a text that is not a version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("want http1 or h2c")]
pub struct UnknownProtocol;

impl AppProtocol {
    /// Returns its name in annotations and in the environment.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "h2c",
        }
    }
}

impl FromStr for AppProtocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        [Self::Http1, Self::Http2].into_iter().find(|protocol| protocol.word() == text).ok_or(UnknownProtocol)
    }
}
