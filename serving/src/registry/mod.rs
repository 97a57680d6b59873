//! Asks registries for the digests of images: the only part of a Revision's way that waits for others.

mod challenge;
mod client;
mod error;
mod keyring;
mod lookup;
#[cfg(test)]
mod tests;

use std::{io, time::Duration};

use http::{
    HeaderValue, Method, Response, StatusCode, Uri,
    header::{HeaderMap, WWW_AUTHENTICATE},
};
use hyper::body::Incoming;
use rustls::{RootCertStore, pki_types::CertificateDer};
use serde::Deserialize;

use self::{
    challenge::Challenge,
    client::{Client, host, invalid, may_be_plain, read},
};
use crate::image::Image;

pub use self::{
    error::ResolveError,
    keyring::{Credentials, Keyring},
};

/// The header with the digest of a manifest.
const DIGEST: &str = "docker-content-digest";

/// Finds the digests of images.
#[derive(Clone, Debug)]
pub struct Resolver {
    client: Client,
    within: Duration,
}

impl Resolver {
    /// Creates a resolver that asks for one image at most `within` long. It trusts the certificate authorities of the
    /// system (`SSL_CERT_FILE`, `SSL_CERT_DIR`), or those of Mozilla where the system has none, and `more`, such as the cluster's own.
    ///
    /// # Errors
    ///
    /// Returns an error if TLS cannot be set up.
    pub fn new(within: Duration, more: Vec<CertificateDer<'static>>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        // What cannot be read is missing when a registry is asked, which says so.
        let system = rustls_native_certs::load_native_certs().certs;
        let has_own = !system.is_empty();
        roots.add_parsable_certificates(system.into_iter().chain(more));
        if !has_own {
            // The program's image has none; these are the ones that browsers believe.
            roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        }
        Ok(Self { client: Client::new(roots)?, within })
    }

    /// Returns the same resolver with another time limit; both share their connections.
    #[must_use]
    pub fn with_limit(&self, within: Duration) -> Self {
        Self { within, ..self.clone() }
    }

    /// Returns the image by its present digest: `registry/repository@sha256:…`.
    ///
    /// # Errors
    ///
    /// Returns an error if the registry cannot be reached in time, does not have the image, or lets neither everybody
    /// nor `credentials` read it.
    pub async fn digest(&self, image: &Image, credentials: &Keyring) -> Result<String, ResolveError> {
        let late = |_| ResolveError::Late { host: image.registry.clone(), within: self.within };
        tokio::time::timeout(self.within, self.find(image, credentials)).await.map_err(late)?
    }

    async fn find(&self, image: &Image, keyring: &Keyring) -> Result<String, ResolveError> {
        if image.digest.is_some() {
            return Ok(image.to_string());
        }
        let found = self.find_by(image, keyring, "https").await;
        if !matches!(found, Err(ResolveError::Unreachable { .. })) || !may_be_plain(&image.registry) {
            return found;
        }
        match self.find_by(image, keyring, "http").await {
            // The first error tells more, such as a certificate that is not trusted.
            Err(ResolveError::Unreachable { .. }) => found,
            found => found,
        }
    }

    async fn find_by(&self, image: &Image, keyring: &Keyring, scheme: &str) -> Result<String, ResolveError> {
        let path = format!("{scheme}://{}/v2/{}/manifests/{}", image.registry, image.repository, image.tag);
        let unreachable = |error: http::uri::InvalidUri| ResolveError::Unreachable {
            host: image.registry.clone(),
            why: error.to_string(),
        };
        let manifest: Uri = path.parse().map_err(unreachable)?;
        let matching = keyring.matching(image);
        let mut refused = None;
        for credentials in &matching {
            match self.ask(image, &manifest, Some(credentials)).await {
                Err(error) if error.is_refusal() => refused = Some(error),
                answer => return answer,
            }
        }
        match refused {
            Some(error) => Err(error),
            None => self.ask(image, &manifest, None).await,
        }
    }

