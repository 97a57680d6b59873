//! Adds forwarding headers to requests that enter through the gateway, and removes those that clients must
//! not set.

use std::{fmt::Write, net::SocketAddr};

use ebb_core::headers;
use ebb_proxy::ResponseBody;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{FORWARDED, LOCATION},
};
use rand::RngExt;

use super::trusted::Trusted;
use crate::handler::Guard;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that only a trusted proxy in front of the gateway may set.
static CLAIMS: [HeaderName; 9] = [
    FORWARDED,
    FORWARDED_PROTO,
    FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-real-ip"),
];

/// The scheme by which a request reached the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Sets the forwarding headers of a request from `peer`: its scheme, its `host` and its client. Headers from
/// a `trusted` proxy are kept and appended to; all others are removed. `X-Forwarded-For` is appended to when
/// the request is forwarded, as at every hop.
pub(crate) fn enter(
    fields: &mut HeaderMap,
    peer: SocketAddr,
    scheme: Scheme,
    host: &[u8],
    trusted: &Trusted,
) {
    remove_spellings(fields, &headers::FOR_EBB_ALONE);
    if !trusted.includes(peer.ip()) {
        remove_spellings(fields, &CLAIMS);
    }
    let scheme = scheme.as_str();
    append_forwarded(fields, peer, scheme, host);
    fields.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
    if let Ok(host) = HeaderValue::from_bytes(host)
        && !host.is_empty()
    {
        fields.entry(FORWARDED_HOST).or_insert(host);
    }
    if !fields.contains_key(&REQUEST_ID)
        && let Ok(id) = HeaderValue::try_from(request_id())
    {
        fields.insert(REQUEST_ID, id);
    }
}

/// Removes all of `names`, in any spelling: many apps read `x_real_ip` as `x-real-ip`.
fn remove_spellings(fields: &mut HeaderMap, names: &[HeaderName]) {
    headers::remove_all(fields, names);
    let is_spelling = |name: &&HeaderName| {
        name.as_str().contains('_') && names.iter().any(|claim| *claim == *name.as_str().replace('_', "-"))
    };
    let spellings: Vec<HeaderName> = fields.keys().filter(is_spelling).cloned().collect();
    for name in spellings {
        fields.remove(name);
    }
}

