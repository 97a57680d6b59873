//! Forwards one request: changes its head and applies its timeouts.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::{LateResponse, fate::Fate, headers};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header, request};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::{
    body::{Relay, RequestBody, ResponseBody},
    http1::to_origin_form,
    reply::Reply,
    upstream::{Answered, SendError, Upstream},
};

/// The timeouts of one request.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// When the whole request must have ended.
    pub deadline: Instant,
    /// When the response must have started, if that is limited.
    pub response_start: Option<Instant>,
    /// Longest allowed gap between two frames of the response.
    pub idle: Option<Duration>,
    /// What becomes of a response that has begun when its time is over.
    pub late: LateResponse,
}

/// A request that is ready to be sent, as often as that is allowed.
#[derive(Debug)]
pub struct Hop {
    /// The head.
    pub head: request::Parts,
    /// The body. Copies of it are sent, so that it can be sent again.
    pub body: RequestBody,
}

impl Timeouts {
    /// Returns when the head of the response must have arrived.
    pub fn head_due(&self) -> Instant {
        self.response_start.unwrap_or(self.deadline).min(self.deadline)
    }
}

impl Hop {
    /// Prepares a client's request: removes what concerns only the client's connection, and appends the client's
    /// address to `X-Forwarded-For`.
    pub fn new(request: Request<RequestBody>, peer: SocketAddr) -> Self {
        let (mut head, body) = request.into_parts();
        let upgrade = wanted_upgrade(&head);
        strip_hop_by_hop(&mut head.headers);
        if let Some(protocol) = upgrade {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(header::UPGRADE, protocol);
        }
        append_forwarded_for(&mut head.headers, peer);
        if head.version < Version::HTTP_2 {
            to_origin_form(&mut head);
            if head.version == Version::HTTP_10 {
                // HTTP/1.0 has no expectations (RFC 9110, section 10.1.1), but the request that is sent on would have
                // one.
                head.headers.remove(header::EXPECT);
            }
            // Send a request without a host on without one: the app has a default for it.
            if head.headers.contains_key(header::HOST) {
                head.version = Version::HTTP_11;
            }
        }
        Self { head, body }
    }
}

/// Which limit passed before the response started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimedOut {
    /// The limit of the whole request.
    #[error("no response within the request timeout")]
    Request,
    /// The limit until the response starts.
    #[error("the response did not start within the response start timeout")]
    ResponseStart,
}

/// Why a request got no response head.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The upstream did not respond.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A limit passed.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

impl ForwardError {
    /// Returns what became of the request. A request that timed out after it was sent may have been seen.
    pub const fn fate(&self) -> Fate {
        match self {
            Self::Send(error) => error.fate,
            Self::TimedOut(_) => Fate::MaybeSent,
        }
    }
}

/// A response whose head has arrived.
#[derive(Debug)]
pub struct Forwarded {
    answered: Answered,
    /// Whether the client asked to switch protocols.
    may_switch: bool,
    timeouts: Timeouts,
}

/// Sends the request of `head` and `body` to `upstream`, and waits for the head of the response.
///
/// # Errors
///
/// Returns [`ForwardError`]; its [`ForwardError::fate`] says what became of the request.
pub async fn forward(
    upstream: &Arc<Upstream>,
    head: &request::Parts,
    body: RequestBody,
    timeouts: Timeouts,
) -> Result<Forwarded, ForwardError> {
    let start = timeouts.head_due();
    let may_switch = head.headers.contains_key(header::UPGRADE);
    match timeout_at(start, upstream.send(head, body)).await {
        Ok(Ok(answered)) => Ok(Forwarded { answered, may_switch, timeouts }),
        Ok(Err(error)) => Err(error.into()),
        Err(_) if start < timeouts.deadline => Err(TimedOut::ResponseStart.into()),
        Err(_) => Err(TimedOut::Request.into()),
    }
}

impl Forwarded {
    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        match &self.answered {
            Answered::Whole(answer, _) => answer.status(),
            Answered::Switched(answer, _) => answer.status(),
        }
    }

    /// Returns the headers of the response.
    pub fn headers(&self) -> &HeaderMap {
        match &self.answered {
            Answered::Whole(answer, _) => answer.headers(),
            Answered::Switched(answer, _) => answer.headers(),
        }
    }

    /// Returns the headers of the response, to change them before the client sees them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        match &mut self.answered {
            Answered::Whole(answer, _) => answer.headers_mut(),
            Answered::Switched(answer, _) => answer.headers_mut(),
        }
    }

    /// Removes headers from the app that are reserved for Ebb.
    pub fn strip_claims(&mut self) {
        for name in [headers::REASON, headers::FATE] {
            self.headers_mut().remove(name);
        }
    }

    /// Returns the response for the client. `guard` is dropped when the request has ended: with the last byte of the
    /// body, or when both sides of an upgraded connection have closed.
    pub fn into_response<G: Send + 'static>(self, guard: G) -> Response<ResponseBody<G>> {
        let Self { answered, may_switch, timeouts } = self;
        match answered {
            Answered::Whole(mut answer, borrowed) => {
                if answer.version() < Version::HTTP_2 {
                    // The version is a property of each connection: 1.0 from the app would close the client's
                    // connection, too.
                    *answer.version_mut() = Version::HTTP_11;
                }
                strip_hop_by_hop(answer.headers_mut());
                answer.map(|body| ResponseBody::relayed(Relay::new(body, &timeouts, borrowed), guard))
            }
            Answered::Switched(mut answer, upstream) if may_switch => {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                answer.map(|()| ResponseBody::switched(upstream, guard))
            }
            Answered::Switched(..) => {
                let text = "upstream switched protocols although nobody asked for it";
                Reply::new(StatusCode::BAD_GATEWAY, "unasked-upgrade", text).into_response()
            }
        }
    }
}

