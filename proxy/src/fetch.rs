use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::{
    body::{Relay, RequestBody, ResponseBody},
    upstream::{Answered, SendError, Upstream},
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
    /// It switched protocols, which nobody asked for.
    #[error("the answer switches protocols although nobody asked for it")]
    Switched,
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
    let due = Instant::now() + within;
    timeout(within, async {
        let (head, body) = request.into_parts();
        let Answered::Whole(answer, borrowed) = upstream.send(&head, body.into()).await? else {
            return Err(FetchError::Switched);
        };
        let (head, body) = answer.into_parts();
        let body: ResponseBody<()> = ResponseBody::relayed(Relay::new(body, due, None, borrowed), ());
        let body = Limited::new(body, max_bytes).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLong(max_bytes)
            } else {
                FetchError::Body(error.to_string())
            }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    })
    .await
    .unwrap_or(Err(FetchError::TimedOut(within)))
}
