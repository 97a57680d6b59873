//! Pods, as what decides knows them.

use std::net::SocketAddr;

use ebb_core::Tick;

/// One pod of a service, as its platform knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Where it is; `None` as long as its platform does not know. It may announce that itself.
    pub address: Option<PodAddress>,
    /// The secret by which its queue-proxy knows Ebb's own, and by which it announces itself; empty if it has none.
    pub nonce: String,
    /// Whether it has no queue-proxy: it is never asked, and gets requests once it is ready. As long as a service
    /// has such pods all its traffic goes through activators, who alone see it.
    pub direct: bool,
    /// Whether it takes traffic.
    pub ready: bool,
    /// When it started.
    pub started_at: Tick,
}

/// Where a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// Its queue-proxy's serving port; the app's own, where it has no queue-proxy.
    pub serving: SocketAddr,
    /// Its queue-proxy's stats port; means nothing where it has no queue-proxy.
    pub stats: SocketAddr,
}

impl Pod {
    /// Where it takes requests; `None` if that is not known.
    pub fn serving(&self) -> Option<SocketAddr> {
        self.address.map(|address| address.serving)
    }

    /// Where it is asked; `None` if that is not known, or it cannot be asked.
    pub fn stats(&self) -> Option<SocketAddr> {
        self.address.filter(|_| !self.direct).map(|address| address.stats)
    }
}
