//! Looks the names of registries up, as `/etc/resolv.conf` says.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

/// A resolver of names. Clones share its cache.
#[derive(Clone)]
pub(super) struct Lookup(Arc<TokioResolver>);

impl Lookup {
    /// Creates a resolver.
    ///
    /// # Errors
    ///
    /// Returns an error if `/etc/resolv.conf` cannot be read.
    pub(super) fn new() -> io::Result<Self> {
        let resolver = TokioResolver::builder_tokio().map_err(io::Error::other)?;
        Ok(Self(Arc::new(resolver.build().map_err(io::Error::other)?)))
    }
}

impl Service<Name> for Lookup {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await.map_err(io::Error::other)?;
            let addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}
