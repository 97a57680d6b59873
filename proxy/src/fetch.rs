use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use ebb_core::LateResponse;

use crate::{
    Timeouts,
    body::{Relay, RequestBody, ResponseBody},
    upstream::{Answered, SendError, Upstream},
};

/// Why a small response could not be fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The request got no response.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The response ended early.
    #[error("the answer broke off: {0}")]
    Body(String),
    /// The response was longer than the limit.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// The request and the response took too long.
    #[error("no whole answer within {0:?}")]
    TimedOut(Duration),
    /// The response switched protocols although nobody asked for it.
    #[error("the answer switches protocols although nobody asked for it")]
    Switched,
}

/// Sends `request`, one of Ebb's own with a small body or none, and reads a response of at most `max_bytes`.
///
/// # Errors
///
/// Returns [`FetchError`], which says how far the exchange got.
pub async fn fetch<B: Into<RequestBody>>(
    upstream: &Arc<Upstream>,
    request: Request<B>,
    max_bytes: usize,
    within: Duration,
) -> Result<Response<Bytes>, FetchError> {
    let timeouts = Timeouts {
        deadline: Instant::now() + within,
        response_start: None,
        idle: None,
        late: LateResponse::Cut,
    };
    timeout(within, async {
        let (head, body) = request.into_parts();
        let Answered::Whole(answer, borrowed) = upstream.send(&head, body.into()).await? else {
            return Err(FetchError::Switched);
        };
        let (head, body) = answer.into_parts();
        let body: ResponseBody<()> = ResponseBody::relayed(Relay::new(body, &timeouts, borrowed), ());
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
