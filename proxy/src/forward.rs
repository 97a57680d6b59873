//! One request on its way through: what is changed in its head, and what its time-outs are.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::{fate::Fate, headers};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header, request};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::{
    body::{Relay, RequestBody, ResponseBody},
    http1::to_origin_form,
    reply::Reply,
    upstream::{Answered, SendError, Upstream},
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

/// A request made ready to be sent, as often as that is allowed.
#[derive(Debug)]
pub struct Hop {
    /// Its head.
    pub head: request::Parts,
    /// Its body. What is sent is a copy, so that it can be sent once more.
    pub body: RequestBody,
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
                // It is no expectation there (RFC 9110, section 10.1.1), and would be one in what is sent on.
                head.headers.remove(header::EXPECT);
            }
            // What has no host has it neither at the app, which has one for such requests.
            if head.headers.contains_key(header::HOST) {
                head.version = Version::HTTP_11;
            }
        }
        Self { head, body }
    }
}

/// Which limit a request ran into before its answer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimedOut {
    /// The whole request's.
    #[error("no response within the request timeout")]
    Request,
    /// That of the answer's beginning.
    #[error("the response did not start within the response start timeout")]
    ResponseStart,
}

/// A request that did not get its answer's head.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The upstream did not answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A limit passed.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

impl ForwardError {
    /// What became of the request. What was sent and had to wait for too long may have been seen.
    pub const fn fate(&self) -> Fate {
        match self {
            Self::Send(error) => error.fate,
            Self::TimedOut(_) => Fate::MaybeSent,
        }
    }
}

/// An answer whose head has come.
#[derive(Debug)]
pub struct Forwarded {
    answered: Answered,
    /// Whether the client asked to switch protocols.
    may_switch: bool,
    timeouts: Timeouts,
}

/// Sends the request of `head` and `body` to `upstream`, and waits for the head of its answer.
///
/// # Errors
///
/// [`ForwardError::fate`] says what became of the request.
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
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match &self.answered {
            Answered::Whole(answer, _) => answer.status(),
            Answered::Switched(answer, _) => answer.status(),
        }
    }

    /// The headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        match &self.answered {
            Answered::Whole(answer, _) => answer.headers(),
            Answered::Switched(answer, _) => answer.headers(),
        }
    }

    /// The headers of the answer, to be changed before the client sees them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        match &mut self.answered {
            Answered::Whole(answer, _) => answer.headers_mut(),
            Answered::Switched(answer, _) => answer.headers_mut(),
        }
    }

    /// Removes what an app says in Ebb's name.
    pub fn strip_claims(&mut self) {
        for name in [headers::REASON, headers::FATE] {
            self.headers_mut().remove(name);
        }
    }

    /// The answer, for the client. `guard` is dropped when the request has ended: with the last byte of
    /// the body, or when both sides of an upgraded connection have closed.
    pub fn into_response<G: Send + 'static>(self, guard: G) -> Response<ResponseBody<G>> {
        let Self { answered, may_switch, timeouts } = self;
        match answered {
            Answered::Whole(mut answer, borrowed) => {
                if answer.version() < Version::HTTP_2 {
                    // The version is each connection's own: an app's 1.0 would close the client's connection too.
                    *answer.version_mut() = Version::HTTP_11;
                }
                strip_hop_by_hop(answer.headers_mut());
                answer.map(|body| {
                    ResponseBody::relayed(Relay::new(body, timeouts.deadline, timeouts.idle, borrowed), guard)
                })
            }
            Answered::Switched(mut answer, upstream) if may_switch => {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                answer.map(|()| ResponseBody::switched(upstream, guard))
            }
            Answered::Switched(..) => {
                let text = "upstream switched protocols unasked";
                Reply::new(StatusCode::BAD_GATEWAY, "unasked-upgrade", text).into_response()
            }
        }
    }
}

/// Headers that concern one connection only (RFC 9110, section 7.6.1).
/// `Trailer` is not among them: it announces trailers, which are relayed.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    // With `Upgrade: h2c`, which ends here: such a tunnel would carry any number of requests past every limit.
    HeaderName::from_static("http2-settings"),
    // Never standard, still sent by some clients.
    HeaderName::from_static("proxy-connection"),
];

fn strip_hop_by_hop(fields: &mut HeaderMap) {
    if fields.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = members(fields, &header::CONNECTION)
            .filter_map(|member| HeaderName::from_bytes(member).ok())
            .collect();
        for name in named {
            // gRPC needs TE; it may be named, and is still the peer's next hop's business alone. A request that lost its
            // host on the way would be none.
            if name != header::TE && name != header::HOST {
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

/// Whether any line of the list `name` has `token` as a member.
pub(crate) fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    members(headers, name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
}

/// The members of all lines of the list `name`. One that is not ASCII is not what anybody asks about, and makes no
/// difference to those beside it.
fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// The protocol that an HTTP/1.1 request asks to switch to, if it asks for one properly. HTTP/2 is none of them: who
/// wants to speak it to us says so with its first byte.
fn wanted_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    let asks = head.version == Version::HTTP_11 && names_token(&head.headers, &header::CONNECTION, "upgrade");
    let protocol = head.headers.get(header::UPGRADE).filter(|_| asks)?;
    let members = protocol.to_str().ok()?.split(',').map(str::trim);
    let others: Vec<&str> =
        members.filter(|member| !member.is_empty() && !member.eq_ignore_ascii_case("h2c")).collect();
    if others.is_empty() { None } else { HeaderValue::try_from(others.join(", ")).ok() }
}

/// Lines before are kept byte for byte, whatever they are: who reads them knows what it was given.
fn append_forwarded_for(headers: &mut HeaderMap, peer: SocketAddr) {
    const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
    let address = peer.ip().to_canonical().to_string();
    let line = if headers.contains_key(&NAME) {
        let before = headers.get_all(&NAME).iter().map(HeaderValue::as_bytes);
        before.chain([address.as_bytes()]).collect::<Vec<_>>().join(&b", "[..])
    } else {
        address.into_bytes()
    };
    if let Ok(value) = HeaderValue::try_from(line) {
        headers.insert(NAME, value);
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
