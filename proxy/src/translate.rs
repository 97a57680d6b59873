//! Sends a request on in another version of HTTP than it came in, for an app that speaks only one.
//!
//! Bodies, trailers and interim responses need nothing: each connection frames them in its own way.

use ebb_core::AppProtocol;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request};

use crate::{forward::names_token, http1::is_target_in_uri, interim::Interims};

/// Has the request of `head` sent in the version that the app speaks.
///
/// Some requests only make sense in one version, and stay as they are: gRPC needs HTTP/2, an upgrade and a target that
/// is no URI need HTTP/1.1, and so does a request without a host.
pub fn speak(head: &mut request::Parts, protocol: AppProtocol) {
    match (protocol, head.version) {
        (AppProtocol::Http1, Version::HTTP_2) if !is_grpc(head) => to_http1(head),
        (AppProtocol::Http2, Version::HTTP_11) if can_be_http2(head) => head.version = Version::HTTP_2,
        _ => {}
    }
}

/// gRPC-Web is no gRPC: it is made for HTTP/1.1.
fn is_grpc(head: &request::Parts) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn can_be_http2(head: &request::Parts) -> bool {
    head.headers.contains_key(header::HOST)
        && !head.headers.contains_key(header::UPGRADE)
        && is_target_in_uri(head)
}

fn to_http1(head: &mut request::Parts) {
    if !head.headers.contains_key(header::HOST) {
        let authority = head.uri.authority().map_or("", |authority| authority.as_str());
        let Ok(host) = HeaderValue::from_str(authority) else { return };
        head.headers.insert(header::HOST, host);
    }
    // HTTP/2 may split the cookies into several fields (RFC 9113, section 8.2.3).
    let mut cookies = head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let all: Vec<&[u8]> = [first, second].into_iter().chain(cookies).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            head.headers.insert(header::COOKIE, joined);
        }
    }
    one_length(&mut head.headers);
    // The client of HTTP/2 would wait for an interim response of the app, which this hop takes for itself.
    if names_token(&head.headers, &header::EXPECT, "100-continue") {
        head.headers.remove(header::EXPECT);
        if let Some(interims) = head.extensions.get::<Interims>() {
            let (mut interim, ()) = Response::new(()).into_parts();
            interim.status = StatusCode::CONTINUE;
            interims.push(interim);
        }
    }
    head.version = Version::HTTP_11;
}

/// HTTP/2 allows the same length several times, and an empty one; in HTTP/1 that is a fault.
fn one_length(headers: &mut HeaderMap) {
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::to_str);
    let mut lengths = lengths.map(|length| length.ok()?.parse::<u64>().ok());
    let Some(first) = lengths.next() else { return };
    match first.filter(|first| lengths.all(|length| length == Some(*first))) {
        Some(length) => headers.insert(header::CONTENT_LENGTH, length.into()),
        None => headers.remove(header::CONTENT_LENGTH),
    };
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http::Request;

    use super::*;
    use crate::{Hop, RequestBody, http1::read_request};

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn hop(request: Request<()>) -> Hop {
        Hop::new(request.map(|()| RequestBody::empty()), PEER)
    }

    fn over_http2(headers: &[(&str, &str)]) -> Hop {
        let request = Request::get("https://hello.test/a?b").version(Version::HTTP_2);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        hop(request.body(()).unwrap())
    }

    fn over_http1(text: &'static str) -> Hop {
        hop(read_request(&Bytes::from_static(text.as_bytes()), &Interims::default()).unwrap())
    }

    #[test]
    fn a_request_of_http2_has_a_host_and_one_line_of_cookies() {
        let mut hop = over_http2(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        speak(&mut hop.head, AppProtocol::Http2);
        assert_eq!(hop.head.version, Version::HTTP_2);
        speak(&mut hop.head, AppProtocol::Http1);
        assert_eq!(hop.head.version, Version::HTTP_11);
        assert_eq!(hop.head.headers[header::HOST], "hello.test");
        let cookies: Vec<_> = hop.head.headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn lengths_are_one_or_none_and_what_is_expected_is_said() {
        for (lengths, kept) in [(&["5", "5"][..], Some("5")), (&[""], None), (&["5", "6"], None), (&[], None)]
        {
            let lines: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            let mut hop = over_http2(&lines);
            speak(&mut hop.head, AppProtocol::Http1);
            let found: Vec<_> = hop.head.headers.get_all(header::CONTENT_LENGTH).iter().collect();
            assert_eq!(found, kept.into_iter().collect::<Vec<_>>(), "{lengths:?}");
        }
        let mut hop = over_http2(&[("expect", "100-continue")]);
        let interims = Interims::default();
        hop.head.extensions.insert(interims.clone());
        speak(&mut hop.head, AppProtocol::Http1);
        assert!(!hop.head.headers.contains_key(header::EXPECT));
        let said: Vec<_> =
            interims.take(std::task::Waker::noop()).into_iter().map(|one| one.status).collect();
        assert_eq!(said, [StatusCode::CONTINUE]);
    }

    #[test]
    fn grpc_stays_as_it_is_and_grpc_web_is_none() {
        let mut hop = over_http2(&[("content-type", "application/grpc-web+proto")]);
        speak(&mut hop.head, AppProtocol::Http1);
        assert_eq!(hop.head.version, Version::HTTP_11);
        let mut hop = over_http2(&[("content-type", "application/grpc+proto")]);
        speak(&mut hop.head, AppProtocol::Http1);
        assert_eq!(hop.head.version, Version::HTTP_2);
    }

    #[test]
    fn what_only_http1_can_say_stays_as_it_is() {
        for (text, version) in [
            ("GET /a?b HTTP/1.1\r\nhost: a\r\n\r\n", Version::HTTP_2),
            ("GET http://a/b HTTP/1.1\r\nhost: a\r\n\r\n", Version::HTTP_2),
            ("GET / HTTP/1.0\r\n\r\n", Version::HTTP_10),
            ("GET /<a> HTTP/1.1\r\nhost: a\r\n\r\n", Version::HTTP_11),
            (
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                Version::HTTP_11,
            ),
        ] {
            let mut hop = over_http1(text);
            speak(&mut hop.head, AppProtocol::Http2);
            assert_eq!(hop.head.version, version, "{text}");
        }
    }
}
