use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use parking_lot::Mutex;
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const SHA: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// `me:secret` and `old:secret`, as a header.
const ME: &str = "Basic bWU6c2VjcmV0";
const OLD: &str = "Basic b2xkOnNlY3JldA==";

/// The answer to a request, given as `METHOD path?query` and the header `Authorization`.
type Script = fn(&str, &str, SocketAddr) -> (u16, Vec<(&'static str, String)>, String);

/// A registry that answers by a script, and remembers what it was asked.
struct Registry {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = log.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let what = format!("{} {}", request.method(), request.uri());
                        let who = request.headers().get(AUTHORIZATION).map(|who| who.to_str().unwrap());
                        let who = who.unwrap_or_default();
                        log.lock().push(format!("{what} {who}").trim_end().to_owned());
                        let (status, headers, body) = script(&what, who, address);
                        let mut response = Response::new(Full::new(Bytes::from(body)));
                        *response.status_mut() = StatusCode::from_u16(status).unwrap();
                        for (name, value) in headers {
                            response.headers_mut().insert(name, value.parse().unwrap());
                        }
                        async move { Ok::<_, Infallible>(response) }
                    });
                    // A client that wants TLS goes away.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { address, asked }
    }

    /// Asks it for the digest of `shop/cart:v1`; returns the answer without its own address.
    async fn digest(&self, credentials: &[&str]) -> Result<String, String> {
        let image = Image::parse(&format!("{}/shop/cart:v1", self.address)).unwrap();
        let keyring = self.keyring(credentials);
        let resolver = Resolver::new(Duration::from_secs(60), Vec::new()).unwrap();
        let digest = resolver.digest(&image, &keyring).await.map_err(|error| error.to_string());
        let plain = |text: String| text.replace(&self.address.to_string(), "REGISTRY");
        digest.map(plain).map_err(plain)
    }

    fn keyring(&self, users: &[&str]) -> Keyring {
        let mut keyring = Keyring::default();
        for user in users {
            let auths =
                json!({ "auths": { self.address.to_string(): { "username": user, "password": "secret" } } });
            let data = BTreeMap::from([(
                ".dockerconfigjson".to_owned(),
                ByteString(auths.to_string().into_bytes()),
            )]);
            keyring.add(&Secret { data: Some(data), ..Secret::default() }).unwrap();
        }
        keyring
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock())
    }
}

