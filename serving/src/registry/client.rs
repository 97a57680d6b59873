//! Requests to registries: connections, redirects, and who gets credentials.

use std::{io, net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use super::{
    error::{ResolveError, innermost},
    lookup::Lookup,
};

/// Time limit for opening a connection to one address.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long, and how many, connections to one host stay open without requests.
const IDLE_FOR: Duration = Duration::from_secs(30);
const IDLE_AT_MOST: usize = 2;
/// The most redirects of one request.
const MOST_REDIRECTS: usize = 5;
/// The most bytes of an answer that are read. A token has a few kilobytes.
const MOST_BYTES: usize = 256 * 1024;
/// The kinds of manifests: the image's own, or a list of one for each platform.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A client of registries.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: Http<HttpsConnector<HttpConnector<Lookup>>, Empty<Bytes>>,
}

impl Client {
    /// Creates a client that trusts `roots`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no version of TLS to speak, or names cannot be looked up.
    pub(super) fn new(roots: RootCertStore) -> io::Result<Self> {
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(Lookup::new()?);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        Ok(Self {
            http: Http::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_FOR)
                .pool_max_idle_per_host(IDLE_AT_MOST)
                .build(https),
        })
    }

    /// Sends a request, and follows redirects. Other hosts than that of `uri` do not get the credentials.
    ///
    /// # Errors
    ///
    /// Returns an error if a host cannot be reached, and for redirects that are too many or lead nowhere.
    pub(super) async fn send(
        &self,
        method: &Method,
        uri: Uri,
        credentials: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, ResolveError> {
        let mut at = uri.clone();
        for _ in 0..=MOST_REDIRECTS {
            let is_same_host = (at.scheme(), at.authority()) == (uri.scheme(), uri.authority());
            let credentials = credentials.filter(|_| is_same_host);
            let response = self.send_once(method, &at, credentials).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            at = next(&at, response.headers())?;
        }
        Err(invalid(&uri, "too many redirects"))
    }

    async fn send_once(
        &self,
        method: &Method,
        uri: &Uri,
        credentials: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, ResolveError> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("ebb/", env!("CARGO_PKG_VERSION"))));
        if let Some(credentials) = credentials {
            headers.insert(AUTHORIZATION, credentials.clone());
        }
        let unreachable = |error| ResolveError::Unreachable { host: host(uri), why: innermost(&error) };
        self.http.request(request).await.map_err(unreachable)
    }
}

/// Returns the whole body of an answer from `uri`.
///
/// # Errors
///
/// Returns an error if it is too long or breaks off.
pub(super) async fn read(uri: &Uri, response: Response<Incoming>) -> Result<Bytes, ResolveError> {
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|_| invalid(uri, "its answer is broken or too long"))
}

fn is_redirect(status: StatusCode) -> bool {
    [301, 302, 303, 307, 308].contains(&status.as_u16())
}

/// Returns where a redirect of `at` leads. What was encrypted stays so.
fn next(at: &Uri, headers: &HeaderMap) -> Result<Uri, ResolveError> {
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
    let nowhere = || invalid(at, "a redirect leads nowhere");
    let to: Uri = location.parse().map_err(|_| nowhere())?;
    let mut parts = to.into_parts();
    if parts.scheme.is_none() {
        if !location.starts_with('/') {
            return Err(nowhere());
        }
        parts.scheme = at.scheme().cloned();
        parts.authority = at.authority().cloned();
    }
    let to = Uri::from_parts(parts).map_err(|_| nowhere())?;
    match (at.scheme_str(), to.scheme_str()) {
        (_, Some("https")) | (Some("http"), Some("http")) => Ok(to),
        _ => Err(invalid(at, "a redirect leads to where requests are not encrypted")),
    }
}

/// Returns whether a registry may be asked without TLS, if it does not speak it: one on this machine, in a private
/// network, or with a name that only a local network knows.
pub(super) fn may_be_plain(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback(),
        Err(_) => ["local", "localhost"].contains(&host.rsplit('.').next().unwrap_or_default()),
    }
}

/// Returns the host of `uri`, with its port if that is not the usual one.
pub(super) fn host(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

pub(super) fn invalid(uri: &Uri, why: &'static str) -> ResolveError {
    ResolveError::Invalid { host: host(uri), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_nearby_may_be_asked_without_tls() {
        for (registry, may) in [
            ("localhost:5000", true),
            ("registry.local", true),
            ("registry.local:5000", true),
            ("x.localhost", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("10.1.2.3:5000", true),
            ("172.16.0.1", true),
            ("192.168.0.1:80", true),
            ("172.32.0.1", false),
            ("8.8.8.8:5000", false),
            ("[2001:db8::1]:5000", false),
            ("index.docker.io", false),
            ("registry.localdomain", false),
            ("notlocalhost", false),
        ] {
            assert_eq!(may_be_plain(registry), may, "{registry}");
        }
    }

    #[test]
    fn redirects_keep_to_encryption() {
        let redirected = |from: &str, to: &'static str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(to))]);
            next(&from.parse().unwrap(), &headers)
                .map(|uri| uri.to_string())
                .map_err(|error| error.to_string())
        };
        for (from, to, expected) in [
            ("https://a/v2/x", "https://b/y?z=1", Ok("https://b/y?z=1")),
            ("https://a/v2/x", "/y", Ok("https://a/y")),
            ("http://a/v2/x", "http://b/y", Ok("http://b/y")),
            (
                "https://a/v2/x",
                "http://a/y",
                Err("a does not answer as a registry: a redirect leads to where requests are not encrypted"),
            ),
            ("https://a/v2/x", "y", Err("a does not answer as a registry: a redirect leads nowhere")),
            ("https://a/v2/x", "", Err("a does not answer as a registry: a redirect leads nowhere")),
        ] {
            assert_eq!(
                redirected(from, to),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{from} {to}"
            );
        }
    }
}
