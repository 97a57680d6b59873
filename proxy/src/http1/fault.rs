use http::StatusCode;
use thiserror::Error;

/// What is wrong with a message, as it is said to whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct Fault {
    /// What a client gets for it.
    pub status: StatusCode,
    /// The word for the header `ebb-reason`.
    pub reason: &'static str,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl Fault {
    /// Not HTTP/1.1.
    pub(crate) fn malformed(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: "malformed-request", text: text.into() }
    }

    /// Where a body ends is not clear: two hops could take it for different requests.
    pub(super) fn framing(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: "unclear-length", text: text.into() }
    }

    /// More head than is taken.
    pub(super) fn too_large(text: String) -> Self {
        Self { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason: "head-too-large", text }
    }
}