fn found() -> (u16, Vec<(&'static str, String)>, String) {
    (200, vec![(DIGEST, SHA.to_owned())], String::new())
}

fn status(status: u16) -> (u16, Vec<(&'static str, String)>, String) {
    (status, Vec::new(), String::new())
}

fn challenged(challenge: String) -> (u16, Vec<(&'static str, String)>, String) {
    (401, vec![("www-authenticate", challenge)], String::new())
}

/// Returns whether the answer is the image by its digest.
fn is_by_digest(answer: &Result<String, String>) -> bool {
    answer.as_ref().is_ok_and(|text| *text == format!("REGISTRY/shop/cart@{SHA}"))
}

#[tokio::test]
async fn a_registry_that_lets_everybody_read_is_asked_once() {
    let registry = Registry::start(|_, _, _| found()).await;
    assert!(is_by_digest(&registry.digest(&[]).await));
    assert_eq!(registry.asked(), ["HEAD /v2/shop/cart/manifests/v1"]);
    assert!(is_by_digest(&registry.digest(&["me"]).await));
    assert_eq!(registry.asked(), ["HEAD /v2/shop/cart/manifests/v1"], "nobody asked for credentials");
}

#[tokio::test]
async fn an_image_with_a_digest_needs_no_registry() {
    let text = format!("registry.invalid/shop/cart@{SHA}");
    let resolver = Resolver::new(Duration::from_secs(60), Vec::new()).unwrap();
    let digest = resolver.digest(&Image::parse(&text).unwrap(), &Keyring::default()).await;
    assert_eq!(digest, Ok(text));
}

#[tokio::test]
async fn a_registry_that_does_not_know_head_is_asked_by_get() {
    let scripts: [Script; 3] = [
        |what, _, _| if what.starts_with("GET") { found() } else { status(405) },
        |what, _, _| if what.starts_with("GET") { found() } else { status(501) },
        |what, _, _| if what.starts_with("GET") { found() } else { status(200) },
    ];
    for script in scripts {
        let registry = Registry::start(script).await;
        assert!(is_by_digest(&registry.digest(&[]).await));
        assert_eq!(registry.asked(), ["HEAD /v2/shop/cart/manifests/v1", "GET /v2/shop/cart/manifests/v1"]);
    }
}

/// Wants a token, which only `me` gets.
fn with_tokens(what: &str, who: &str, address: SocketAddr) -> (u16, Vec<(&'static str, String)>, String) {
    match (what.starts_with("GET /token?"), who) {
        (true, ME) => (200, Vec::new(), r#"{"access_token":"abc"}"#.to_owned()),
        (true, _) => status(401),
        (false, "Bearer abc") => found(),
        (false, _) => {
            let scope = "repository:shop/cart:pull";
            challenged(format!("Bearer realm=\"http://{address}/token\",service=\"a b&c\",scope=\"{scope}\""))
        }
    }
}

#[tokio::test]
async fn a_token_is_fetched_with_the_credentials() {
    let registry = Registry::start(with_tokens).await;
    assert!(is_by_digest(&registry.digest(&["me"]).await));
    assert_eq!(
        registry.asked(),
        [
            "HEAD /v2/shop/cart/manifests/v1".to_owned(),
            format!("GET /token?service=a%20b%26c&scope=repository:shop/cart:pull {ME}"),
            "HEAD /v2/shop/cart/manifests/v1 Bearer abc".to_owned(),
        ]
    );
    assert_eq!(
        registry.digest(&[]).await,
        Err("REGISTRY does not let everybody read shop/cart, or does not have it; check the name, or name a Secret \
             in imagePullSecrets"
            .to_owned())
    );
    assert_eq!(
        registry.digest(&["old"]).await,
        Err("REGISTRY refused the credentials of the Revision's Secrets for shop/cart".to_owned())
    );
}

#[tokio::test]
async fn credentials_are_tried_in_turn() {
    let registry = Registry::start(|_, who, _| match who {
        ME => found(),
        _ => challenged("Basic realm=\"x\"".to_owned()),
    })
    .await;
    assert!(is_by_digest(&registry.digest(&["old", "me"]).await));
    let path = "HEAD /v2/shop/cart/manifests/v1";
    assert_eq!(
        registry.asked(),
        [path.to_owned(), format!("{path} {OLD}"), path.to_owned(), format!("{path} {ME}")]
    );
}

#[tokio::test]
async fn another_host_does_not_get_the_credentials() {
    let other = Registry::start(|_, _, _| found()).await;
    let registry = Registry::start(|what, who, _| {
        let Some(port) = what.strip_prefix("HEAD /v2/shop/cart/manifests/v1") else { return status(500) };
        match (port, who) {
            ("", "") => challenged("Basic".to_owned()),
            ("", _) => (307, vec![("location", "/moved".to_owned())], String::new()),
            _ => status(500),
        }
    })
    .await;
    assert_eq!(registry.digest(&["me"]).await, Err("REGISTRY answered with status 500".to_owned()));
    assert_eq!(registry.asked().last(), Some(&format!("HEAD /moved {ME}")), "the same host gets them");

    let client = Client::new(RootCertStore::empty()).unwrap();
    let elsewhere = Registry::start(|what, _, _| {
        let port = what.rsplit('/').next().unwrap_or_default();
        (302, vec![("location", format!("http://127.0.0.1:{port}/blob"))], String::new())
    })
    .await;
    let uri = format!("http://{}/{}", elsewhere.address, other.address.port()).parse().unwrap();
    let me = HeaderValue::from_static(ME);
    let response = client.send(&Method::HEAD, uri, Some(&me)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(elsewhere.asked().len(), 1);
    assert!(elsewhere.asked.lock().is_empty());
    assert_eq!(other.asked(), ["HEAD /blob"]);
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let circle: Script = |what, _, _| {
        let path = what.strip_prefix("HEAD ").unwrap_or_default();
        (307, vec![("location", path.to_owned())], String::new())
    };
    let registry = Registry::start(circle).await;
    let error = "REGISTRY does not answer as a registry: too many redirects";
    assert_eq!(registry.digest(&[]).await, Err(error.to_owned()));
    assert_eq!(registry.asked().len(), 6);
}

#[tokio::test]
async fn every_other_answer_becomes_a_sentence() {
    let scripts: [(Script, &str); 11] = [
        (|_, _, _| status(404), "REGISTRY has no image shop/cart:v1"),
        (|_, _, _| status(429), "REGISTRY takes no more requests for now (status 429)"),
        (|_, _, _| status(503), "REGISTRY answered with status 503"),
        (
            |_, _, _| status(403),
            "REGISTRY does not let everybody read shop/cart, or does not have it; check the name, or name a Secret in \
             imagePullSecrets",
        ),
        (
            |_, _, _| challenged("Negotiate".to_owned()),
            "REGISTRY does not let everybody read shop/cart, or does not have it; check the name, or name a Secret in \
             imagePullSecrets",
        ),
        (|_, _, _| status(200), "REGISTRY does not answer as a registry: it gave no digest"),
        (
            |_, _, _| (200, vec![(DIGEST, "sha256:12".to_owned())], String::new()),
            "REGISTRY does not answer as a registry: its digest is not one",
        ),
        (
            |_, _, _| challenged("Bearer realm=\"/token\"".to_owned()),
            "REGISTRY does not answer as a registry: it names no server of tokens that is trusted",
        ),
        (
            |what, _, address| {
                if what.starts_with("GET") {
                    (200, Vec::new(), "{}".to_owned())
                } else {
                    challenged(format!("Bearer realm=\"http://{address}/token\""))
                }
            },
            "REGISTRY does not answer as a registry: it gave no token",
        ),
        (
            |what, _, address| {
                if what.starts_with("GET") {
                    (200, Vec::new(), " ".repeat(300 * 1024))
                } else {
                    challenged(format!("Bearer realm=\"http://{address}/token\""))
                }
            },
            "REGISTRY does not answer as a registry: its answer is broken or too long",
        ),
        (
            |what, _, address| {
                if what.starts_with("GET") {
                    status(500)
                } else {
                    challenged(format!("Bearer realm=\"http://{address}/token\""))
                }
            },
            "REGISTRY answered with status 500",
        ),
    ];
    for (script, sentence) in scripts {
        let registry = Registry::start(script).await;
        assert_eq!(registry.digest(&[]).await, Err(sentence.to_owned()));
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_cannot_be_reached() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let resolver = Resolver::new(Duration::from_secs(60), Vec::new()).unwrap();
    let image = Image::parse(&format!("{address}/shop/cart")).unwrap();
    let error = resolver.digest(&image, &Keyring::default()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{address} cannot be reached: Connection refused")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_silent_is_not_waited_for_longer_than_allowed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let resolver = Resolver::new(Duration::from_secs(60), Vec::new()).unwrap();
    let resolver = resolver.with_limit(Duration::from_secs(3));
    let image = Image::parse(&format!("{address}/shop/cart")).unwrap();
    let error = resolver.digest(&image, &Keyring::default()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{address} did not answer within 3s"));
}

#[tokio::test]
async fn a_registry_with_a_certificate_is_trusted_if_its_authority_is() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust it goes away.
            let Ok(stream) = tls.accept(stream).await else { continue };
            let answer = service_fn(|_| async {
                let found = Response::builder().header(DIGEST, SHA);
                Ok::<_, Infallible>(found.body(Full::new(Bytes::new())).unwrap())
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    let image = Image::parse(&format!("{address}/shop/cart")).unwrap();
    let answer = async |more| {
        let resolver = Resolver::new(Duration::from_secs(60), more).unwrap();
        resolver.digest(&image, &Keyring::default()).await.map_err(|error| error.to_string())
    };
    assert_eq!(answer(vec![certificate]).await, Ok(format!("{address}/shop/cart@{SHA}")));
    let error = answer(Vec::new()).await.unwrap_err();
    assert!(error.starts_with(&format!("{address} cannot be reached: invalid peer certificate")), "{error}");
}

#[test]
fn a_server_of_tokens_is_trusted_only_as_far_as_the_registry_is() {
    let uri = |registry: &str, realm: &str| {
        let uri = token_uri(&registry.parse().unwrap(), realm, Some("s"), "repository:a/b:pull");
        uri.map(|uri| uri.to_string()).ok()
    };
    let query = "service=s&scope=repository:a/b:pull";
    for (registry, realm, expected) in [
        ("https://reg/v2/", "https://auth/token", Some(format!("https://auth/token?{query}"))),
        ("https://reg/v2/", "https://auth/token?a=b", Some(format!("https://auth/token?a=b&{query}"))),
        ("https://reg/v2/", "http://auth/token", None),
        ("http://reg/v2/", "http://auth/token", Some(format!("http://auth/token?{query}"))),
        ("https://reg/v2/", "ftp://auth/token", None),
        ("https://reg/v2/", "token", None),
        ("https://reg/v2/", "https://", None),
    ] {
        assert_eq!(uri(registry, realm), expected, "{realm}");
    }
}
