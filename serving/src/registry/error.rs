//! Why a registry has no digest for an image.

use std::{error::Error, time::Duration};

use http::StatusCode;
use thiserror::Error;

/// Why a registry has no digest for an image. The text is for the user, who sees it in a condition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// There is no connection.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// The reason.
        why: String,
    },
    /// It took too long.
    #[error("{host} did not answer within {within:?}")]
    Late {
        /// The registry.
        host: String,
        /// The time limit.
        within: Duration,
    },
    /// The image needs credentials, and there are none.
    #[error(
        "{host} does not let everybody read {repository}, or does not have it; check the name, or name a Secret in imagePullSecrets"
    )]
    Anonymous {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
    },
    /// All credentials were refused.
    #[error("{host} refused the credentials of the Revision's Secrets for {repository}")]
    Denied {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
    },
    /// The registry does not have the image.
    #[error("{host} has no image {repository}:{tag}")]
    NotFound {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
    },
    /// The registry limits the rate of requests.
    #[error("{host} takes no more requests for now (status 429)")]
    Busy {
        /// The registry.
        host: String,
    },
    /// The registry, or the server of its tokens, answered with another status.
    #[error("{host} answered with status {}", status.as_u16())]
    Answered {
        /// The host.
        host: String,
        /// The status.
        status: StatusCode,
    },
    /// An answer is not as the API of registries has it.
    #[error("{host} does not answer as a registry: {why}")]
    Invalid {
        /// The host.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl ResolveError {
    /// Returns whether other credentials may help.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Anonymous { .. } | Self::Denied { .. })
    }
}

/// Returns the innermost reason of an error; the outer ones repeat that a request failed.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
