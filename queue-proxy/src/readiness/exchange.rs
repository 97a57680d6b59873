use std::{future::poll_fn, net::SocketAddr, pin::pin};

use ebb_core::LateResponse;
use ebb_proxy::{RequestBody, Timeouts, Upstream, UpstreamLimits, forward};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Body;
use tokio::time::Instant;

use super::attempt::NotReady;

/// The user agent of probes, similar to the kubelet's.
pub(super) const AGENT: &str = "kube-probe/ebb";

/// The response to a probe.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The beginning of the body.
    pub(super) body: Vec<u8>,
    /// `None` if the body was not read completely, or had no trailers.
    pub(super) trailers: Option<HeaderMap>,
}

/// Sends `request` on a new connection, because a probe must also find out whether the app accepts one. Reads the
/// response until it ends or has `enough` bytes.
pub(super) async fn exchange(
    address: SocketAddr,
    request: Request<RequestBody>,
    enough: usize,
    deadline: Instant,
) -> Result<Answer, NotReady> {
    let left = deadline.saturating_duration_since(Instant::now());
    let limits = UpstreamLimits { connect_timeout: left, max_idle: 0, ..UpstreamLimits::default() };
    let upstream = Upstream::new(address, limits);
    let timeouts = Timeouts { deadline, response_start: None, idle: None, late: LateResponse::Cut };
    let (head, body) = request.into_parts();
    let forwarded = forward(&upstream, &head, body, timeouts).await?;
    let (status, headers) = (forwarded.status(), forwarded.headers().clone());
    let mut answer = Answer { status, headers, body: Vec::new(), trailers: None };
    if status.is_informational() {
        // The app switched protocols although nobody asked for it: there is no body to read.
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
