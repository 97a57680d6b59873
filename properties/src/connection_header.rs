//! The header fields of a request that a hop passes on.

use std::net::SocketAddr;

use ebb_proxy::{Hop, RequestBody};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

/// What no hop passes on (RFC 9110, section 7.6.1, and what clients really send).
const OF_ONE_CONNECTION: [&str; 5] =
    ["keep-alive", "proxy-connection", "transfer-encoding", "proxy-authorization", "http2-settings"];
/// What the hop itself says.
const OWN: [&str; 4] = ["connection", "upgrade", "te", "x-forwarded-for"];

/// Reads a request's fields, each a line of a name, a colon and any bytes, as far as they can be fields at all.
pub fn fields(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(200) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

/// Checks everything that holds of the fields that a hop passes on of a request with `fields`.
///
/// # Panics
///
/// If something does not hold.
pub fn hold(fields: &HeaderMap) {
    let peer: SocketAddr = ([192, 0, 2, 7], 1234).into();
    let mut request = Request::new(RequestBody::empty());
    *request.headers_mut() = fields.clone();
    let passed = Hop::new(request, peer).head.headers;

    let named = members(fields, &header::CONNECTION);
    for name in passed.keys().map(HeaderName::as_str).filter(|name| !OWN.contains(name)) {
        assert!(!OF_ONE_CONNECTION.contains(&name), "{name} is of one connection: {passed:?}");
        let is_named = named.iter().any(|member| member.eq_ignore_ascii_case(name.as_bytes()));
        // Without it the request would be none, or another one.
        assert!(!is_named || name == "host", "{name} was named by Connection, and passed on: {passed:?}");
    }
    for name in fields.keys() {
        let is_named = named.iter().any(|member| member.eq_ignore_ascii_case(name.as_str().as_bytes()));
        let is_removed = OF_ONE_CONNECTION.contains(&name.as_str()) || is_named && name != header::HOST;
        if is_removed || OWN.contains(&name.as_str()) {
            continue;
        }
        assert!(
            fields.get_all(name).iter().eq(passed.get_all(name)),
            "{name} is not what it was: {passed:?}"
        );
    }
    holds_of_own(fields, &passed);

    let mut again = Request::new(RequestBody::empty());
    *again.headers_mut() = passed.clone();
    let mut twice = Hop::new(again, peer).head.headers;
    twice.remove("x-forwarded-for");
    let mut once = passed;
    once.remove("x-forwarded-for");
    assert_eq!(once, twice, "a second hop finds nothing more to remove");
}

/// What the hop says itself is what it knows.
fn holds_of_own(fields: &HeaderMap, passed: &HeaderMap) {
    let by: Vec<&HeaderValue> = passed.get_all("x-forwarded-for").iter().collect();
    assert!(by.len() == 1 && by[0].as_bytes().ends_with(b"192.0.2.7"), "{passed:?}");
    let te: Vec<&HeaderValue> = passed.get_all(header::TE).iter().collect();
    let wants_trailers = has(fields, &header::TE, b"trailers");
    assert!(if wants_trailers { te == ["trailers"] } else { te.is_empty() }, "{passed:?}");
    match (passed.get(header::CONNECTION), passed.get(header::UPGRADE)) {
        (None, None) => {}
        (Some(connection), Some(_)) => {
            assert_eq!(connection, "upgrade");
            assert!(
                has(fields, &header::CONNECTION, b"upgrade"),
                "an upgrade that nobody asked for: {passed:?}"
            );
            assert!(!has(passed, &header::UPGRADE, b"h2c"), "HTTP/2 past every limit: {passed:?}");
        }
        half => panic!("half an upgrade: {half:?}"),
    }
}

fn has(fields: &HeaderMap, name: &HeaderName, wanted: &[u8]) -> bool {
    members(fields, name).iter().any(|member| member.eq_ignore_ascii_case(wanted))
}

/// The members of a list that may have any number of lines.
fn members<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    let lines = fields.get_all(name).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect()
}
