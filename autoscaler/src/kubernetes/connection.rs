//! The way to the API server: one connection for all that is watched and written, so that a scale never waits for a
//! connection to be made, and a hundred of them at once share the one that is there.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{ConfigExt, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

/// It must have been made, handshake and all, in so long.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// An answer must have begun in so long; a watch's begins at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// So often a connection is asked whether it is alive, and in so long it must have answered: one whose other end is
/// gone without a word is noticed before a write on it has timed out, and before the lease must have been renewed.
const ASKED_EVERY: Duration = Duration::from_secs(2);
const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// Bytes that may be under way on the connection: more than all watches together have unread, so that none of them keeps
/// the answers to writes from coming.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// A client of the API server that `config` names: HTTP/2 where that speaks it, as every API server does, and HTTP/1.1
/// where a proxy in between does not.
///
/// # Errors
///
/// What is wrong with the certificates or the credentials of `config`; and that it names a proxy, which is not spoken to.
pub fn connect(config: Config) -> Result<Client, BoxError> {
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
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
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
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .timeout(ANSWER_WITHIN)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}