    /// Asks for the digest of `image`, whose manifest is at `uri`.
    async fn ask(
        &self,
        image: &Image,
        uri: &Uri,
        credentials: Option<&Credentials>,
    ) -> Result<String, ResolveError> {
        let refused = || refusal(image, credentials.is_some());
        let mut response = self.client.send(&Method::HEAD, uri.clone(), None).await?;
        let mut authorization = None;
        if response.status() == StatusCode::UNAUTHORIZED {
            let challenge = challenge(response.headers()).ok_or_else(refused)?;
            let allowed = match challenge {
                Challenge::Basic => credentials.ok_or_else(refused)?.basic(),
                Challenge::Bearer { realm, service, scope } => {
                    let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", image.repository));
                    let ask = token_uri(uri, &realm, service.as_deref(), &scope)?;
                    format!("Bearer {}", self.token(image, ask, credentials).await?)
                }
            };
            authorization = Some(secret(uri, allowed)?);
            response = self.client.send(&Method::HEAD, uri.clone(), authorization.as_ref()).await?;
        }
        let has_digest = response.headers().contains_key(DIGEST);
        let is_unable = matches!(response.status().as_u16(), 400 | 405 | 501);
        if is_unable || (response.status().is_success() && !has_digest) {
            // Some registries, and proxies in front of them, only know GET.
            response = self.client.send(&Method::GET, uri.clone(), authorization.as_ref()).await?;
        }
        by_digest(image, uri, &response, credentials.is_some())
    }

    /// Asks the server of tokens at `uri` for one.
    async fn token(
        &self,
        image: &Image,
        uri: Uri,
        credentials: Option<&Credentials>,
    ) -> Result<String, ResolveError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }

        let basic = credentials.map(|credentials| secret(&uri, credentials.basic())).transpose()?;
        let response = self.client.send(&Method::GET, uri.clone(), basic.as_ref()).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(refusal(image, credentials.is_some()));
            }
            StatusCode::TOO_MANY_REQUESTS => return Err(ResolveError::Busy { host: host(&uri) }),
            status => return Err(ResolveError::Answered { host: host(&uri), status }),
        }
        let body = read(&uri, response).await?;
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token.ok_or_else(|| invalid(&uri, "it gave no token"))
    }
}

/// Returns what is asked for first among what is understood.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|header| header.to_str().ok());
    all.find_map(Challenge::parse)
}

/// Returns the URL of a token for `scope`. A registry that speaks TLS cannot send credentials to where nobody does.
fn token_uri(registry: &Uri, realm: &str, service: Option<&str>, scope: &str) -> Result<Uri, ResolveError> {
    let query = [service.map(|service| ("service", service)), Some(("scope", scope))];
    let query: Vec<String> =
        query.into_iter().flatten().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
    let joint = if realm.contains('?') { '&' } else { '?' };
    let uri = format!("{realm}{joint}{}", query.join("&")).parse::<Uri>().ok();
    let is_allowed = |uri: &Uri| match uri.scheme_str() {
        Some("https") => true,
        Some("http") => registry.scheme_str() == Some("http"),
        _ => false,
    };
    uri.filter(is_allowed).ok_or_else(|| invalid(registry, "it names no server of tokens that is trusted"))
}

/// Escapes what has a meaning in a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

fn secret(uri: &Uri, text: String) -> Result<HeaderValue, ResolveError> {
    let value = HeaderValue::try_from(text);
    let mut value = value.map_err(|_| invalid(uri, "the credentials for it are no text of a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn refusal(image: &Image, had_credentials: bool) -> ResolveError {
    let (host, repository) = (image.registry.clone(), image.repository.clone());
    if had_credentials {
        ResolveError::Denied { host, repository }
    } else {
        ResolveError::Anonymous { host, repository }
    }
}

/// Reads the answer of a registry.
fn by_digest(
    image: &Image,
    uri: &Uri,
    response: &Response<Incoming>,
    had_credentials: bool,
) -> Result<String, ResolveError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(refusal(image, had_credentials)),
        StatusCode::NOT_FOUND => {
            let (host, repository) = (image.registry.clone(), image.repository.clone());
            return Err(ResolveError::NotFound { host, repository, tag: image.tag.clone() });
        }
        StatusCode::TOO_MANY_REQUESTS => return Err(ResolveError::Busy { host: host(uri) }),
        status => return Err(ResolveError::Answered { host: host(uri), status }),
    }
    let digest = response.headers().get(DIGEST).and_then(|digest| digest.to_str().ok());
    let digest = digest.ok_or_else(|| invalid(uri, "it gave no digest"))?;
    // A digest is only believed if the image can be named by it.
    let image = image.by_digest(digest).to_string();
    Image::parse(&image).map(|image| image.to_string()).map_err(|_| invalid(uri, "its digest is not one"))
}
