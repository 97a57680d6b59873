use http::StatusCode;
use thiserror::Error;

/// What is wrong with a message, as its sender is told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct Fault {
    /// The status that a client gets for it.
    pub status: StatusCode,
    /// The value of the header `ebb-reason`.
    pub reason: &'static str,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl Fault {
    /// The message is not HTTP/1.1.
    pub(crate) fn malformed(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: "malformed-request", text: text.into() }
    }

    /// It is unclear where the body ends: two hops could see different requests.
    pub(super) fn framing(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: "unclear-length", text: text.into() }
    }

    /// The head is larger than allowed.
    pub(super) fn too_large(text: String) -> Self {
        Self { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason: "head-too-large", text }
    }
}
