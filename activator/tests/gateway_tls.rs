//! The gateway over TLS.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use activator::{GatewayConfig, Trusted};
use bytes::Bytes;
use ebb_core::link::{CertificateEntry, Down, HostsEntry};
use ebb_proxy::net::tls::provider;
use http::{Request, Version};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use support::{
    World,
    client::{ask, get, whole},
    pod::Pod,
    service_with, soon,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate of its own authority for `host`.
fn certificate(secret: &str, host: &str) -> CertificateEntry {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    CertificateEntry {
        namespace: "default".into(),
        name: secret.into(),
        chain: made.cert.pem().into(),
        key: made.signing_key.serialize_pem().into(),
    }
}

/// An activator that is the gateway over TLS, with a pod that is ready behind `hello.test`.
async fn world(certificate: &CertificateEntry, https_redirect: bool) -> (World, Pod, SocketAddr) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let gateway = GatewayConfig { http: any, https: Some(any), trusted: Trusted::default() };
    let mut world = World::with(|config| config.gateway = Some(gateway)).await;
    let mut pod = Pod::start("a").await;
    let hosts = HostsEntry {
        namespace: "default".into(),
        name: "hello".into(),
        hosts: vec!["hello.test".into(), "*.hello.test".into()],
        tls_secret: certificate.name.clone(),
        https_redirect,
    };
    let down = Down {
        services: vec![service_with(&[&pod])],
        hosts: vec![hosts],
        certificates: vec![certificate.clone()],
        complete: true,
        ..Down::default()
    };
    world.autoscaler.tell(down).await;
    world.listening().await;
    pod.becomes_ready().await;
    let gateway = world.activator.tls_gateway().unwrap();
    (world, pod, gateway)
}

/// A connection for `name` that believes `certificate` alone and speaks `protocol`.
async fn connect(
    gateway: SocketAddr,
    certificate: &CertificateEntry,
    name: &str,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&certificate.chain).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(gateway).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

fn to(host: &str) -> Request<Full<Bytes>> {
    let mut request = get("/");
    request.headers_mut().insert("host", host.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_and_http2_are_spoken_over_tls() {
    let shown = certificate("hello-tls", "hello.test");
    let (_world, mut pod, gateway) = world(&shown, false).await;
    let _answers = pod.serves(|asked| {
        assert_eq!(asked.header("x-forwarded-proto"), Some("https"));
        assert_eq!(asked.request.version(), Version::HTTP_11, "most apps know no other");
        asked.says("hello");
    });
    let stream = connect(gateway, &shown, "hello.test", "http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(
        whole(soon("an answer", sender.send_request(to("hello.test"))).await.unwrap()).await.body,
        "hello"
    );

    let stream = connect(gateway, &shown, "hello.test", "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://hello.test/").version(Version::HTTP_2);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    assert_eq!(whole(soon("an answer", sender.send_request(request)).await.unwrap()).await.body, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_live_and_one_that_is_broken_is_not_taken() {
    let first = certificate("hello-tls", "hello.test");
    let (world, pod, gateway) = world(&first, false).await;
    let tell = |certificate| {
        let down = Down { certificates: vec![certificate], ..Down::default() };
        world.autoscaler.tell(down)
    };
    let kept = connect(gateway, &first, "hello.test", "http/1.1").await.unwrap();
    tell(CertificateEntry { key: Bytes::from_static(b"junk"), ..first.clone() }).await;
    let second = certificate("hello-tls", "hello.test");
    tell(second.clone()).await;
    soon("the new one", async { while connect(gateway, &second, "hello.test", "h2").await.is_err() {} })
        .await;
    assert!(connect(gateway, &first, "hello.test", "h2").await.is_err());
    drop(kept);
    // A leader that is new and has not read it yet.
    let named = HostsEntry {
        namespace: "default".into(),
        name: "hello".into(),
        hosts: vec!["hello.test".into(), "later.hello.test".into()],
        tls_secret: second.name.clone(),
        https_redirect: false,
    };
    let pods = vec![service_with(&[&pod])];
    let down = Down { services: pods, hosts: vec![named], complete: true, ..Down::default() };
    world.autoscaler.tell(down).await;
    assert!(connect(gateway, &second, "hello.test", "h2").await.is_ok());
    tell(CertificateEntry { chain: Bytes::new(), key: Bytes::new(), ..second.clone() }).await;
    soon("its end", async { while connect(gateway, &second, "hello.test", "h2").await.is_ok() {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_certificate_gets_none_and_the_port_lives_on() {
    let shown = certificate("hello-tls", "hello.test");
    let (_world, _pod, gateway) = world(&shown, false).await;
    assert!(connect(gateway, &shown, "other.test", "h2").await.is_err());
    // One who names nobody, and one who speaks no TLS.
    assert!(connect(gateway, &shown, "127.0.0.1", "h2").await.is_err());
    let mut plain = TcpStream::connect(gateway).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon("the end", plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    // Half a greeting, and away.
    TcpStream::connect(gateway).await.unwrap().write_all(&[22, 3, 1]).await.unwrap();
    assert!(connect(gateway, &shown, "hello.test", "h2").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_tls_is_redirected_where_that_is_asked_for() {
    let shown = certificate("hello-tls", "hello.test");
    let (world, mut pod, gateway) = world(&shown, true).await;
    let plain = world.activator.gateway().unwrap();
    let mut request = to("Hello.test:8080");
    *request.uri_mut() = "/a/b?c=%20d".parse().unwrap();
    let answer = ask(plain, request).answer().await;
    assert_eq!(answer.status.as_u16(), 308);
    assert_eq!(answer.header("location"), Some("https://Hello.test/a/b?c=%20d"));
    let _answers = pod.serves(|asked| asked.says("hello"));
    let stream = connect(gateway, &shown, "hello.test", "http/1.1").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(
        whole(soon("an answer", sender.send_request(to("hello.test"))).await.unwrap()).await.body,
        "hello"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_goes_through_tls_both_ways() {
    let shown = certificate("hello-tls", "hello.test");
    let (_world, mut pod, gateway) = world(&shown, false).await;
    let mut client = connect(gateway, &shown, "hello.test", "http/1.1").await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: hello.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let upgraded = pod.request().await.switches_to("websocket");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a head", client.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{head:?}");
    let mut server = TokioIo::new(soon("the pod's side", upgraded).await.unwrap());
    let mut four = [0; 4];
    client.write_all(b"ping").await.unwrap();
    soon("ping", server.read_exact(&mut four)).await.unwrap();
    assert_eq!(&four, b"ping");
    server.write_all(b"pong").await.unwrap();
    server.flush().await.unwrap();
    soon("pong", client.read_exact(&mut four)).await.unwrap();
    assert_eq!(&four, b"pong");
    drop(server);
    let mut rest = Vec::new();
    soon("the end", client.read_to_end(&mut rest)).await.unwrap();
}
