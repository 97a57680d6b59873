use std::str::FromStr;

use thiserror::Error;

/// The version of HTTP that an app speaks, as far as its owner says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge (h2c).
    Http2,
}

/// A text that names no version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("want http1 or h2c")]
pub struct UnknownProtocol;

impl AppProtocol {
    /// Returns the word for it in annotations and in the environment.
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
