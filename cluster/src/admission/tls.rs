//! TLS for the webhooks. All use of rustls as a server is here.

use std::{io, sync::Arc};

use arc_swap::ArcSwapOption;
use ebb_proxy::{Transport, net::Stream};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// The certificate for new connections; clones share it. As long as there is none, connections fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Served(Arc<ArcSwapOption<CertifiedKey>>);

impl Served {
    pub(super) fn show(&self, certificate: CertifiedKey) {
        self.0.store(Some(Arc::new(certificate)));
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// Returns the cryptography provider. It is passed explicitly, so that nothing depends on the provider installed in
/// the process.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// HTTP over TLS, with the current certificate.
pub(super) struct Tls(TlsAcceptor);

impl Tls {
    pub(super) fn new(served: Served) -> Self {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites for the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(served));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Transport for Tls {
    async fn open(&self, stream: TcpStream) -> io::Result<Stream> {
        self.0.accept(stream).await.map(Stream::wrapped)
    }
}
