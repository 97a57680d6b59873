//! Requests to the API server, each with a deadline and counted.

use std::{fmt, sync::Arc, time::Duration};

use ebb_proxy::program::Panicked;
use kube::Client;
use tokio::time::timeout;

use crate::ApiMetrics;

/// Time limit for an answer of the API server.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Sends requests to the API server.
#[derive(Clone)]
pub struct Calls {
    /// The client.
    pub client: Client,
    /// Counts the outcomes.
    pub metrics: Arc<ApiMetrics>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server refused it.
    #[error("{what}: {}", in_words(source))]
    Api {
        /// What was requested.
        what: &'static str,
        /// The API server's error.
        #[source]
        source: kube::Error,
    },
    /// There was no answer.
    #[error("{0}: no answer within {ANSWER_WITHIN:?}")]
    TimedOut(&'static str),
    /// It panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl CallError {
    /// Returns whether the object has changed meanwhile. It must be read again, which is not a failure.
    pub fn is_conflict(&self) -> bool {
        self.has_code(409)
    }

    /// Returns whether the object does not exist.
    pub fn is_missing(&self) -> bool {
        self.has_code(404)
    }

    /// Whether we have no right to it.
    pub fn is_forbidden(&self) -> bool {
        self.has_code(403)
    }

    /// Returns whether the API server refuses the request as it is, and would refuse it again: an invalid object, or
    /// one that a policy, a quota or a missing right forbids.
    pub fn is_refusal(&self) -> bool {
        self.has_code(400) || self.has_code(403) || self.has_code(422)
    }

    fn has_code(&self, code: u16) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == code)
    }
}

impl Calls {
    /// Awaits `call`; `what` is its name in metrics and errors.
    ///
    /// # Errors
    ///
    /// Returns an error if the API server refuses the request, or does not answer in time.
    pub async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        let result = timeout(ANSWER_WITHIN, call).await.map_err(|_| CallError::TimedOut(what))?;
        self.metrics.called(what, &result);
        result.map_err(|source| CallError::Api { what, source })
    }
}

/// Returns the text of an error, as the API server words it.
pub fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