/// Returns whether a trusted proxy says that a request from `peer` came to it over TLS.
pub(super) fn came_over_tls(fields: &HeaderMap, peer: SocketAddr, trusted: &Trusted) -> bool {
    trusted.includes(peer.ip())
        && fields.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Redirects a client to the same address over TLS, on port 443, with the same method and body.
pub(super) fn redirect(authority: &[u8], target: &[u8]) -> Response<ResponseBody<Guard>> {
    let host = authority.split(|byte| *byte == b':').next().unwrap_or_default();
    let path = if target.starts_with(b"/") { target } else { b"/" };
    let location = [b"https://", host, path].concat();
    let mut response = Response::new(ResponseBody::own("requests for this host are to come over https\n"));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = HeaderValue::from_bytes(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Appends an element for this hop (RFC 7239). If the proxy in front sent only `X-Forwarded-For`, its
/// addresses are converted to elements first, so that the list covers the whole path.
fn append_forwarded(fields: &mut HeaderMap, peer: SocketAddr, scheme: &str, host: &[u8]) {
    let mut line = lines(fields, &FORWARDED);
    if line.is_empty() {
        let addresses = lines(fields, &HeaderName::from_static("x-forwarded-for"));
        let addresses = addresses.split(',').map(str::trim).filter(|address| !address.is_empty());
        line = addresses.map(|address| format!("for={}", node(address))).collect::<Vec<_>>().join(", ");
    }
    if !line.is_empty() {
        line.push_str(", ");
    }
    // Writing to a String cannot fail.
    let _ = write!(line, "for={}", node(&peer.ip().to_canonical().to_string()));
    if let Some(host) = str::from_utf8(host).ok().filter(|host| !host.is_empty() && host.is_ascii()) {
        let _ = write!(line, ";host={}", token_or_quoted(host));
    }
    let _ = write!(line, ";proto={scheme}");
    if let Ok(value) = HeaderValue::try_from(line) {
        fields.insert(FORWARDED, value);
    }
}

/// Joins all lines of a header; lines that are not text are left out.
fn lines(fields: &HeaderMap, name: &HeaderName) -> String {
    let lines = fields.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Formats an address for `Forwarded`: IPv6 in brackets and quotes, anything invalid as `unknown`.
fn node(address: &str) -> String {
    match address.trim_matches(['[', ']']).parse() {
        Ok(std::net::IpAddr::V4(address)) => address.to_string(),
        Ok(std::net::IpAddr::V6(address)) => format!("\"[{address}]\""),
        Err(_) => "unknown".to_owned(),
    }
}

fn token_or_quoted(text: &str) -> String {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.bytes().all(is_token) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Returns 128 random bits as a version 4 UUID.
fn request_id() -> String {
    let bits: u128 = rand::rng().random();
    let bits = bits & !(0xf << 76) | 0x4 << 76;
    let bits = bits & !(0x3 << 62) | 0x2 << 62;
    let mut text = format!("{bits:032x}");
    // From the end, so that earlier positions do not shift.
    for place in [20, 16, 12, 8] {
        text.insert(place, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(given: &[(&str, &str)], trusted: &str) -> Vec<(String, String)> {
        let mut fields = HeaderMap::new();
        for (name, value) in given {
            fields.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let peer = "203.0.113.9:4711".parse().unwrap();
        enter(&mut fields, peer, Scheme::Https, b"Hello.example.com:8443", &trusted.parse().unwrap());
        assert!(fields.remove(REQUEST_ID).is_some_and(|id| !id.is_empty()));
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        fields.sort();
        fields
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const OWN: &str = "for=203.0.113.9;host=\"Hello.example.com:8443\";proto=https";

    #[test]
    fn what_strangers_claim_is_removed_and_what_is_so_is_said() {
        let own = pairs(&[
            ("forwarded", OWN),
            ("x-forwarded-host", "Hello.example.com:8443"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(entered(&[], ""), own);
        let claims: Vec<(&str, &str)> = CLAIMS.iter().map(|name| (name.as_str(), "10.0.0.1")).collect();
        assert_eq!(entered(&claims, ""), own);
        assert_eq!(entered(&claims, "10.0.0.0/8"), own, "who asks is not among them");
        for name in ["x_real_ip", "X_Forwarded_Proto", "ebb_pod_nonce"] {
            assert_eq!(entered(&[(name, "x")], ""), own, "{name} is a spelling of what is removed");
        }
        for name in &headers::FOR_EBB_ALONE {
            assert_eq!(entered(&[(name.as_str(), "x")], "203.0.113.0/24"), own, "{name} is Ebb's alone");
        }
    }

    #[test]
    fn what_a_trusted_proxy_says_stays_and_is_appended_to() {
        let given = [
            ("forwarded", "for=192.0.2.1;proto=http"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "shop.example.com"),
            ("x-forwarded-proto", "http"),
        ];
        let wanted = [
            ("forwarded", &*format!("for=192.0.2.1;proto=http, {OWN}")),
            // Appended to when the request is forwarded.
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "shop.example.com"),
            ("x-forwarded-proto", "http"),
        ];
        assert_eq!(entered(&given, "203.0.113.0/24"), pairs(&wanted));
    }

    #[test]
    fn a_proxy_that_speaks_by_x_forwarded_for_alone_is_understood() {
        let given = [("x-forwarded-for", "192.0.2.1, 2001:db8::1,"), ("x-forwarded-for", "junk")];
        let forwarded = entered(&given, "203.0.113.9").swap_remove(0);
        assert_eq!(forwarded.1, format!("for=192.0.2.1, for=\"[2001:db8::1]\", for=unknown, {OWN}"));
    }

    #[test]
    fn a_request_that_has_an_id_keeps_it() {
        let mut fields = HeaderMap::new();
        fields.insert(REQUEST_ID, HeaderValue::from_static("mine"));
        enter(&mut fields, "[::1]:1".parse().unwrap(), Scheme::Http, b"", &Trusted::default());
        assert_eq!(fields[REQUEST_ID], "mine");
        assert_eq!(fields[FORWARDED], "for=\"[::1]\";proto=http");
        assert!(!fields.contains_key(FORWARDED_HOST), "it had no host");
    }

    #[test]
    fn ids_are_those_of_a_uuid_and_differ() {
        let (one, other) = (request_id(), request_id());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]));
    }
}