/// Headers that concern one connection only (RFC 9110, section 7.6.1). `Trailer` is not one of them: it announces
/// trailers, which are relayed.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    // It comes with `Upgrade: h2c`, which is not passed on: such a tunnel would carry any number of requests past
    // every limit.
    HeaderName::from_static("http2-settings"),
    // Never standardized, but still sent by some clients.
    HeaderName::from_static("proxy-connection"),
];

/// Headers that `Connection` may name and that are passed on all the same.
static STAY_THOUGH_NAMED: [HeaderName; 7] = [
    // gRPC needs it; it may be named, and is still the peer's next hop's business alone.
    header::TE,
    // A request that lost its host on the way would be none.
    header::HOST,
    // What proxies on the way said of a client: it could have that removed by naming it here.
    header::FORWARDED,
    X_FORWARDED_FOR,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-request-id"),
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn strip_hop_by_hop(fields: &mut HeaderMap) {
    if fields.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = members(fields, &header::CONNECTION)
            .filter_map(|member| HeaderName::from_bytes(member).ok())
            .collect();
        for name in named {
            if !STAY_THOUGH_NAMED.contains(&name) {
                fields.remove(name);
            }
        }
    }
    let trailers = names_token(fields, &header::TE, "trailers");
    headers::remove_all(fields, &HOP_BY_HOP);
    if trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Returns whether any line of the list header `name` contains `token`.
pub(crate) fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    members(headers, name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns the members of all lines of the list header `name`. Members that are not ASCII are skipped.
fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Returns the protocol that an HTTP/1.1 request properly asks to switch to. HTTP/2 does not count: clients that want
/// it send its preface.
fn wanted_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    let asks = head.version == Version::HTTP_11 && names_token(&head.headers, &header::CONNECTION, "upgrade");
    let protocol = head.headers.get(header::UPGRADE).filter(|_| asks)?;
    let members = protocol.to_str().ok()?.split(',').map(str::trim);
    let others: Vec<&str> =
        members.filter(|member| !member.is_empty() && !member.eq_ignore_ascii_case("h2c")).collect();
    if others.is_empty() { None } else { HeaderValue::try_from(others.join(", ")).ok() }
}

/// Existing lines are kept byte for byte, because only their reader knows what they contain.
fn append_forwarded_for(headers: &mut HeaderMap, peer: SocketAddr) {
    let address = peer.ip().to_canonical().to_string();
    let line = if headers.contains_key(&X_FORWARDED_FOR) {
        let before = headers.get_all(&X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        before.chain([address.as_bytes()]).collect::<Vec<_>>().join(&b", "[..])
    } else {
        address.into_bytes()
    };
    if let Ok(value) = HeaderValue::try_from(line) {
        headers.insert(X_FORWARDED_FOR, value);
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
    fn what_was_said_of_a_client_stays_though_it_names_that() {
        let lines = [("forwarded", "for=10.0.0.1"), ("x-forwarded-proto", "https"), ("x-request-id", "1")];
        let mut given = headers(&lines);
        given
            .insert(header::CONNECTION, "close, Forwarded, X-Forwarded-Proto, x-request-id".parse().unwrap());
        strip_hop_by_hop(&mut given);
        assert_eq!(given, headers(&lines));
    }

    #[test]
    fn the_client_is_appended_to_all_forwarded_for_lines() {
        let peer: SocketAddr = "[::ffff:10.0.0.9]:1234".parse().unwrap();
        let mut given = headers(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]);
        append_forwarded_for(&mut given, peer);
        assert_eq!(given, headers(&[("x-forwarded-for", "10.0.0.1, 10.0.0.2, 10.0.0.9")]));
    }

    #[test]
    fn a_forwarded_for_line_keeps_bytes_that_are_not_ascii() {
        let mut given = HeaderMap::new();
        given.insert("x-forwarded-for", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        append_forwarded_for(&mut given, "10.0.0.9:1".parse().unwrap());
        assert_eq!(given["x-forwarded-for"].as_bytes(), b"caf\xe9, 10.0.0.9");
    }

    #[test]
    fn http2_is_no_protocol_to_switch_to() {
        for (upgrade, want) in [
            ("websocket", Some("websocket")),
            ("h2c", None),
            ("H2C, websocket", Some("websocket")),
            ("", None),
        ] {
            let request = Request::get("/").header("connection", "Upgrade, HTTP2-Settings");
            let (head, ()) = request.header("upgrade", upgrade).body(()).unwrap().into_parts();
            let got = wanted_upgrade(&head);
            assert_eq!(got.as_ref().map(|value| value.to_str().unwrap()), want, "{upgrade:?}");
        }
    }
}
