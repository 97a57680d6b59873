//! The address and the name that a client uses.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::http::Lost;

/// An address, the host that is requested there, and whether TLS is used.
#[derive(Clone)]
pub struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) host: String,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Io for T {}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::named(address, "e2e")
    }
}

impl Place {
    /// Creates the place of `host` at `address`.
    pub fn named(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), tls: None }
    }

    /// Uses TLS, and trusts only `certificate` (PEM).
    ///
    /// # Panics
    ///
    /// Panics if it is not a certificate.
    #[must_use]
    pub fn over_tls(self, certificate: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("it can be believed");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: Some(Arc::new(config)), ..self }
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Opens a connection for `protocol`.
    pub(crate) async fn connect(&self, protocol: &str) -> Result<Box<dyn Io>, Lost> {
        let lost = |error: io::Error| Lost::Connect(error.kind());
        let stream = TcpStream::connect(self.address).await.map_err(lost)?;
        // A failure only costs latency, and then the connection is about to fail as well.
        let _ = stream.set_nodelay(true);
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| Lost::Connect(io::ErrorKind::InvalidInput))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(lost)?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{} at {}", self.scheme(), self.host, self.address)
    }
}
