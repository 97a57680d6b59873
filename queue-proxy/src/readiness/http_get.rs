//! An HTTP probe, with the kubelet's rules.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header, uri::Scheme};
use tokio::time::Instant;

use super::{
    attempt::NotReady,
    exchange::{AGENT, Answer, exchange},
};

/// Number of bytes of a response that the kubelet reads; the rest is not awaited.
const ENOUGH_BYTES: usize = 10 * 1024;
/// The maximum of Go's client.
const MAX_REDIRECTS: usize = 10;
/// The default port of a URL.
const HTTP_PORT: u16 = 80;

/// Sends a GET for `path` to `address`. A redirect within the host is followed, and the last response decides. A
/// redirect to another host counts like any response below 400.
pub(super) async fn attempt(
    address: SocketAddr,
    path: &str,
    headers: &[(String, String)],
    deadline: Instant,
) -> Result<(), NotReady> {
    let (mut at, mut path) = (address, path.to_owned());
    for _ in 0..=MAX_REDIRECTS {
        let request = request(at, &path, headers)?.map(Into::into);
        let answer = exchange(at, request, ENOUGH_BYTES, deadline).await?;
        let Some((next, rest)) = redirect(&answer, at, &path) else {
            let ready = (200..400).contains(&answer.status.as_u16());
            return if ready { Ok(()) } else { Err(NotReady::Status(answer.status)) };
        };
        (at, path) = (next, rest);
    }
    Err(NotReady::Redirects(MAX_REDIRECTS))
}

/// Headers of the probe replace the defaults. `Host` is sent once. If the probe sets the user agent or `Accept` to an
/// empty value, it is left out.
fn request(at: SocketAddr, path: &str, headers: &[(String, String)]) -> Result<Request<()>, http::Error> {
    let mut request = Request::get(path).body(())?;
    let own = request.headers_mut();
    for (name, value) in headers {
        let name = HeaderName::try_from(name)?;
        if name != header::HOST || !own.contains_key(header::HOST) {
            own.append(name, HeaderValue::try_from(value)?);
        }
    }
    if own.get(header::HOST).is_none_or(HeaderValue::is_empty) {
        own.insert(header::HOST, HeaderValue::try_from(at.to_string())?);
    }
    for (name, default) in [(header::USER_AGENT, AGENT), (header::ACCEPT, "*/*")] {
        match own.get(&name) {
            None => drop(own.insert(name, HeaderValue::from_static(default))),
            Some(value) if value.is_empty() => drop(own.remove(name)),
            Some(_) => {}
        }
    }
    Ok(request)
}

/// Returns the target of a redirect from `at`, if it is followed: the same host, without TLS.
fn redirect(answer: &Answer, at: SocketAddr, path: &str) -> Option<(SocketAddr, String)> {
    let redirects = matches!(
        answer.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if redirects { resolved(location(&answer.headers)?, at, path) } else { None }
}

/// Returns the location without its fragment, which is only for browsers.
fn location(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::LOCATION)?.to_str().ok()?;
    text.split('#').next().filter(|text| !text.is_empty())
}

fn resolved(location: &str, at: SocketAddr, path: &str) -> Option<(SocketAddr, String)> {
    let path = path.split('?').next().unwrap_or_default();
    if location.starts_with("//") {
        return on_same_host(&format!("http:{location}"), at);
    }
    match location.chars().next() {
        Some('/') => Some((at, location.to_owned())),
        Some('?') => Some((at, format!("{path}{location}"))),
        _ if location.contains("://") => on_same_host(location, at),
        _ => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Some((at, format!("{folder}/{location}")))
        }
    }
}

fn on_same_host(location: &str, at: SocketAddr) -> Option<(SocketAddr, String)> {
    let uri: Uri = location.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let next: SocketAddr = authority.parse().or_else(|_| format!("{authority}:{HTTP_PORT}").parse()).ok()?;
    if next.ip() != at.ip() || uri.scheme() != Some(&Scheme::HTTP) {
        return None;
    }
    let rest = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Some((next, rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> SocketAddr {
        "127.0.0.1:8080".parse().unwrap()
    }

    #[test]
    fn a_redirect_is_followed_within_the_host_alone() {
        for (location, want) in [
            ("/up", Some("127.0.0.1:8080/up")),
            ("/up?a=1#b", Some("127.0.0.1:8080/up?a=1")),
            ("?again", Some("127.0.0.1:8080/health/live?again")),
            ("ready", Some("127.0.0.1:8080/health/ready")),
            ("http://127.0.0.1:8080/up", Some("127.0.0.1:8080/up")),
            ("http://127.0.0.1:9000", Some("127.0.0.1:9000/")),
            ("HTTP://127.0.0.1/", Some("127.0.0.1:80/")),
            ("//127.0.0.1:9000/x", Some("127.0.0.1:9000/x")),
            ("https://127.0.0.1:8080/up", None),
            ("http://10.0.0.1:8080/up", None),
            ("http://shop.example/up", None),
            ("//shop.example/up", None),
            ("http://127.0.0.1:99999/", None),
            ("#here", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            let body = Vec::new();
            let answer = Answer { status: StatusCode::FOUND, headers, body, trailers: None };
            let next = redirect(&answer, at(), "/health/live?a");
            assert_eq!(next.map(|(at, path)| format!("{at}{path}")).as_deref(), want, "{location:?}");
            assert_eq!(redirect(&Answer { status: StatusCode::OK, ..answer }, at(), "/"), None);
        }
    }

    #[test]
    fn the_probes_own_headers_go_first() {
        let sent = |given: &[(&str, &str)]| {
            let given: Vec<_> = given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let request = request(at(), "/", &given).unwrap();
            let line =
                |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
            let mut lines: Vec<_> = request.headers().iter().map(line).collect();
            lines.sort();
            lines
        };
        assert_eq!(sent(&[]), ["accept: */*", "host: 127.0.0.1:8080", "user-agent: kube-probe/ebb"]);
        assert_eq!(
            sent(&[("Host", "a.example"), ("host", "b.example"), ("User-Agent", ""), ("ACCEPT", "x/y")]),
            ["accept: x/y", "host: a.example"]
        );
        assert_eq!(
            sent(&[("X", "1"), ("x", "2"), ("accept", ""), ("host", "")]),
            ["host: 127.0.0.1:8080", "user-agent: kube-probe/ebb", "x: 1", "x: 2"]
        );
    }
}
