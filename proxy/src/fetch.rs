use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    body::RequestBody,
    upstream::{SendError, Upstream},
};

/// A small answer that could not be fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The request got no answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Body(String),
    /// The answer was longer than its bound.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// It all took too long.
    #[error("no whole answer within {0:?}")]
    TimedOut(Duration),
}

/// Sends `request`, one of our own with a small body or none, and reads an answer of at most `max_bytes`.
///
/// # Errors
///
/// [`FetchError`] says how far it came.
pub async fn fetch<B: Into<RequestBody>>(
    upstream: &Arc<Upstream>,
    request: Request<B>,
    max_bytes: usize,
    within: Duration,
) -> Result<Response<Bytes>, FetchError> {
    timeout(within, async {
        let (response, lease) = upstream.send(request.map(Into::into)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, max_bytes).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLong(max_bytes)
            } else {
                FetchError::Body(error.to_string())
            }
        })?;
        lease.give_back();
        Ok(Response::from_parts(head, body.to_bytes()))
    })
    .await
    .unwrap_or(Err(FetchError::TimedOut(within)))
}
