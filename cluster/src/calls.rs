//! Questions to the API server, and writes: each with a deadline, and counted.

use std::{fmt, sync::Arc, time::Duration};

use ebb_proxy::program::Panicked;
use kube::Client;
use tokio::time::timeout;

use crate::ApiMetrics;

/// The API server must have answered by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks the API server.
#[derive(Clone)]
pub struct Calls {
    /// Speaks to it.
    pub client: Client,
    /// Counts what came of it.
    pub metrics: Arc<ApiMetrics>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

/// What did not come about.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server refused it.
    #[error("{what}: {}", in_words(source))]
    Api {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        #[source]
        source: kube::Error,
    },
    /// It did not answer.
    #[error("{0}: no answer within {ANSWER_WITHIN:?}")]
    TimedOut(&'static str),
    /// It was not carried out.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl CallError {
    /// Whether the object is another by now: to be read again, and no fault of anybody's.
    pub fn is_conflict(&self) -> bool {
        self.has_code(409)
    }

    /// Whether there is no such object.
    pub fn is_missing(&self) -> bool {
        self.has_code(404)
    }

    /// Whether we have no right to it.
    pub fn is_forbidden(&self) -> bool {
        self.has_code(403)
    }

    fn has_code(&self, code: u16) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == code)
    }
}

impl Calls {
    /// What comes of `call`; `what` names it in metrics and errors.
    ///
    /// # Errors
    ///
    /// When the API server refuses it, or does not answer in time.
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

/// What went wrong, as the API server says it.
pub fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
