//! The connection to the API server. A single connection carries all watches and writes, so that a write never waits
//! for a new connection, and many writes at once share it.

mod answer;

use std::{io, net::SocketAddr, time::Duration};

use ebb_proxy::net::{self, Liveness};
use http::{Request, Uri, uri::Scheme};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client as Http,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use tokio::net::{TcpStream, lookup_host};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer, service_fn};

use answer::Answer;

/// Time limit for opening it, including handshakes.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Time limit for the start of an answer; a watch starts at once. Its continuation has its own deadlines
/// ([`Answer`]).
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How often a connection is checked for life, and how long an answer may take. A peer that vanished is noticed
/// before a write times out, and before the lease must be renewed.
const ASKED_EVERY: Duration = Duration::from_secs(2);
const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// Number of bytes in flight on the connection: more than all watches together have unread, so that none of them
/// blocks the answers to writes.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// Returns a client of the API server in `config`. It uses HTTP/2, as every API server does, or HTTP/1.1 if a proxy
/// in between does not support it.
///
/// # Errors
///
/// Returns an error for invalid certificates or credentials in `config`, and for a proxy, which is not supported.
pub fn connect(config: Config) -> Result<Client, BoxError> {
    // Install one cryptography provider before it is needed. A second call returns an error, which is ignored.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if let Some(proxy) = &config.proxy_url {
        return Err(format!(
            "{proxy}: the API server cannot be reached through a proxy; unset proxy-url and HTTPS_PROXY"
        )
        .into());
    }
    let builder =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    let builder = match &config.tls_server_name {
        Some(name) => {
            builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone().try_into()?))
        }
        None => builder,
    };
    let tcp = service_fn(|uri: Uri| async move { open(&uri).await.map(TokioIo::new) });
    let connector = ServiceBuilder::new()
        .map_future(Box::pin)
        .timeout(CONNECT_WITHIN)
        .service(builder.enable_all_versions().wrap_connector(tcp));
    let http = Http::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(ASKED_EVERY)
        .http2_keep_alive_timeout(ALIVE_WITHIN)
        .http2_keep_alive_while_idle(true)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .build(connector);
    let answered = service_fn(move |request: Request<Body>| {
        let (uri, asked) = (request.uri().clone(), http.request(request));
        async move { asked.await.map(|response| response.map(|body| Answer::to(&uri, body))) }
    });
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .timeout(ANSWER_WITHIN)
        .service(answered);
    Ok(Client::new(service, config.default_namespace))
}

/// Connects to the host of `uri`. With HTTP/2, [`ASKED_EVERY`] detects sooner that the peer is gone.
async fn open(uri: &Uri) -> io::Result<TcpStream> {
    let host = uri.host().ok_or_else(|| io::Error::other(format!("{uri} names no host")))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 });
    // An IPv6 address is in brackets.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    // Leave time for the other addresses if one does not answer.
    let within = CONNECT_WITHIN / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut why = io::Error::other(format!("{host} has no address"));
    for address in addresses {
        match net::connect(address, within, Liveness::CLIENT).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error,
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::Ipv4Addr, sync::Arc};

    use bytes::Bytes;
    use ebb_proxy::stream::ChannelBody;
    use futures_util::StreamExt;
    use http::{Response, Version};
    use http_body_util::{Either, Full};
    use hyper::{body::Incoming, server::conn::http2, service::service_fn};
    use k8s_openapi::api::core::v1::Pod;
    use kube::{
        Api,
        api::{ListParams, WatchParams},
    };
    use rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    };
    use tokio::{
        io::copy_bidirectional,
        net::TcpListener,
        sync::watch,
        time::{Instant, pause, resume, timeout},
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// An API server without pods, whose watches never report any.
    async fn api_server() -> (SocketAddr, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) =
            (made.cert.der().clone(), PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let authority = certificate.to_vec();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::from(key))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let stream = tls.accept(stream).await.unwrap();
                    let connection = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service_fn(answer));
                    // The test ends the connection in its own way.
                    let _ = connection.await;
                });
            }
        });
        (address, authority)
    }

    async fn answer(
        request: Request<Incoming>,
    ) -> Result<Response<Either<ChannelBody, Full<Bytes>>>, Infallible> {
        assert_eq!(request.version(), Version::HTTP_2);
        if !request.uri().query().unwrap_or_default().contains("watch=true") {
            let list =
                r#"{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}"#;
            return Ok(Response::new(Either::Right(Full::from(list))));
        }
        let (pieces, body) = ChannelBody::new(1);
        tokio::spawn(async move { pieces.closed().await });
        Ok(Response::new(Either::Left(body)))
    }

    /// A network in front of `to`. When the sender says so, existing connections carry no more data, but are not
    /// closed.
    async fn network(to: SocketAddr) -> (SocketAddr, watch::Sender<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_cut = is_cut.clone();
                is_cut.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        Ok(()) = is_cut.changed() => std::future::pending().await,
                    }
                });
            }
        });
        (address, cut)
    }

    #[tokio::test]
    async fn a_watch_whose_api_server_is_silently_gone_ends_within_seconds_and_others_are_asked_anew() {
        let (server, authority) = api_server().await;
        let (address, cut) = network(server).await;
        let mut config = Config::new(format!("https://localhost:{}", address.port()).parse().unwrap());
        config.root_cert = Some(vec![authority]);
        let pods: Api<Pod> = Api::all(connect(config).unwrap());
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 0);
        let mut events = pods.watch(&WatchParams::default(), "1").await.unwrap().boxed();

        cut.send(()).unwrap();
        // No byte is transferred from here on, so time can jump.
        pause();
        let begun = Instant::now();
        let ended = timeout(Duration::from_secs(3_600), events.next()).await.unwrap();
        assert!(matches!(ended, Some(Err(_))), "{ended:?}");
        assert!(
            begun.elapsed() <= ASKED_EVERY + ALIVE_WITHIN + Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
        resume();
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 0);
    }
}
