//! One request on its way through: what is changed in its head, and what its time-outs are.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::{
    body::{Relay, RequestBody, ResponseBody},
    drain::Drain,
    upgrade,
    upstream::{Lease, SendError, Upstream},
};

/// How long one request may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// When the whole request must have ended.
    pub deadline: Instant,
    /// When the answer must have begun, where that is limited.
    pub response_start: Option<Instant>,
    /// Longest gap between two frames of the answer.
    pub idle: Option<Duration>,
}

/// A request made ready to be sent.
#[derive(Debug)]
pub struct Hop {
    /// What is sent.
    pub request: Request<RequestBody>,
    /// The client's side of an upgrade, where it asks for one; it stays here until the answer comes.
    pub upgrade: Option<OnUpgrade>,
}

impl Timeouts {
    /// When the head of the answer must have come.
    pub fn head_due(&self) -> Instant {
        self.response_start.unwrap_or(self.deadline).min(self.deadline)
    }
}

impl Hop {
    /// Takes a client's request: removes what concerns only the client's connection, and appends the
    /// client's address to `X-Forwarded-For`.
    pub fn new(mut request: Request<Incoming>, peer: SocketAddr) -> Self {
        let upgrade = wanted_upgrade(&request);
        let on_upgrade = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        strip_hop_by_hop(request.headers_mut());
        if let Some(protocol) = upgrade {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(header::UPGRADE, protocol);
        }
        append_forwarded_for(request.headers_mut(), peer);
        if request.version() < Version::HTTP_2 {
            *request.version_mut() = Version::HTTP_11;
            to_origin_form(&mut request);
            // HTTP/1.0 knows requests without one; an empty one is what HTTP/1.1 has for them.
            request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static(""));
        }
        Self { request: request.map(RequestBody::from), upgrade: on_upgrade }
    }
}

/// Which limit a request ran into before its answer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimedOut {
    /// The whole request's.
    #[error("no answer within the request time-out")]
    Request,
    /// That of the answer's beginning.
    #[error("the answer did not begin within the response start time-out")]
    ResponseStart,
}

/// A request that did not get its answer's head.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The upstream failed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A limit passed.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// An answer whose head has come.
#[derive(Debug)]
pub struct Forwarded {
    response: Response<Incoming>,
    lease: Lease,
    timeouts: Timeouts,
}

/// Sends `request` to `upstream` and waits for the head of its answer.
///
/// # Errors
///
/// [`ForwardError::Send`] with [`SendError::NotSent`] holds the request, to be sent elsewhere.
pub async fn forward(
    upstream: &Arc<Upstream>,
    request: Request<RequestBody>,
    timeouts: Timeouts,
) -> Result<Forwarded, ForwardError> {
    let start = timeouts.head_due();
    match timeout_at(start, upstream.send(request)).await {
        Ok(Ok((response, lease))) => Ok(Forwarded { response, lease, timeouts }),
        Ok(Err(error)) => Err(error.into()),
        Err(_) if start < timeouts.deadline => Err(TimedOut::ResponseStart.into()),
        Err(_) => Err(TimedOut::Request.into()),
    }
}

/// A copy of a request that has no body, so that it can be sent again if it was not served.
pub fn copy_without_body(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Whether sending a request twice does no harm (RFC 9110, section 9.2.1).
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

impl Forwarded {
    /// The head of the answer.
    pub const fn response(&self) -> &Response<Incoming> {
        &self.response
    }

    /// The headers of the answer, to be changed before the client sees them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.response.headers_mut()
    }

    /// The answer, for the client. `guard` is dropped when the request has ended: with the last byte of
    /// the body, or when both sides of an upgraded connection have closed.
    pub fn into_response<G: Send + 'static>(
        self,
        upgrade: Option<OnUpgrade>,
        guard: G,
        drain: &Drain,
    ) -> Response<ResponseBody<G>> {
        let Self { mut response, lease, timeouts } = self;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return upgrade::switch(response, upgrade, guard, drain);
        }
        if response.version() < Version::HTTP_2 {
            // The version is each connection's own: an app's 1.0 would close the client's connection too.
            *response.version_mut() = Version::HTTP_11;
        }
        strip_hop_by_hop(response.headers_mut());
        response.map(|body| {
            ResponseBody::relayed(Relay::new(body, timeouts.deadline, timeouts.idle, lease), guard)
        })
    }
}

/// Headers that concern one connection only (RFC 9110, section 7.6.1).
/// `Trailer` is not among them: it announces trailers, which are relayed.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    // Never standard, still sent by some clients.
    HeaderName::from_static("proxy-connection"),
];

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            // gRPC needs it; it may be named, and is still the peer's next hop's business alone.
            if name != header::TE {
                headers.remove(name);
            }
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    let trailers = names_token(headers, &header::TE, "trailers");
    headers.remove(header::TE);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Whether any line of the list `name` has `token` as a member.
fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|member| member.trim().eq_ignore_ascii_case(token))
}

/// The protocol that an HTTP/1.1 request asks to switch to, if it asks for one properly.
fn wanted_upgrade(request: &Request<Incoming>) -> Option<HeaderValue> {
    let asks = request.version() == Version::HTTP_11
        && names_token(request.headers(), &header::CONNECTION, "upgrade");
    if asks { request.headers().get(header::UPGRADE).cloned() } else { None }
}

fn append_forwarded_for(headers: &mut HeaderMap, peer: SocketAddr) {
    const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
    let address = peer.ip().to_canonical().to_string();
    let before: Vec<&str> = headers.get_all(&NAME).iter().filter_map(|line| line.to_str().ok()).collect();
    let line = if before.is_empty() { address } else { format!("{}, {address}", before.join(", ")) };
    if let Ok(value) = HeaderValue::try_from(line) {
        headers.insert(NAME, value);
    }
}

/// `GET http://host/path` becomes `GET /path` with `Host: host` (RFC 9112, section 3.2.2).
fn to_origin_form<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority().cloned() else { return };
    // Without the user and password that a URL may hold: a Host has none.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::try_from(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            headers
        })
    }

    #[test]
    fn every_header_that_any_connection_line_names_is_removed() {
        let mut given = headers(&[
            ("connection", "close, x-one"),
            ("connection", "X-Two"),
            ("keep-alive", "timeout=5"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-two", "3"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-sum"),
            ("x-three", "stays"),
        ]);
        strip_hop_by_hop(&mut given);
        assert_eq!(given, headers(&[("trailer", "x-sum"), ("x-three", "stays"), ("te", "trailers")]));
    }

    #[test]
    fn the_client_is_appended_to_all_forwarded_for_lines() {
        let peer: SocketAddr = "[::ffff:10.0.0.9]:1234".parse().unwrap();
        let mut given = headers(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]);
        append_forwarded_for(&mut given, peer);
        assert_eq!(given, headers(&[("x-forwarded-for", "10.0.0.1, 10.0.0.2, 10.0.0.9")]));
    }

    #[test]
    fn a_proxy_style_target_becomes_a_path_and_a_host() {
        let mut request = Request::builder().uri("http://me:secret@a.example:8080/x?y=1").body(()).unwrap();
        to_origin_form(&mut request);
        assert_eq!(request.uri(), "/x?y=1");
        assert_eq!(request.headers()[header::HOST], "a.example:8080");
    }
}
