//! HTTP over TLS: all of rustls' server side is here.

use std::{io, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::ResolvesServerCert,
    sign::CertifiedKey,
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Stream, stream::Duplex};
use crate::Transport;

/// The one provider of cryptography. Named where it is used, so that nothing depends on which one the process has
/// installed.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// HTTP over TLS, with the certificate that is resolved for each connection. Clients learn by ALPN that HTTP/2 is spoken.
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Shows the certificates of `resolver`; a connection for which there is none fails.
    ///
    /// # Panics
    ///
    /// Never: the provider has cipher suites for the default versions.
    pub fn new(resolver: Arc<dyn ResolvesServerCert>) -> Self {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites for the default versions")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Transport for Tls {
    async fn open(&self, stream: TcpStream) -> io::Result<Stream> {
        self.0.accept(stream).await.map(Stream::wrapped)
    }
}

impl Duplex for TlsStream<TcpStream> {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

/// Why a certificate cannot be shown.
#[derive(Debug, Error)]
pub enum UnusableCertificate {
    /// There is none.
    #[error("tls.crt has no certificate in PEM form")]
    NoCertificate,
    /// There is none of its keys.
    #[error("tls.key has no private key in PEM form")]
    NoKey,
    /// They do not belong together, or cannot be used.
    #[error("tls.crt and tls.key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
}

/// What is shown, from a chain of certificates and the key of the first of them, both in PEM form.
///
/// # Errors
///
/// If one of them is missing, or the two do not belong together.
pub fn certified_key(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, UnusableCertificate> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().unwrap_or_default();
    if chain.is_empty() {
        return Err(UnusableCertificate::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| UnusableCertificate::NoKey)?;
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}
