use std::{future::poll_fn, net::SocketAddr, pin::pin};

use ebb_proxy::{RequestBody, Timeouts, Upstream, UpstreamLimits, forward};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Body;
use tokio::time::Instant;

use super::attempt::NotReady;

/// Whoever asks is told by it who asks, as by the kubelet.
pub(super) const AGENT: &str = "kube-probe/ebb";

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Its beginning.
    pub(super) body: Vec<u8>,
    /// `None` where the body was not read to its end, or had none.
    pub(super) trailers: Option<HeaderMap>,
}

/// Sends `request` on a new connection, because that one can be made is what a probe must find out, and reads its
/// answer until it ends or has `enough` bytes.
pub(super) async fn exchange(
    address: SocketAddr,
    request: Request<RequestBody>,
    enough: usize,
    deadline: Instant,
) -> Result<Answer, NotReady> {
    let left = deadline.saturating_duration_since(Instant::now());
    let limits = UpstreamLimits { connect_timeout: left, max_idle: 0, ..UpstreamLimits::default() };
    let upstream = Upstream::new(address, limits);
    let timeouts = Timeouts { deadline, response_start: None, idle: None };
    let (head, body) = request.into_parts();
    let forwarded = forward(&upstream, &head, body, timeouts).await?;
    let (status, headers) = (forwarded.status(), forwarded.headers().clone());
    let mut answer = Answer { status, headers, body: Vec::new(), trailers: None };
    if status.is_informational() {
        // A protocol that nobody asked for: there is no body to read.
        return Ok(answer);
    }
    let response: Response<_> = forwarded.into_response(());
    let mut body = pin!(response.into_body());
    while answer.body.len() < enough {
        let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await else { break };
        match frame?.into_data() {
            Ok(data) => answer.body.extend_from_slice(&data),
            Err(other) => answer.trailers = other.into_trailers().ok(),
        }
    }
    Ok(answer)
}
