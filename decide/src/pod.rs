//! Pods, as the decision logic sees them.

use std::net::SocketAddr;

use ebb_core::Tick;

/// A pod of a service, as its platform knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its address; `None` while the platform does not know it. The pod may announce it itself.
    pub address: Option<PodAddress>,
    /// The secret that its queue-proxy shares with Ebb, and with which it announces itself; empty if it has
    /// none.
    pub nonce: String,
    /// Whether it has no queue-proxy: it is never scraped, and gets requests once it is ready. While a
    /// service has such pods, all its traffic goes through activators, because only they see it.
    pub direct: bool,
    /// Whether it takes traffic.
    pub ready: bool,
    /// When it started.
    pub started_at: Tick,
}

/// The addresses of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// Its queue-proxy's serving port; the app's own, if it has no queue-proxy.
    pub serving: SocketAddr,
    /// Its queue-proxy's stats port; meaningless if it has no queue-proxy.
    pub stats: SocketAddr,
}

impl Pod {
    /// Returns where it takes requests; `None` if that is not known.
    pub fn serving(&self) -> Option<SocketAddr> {
        self.address.map(|address| address.serving)
    }

    /// Returns where it is scraped; `None` if that is not known, or it cannot be scraped.
    pub fn stats(&self) -> Option<SocketAddr> {
        self.address.filter(|_| !self.direct).map(|address| address.stats)
    }
}
