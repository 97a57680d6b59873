//! Decides where a service's traffic goes: to its pods, or to activators (`spec/autoscaler.md`, section 8, "SKS
//! endpoint rules").

mod answering;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

use ebb_core::ServiceKey;

use crate::zero::Path;
pub use answering::{Answering, Standing, answering};

/// The endpoints to publish for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Whether clients reach the pods directly.
    pub path: Path,
    /// The addresses for connections, sorted.
    pub addresses: Vec<SocketAddr>,
}

/// Returns the endpoints of `service`, for which `path` was decided.
///
/// Without a ready pod, activators are published whatever was decided; without an activator, pods are published even
/// if there are none.
pub fn endpoints(
    service: &ServiceKey,
    path: Path,
    ready_pods: &[SocketAddr],
    activators: &[SocketAddr],
    wanted_activators: u32,
) -> Endpoints {
    let path = match path {
        _ if activators.is_empty() => Path::Serve,
        _ if ready_pods.is_empty() => Path::Proxy,
        path => path,
    };
    let mut addresses = match path {
        Path::Serve => ready_pods.to_vec(),
        Path::Proxy => subset(service, activators, wanted_activators),
    };
    addresses.sort_unstable();
    Endpoints { path, addresses }
}

/// Returns `wanted` of the activators, chosen by the service's name with rendezvous hashing, so that a change of one
/// activator does not affect the others.
pub fn subset(service: &ServiceKey, activators: &[SocketAddr], wanted: u32) -> Vec<SocketAddr> {
    let mut ranked = activators.to_vec();
    // The port depends on the service and does not identify the activator.
    ranked.sort_by_key(|address| {
        let mut hasher = DefaultHasher::new();
        (service, address.ip()).hash(&mut hasher);
        (hasher.finish(), *address)
    });
    ranked.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u8) -> Vec<SocketAddr> {
        (1..=count).map(|n| SocketAddr::from(([10, 0, 0, n], 80))).collect()
    }

    fn published(path: Path, pods: u8, activators: u8) -> Endpoints {
        endpoints(&ServiceKey::new("a", "b"), path, &addresses(pods), &addresses(activators), 2)
    }

    #[test]
    fn traffic_always_has_somewhere_to_go() {
        assert_eq!(published(Path::Serve, 3, 2), Endpoints { path: Path::Serve, addresses: addresses(3) });
        assert_eq!(published(Path::Proxy, 3, 2), Endpoints { path: Path::Proxy, addresses: addresses(2) });
        assert_eq!(published(Path::Serve, 0, 2).path, Path::Proxy, "no pod is ready");
        assert_eq!(published(Path::Proxy, 3, 0).path, Path::Serve, "no activator answers");
        assert_eq!(published(Path::Proxy, 0, 0), Endpoints { path: Path::Serve, addresses: vec![] });
    }

    #[test]
    fn a_service_keeps_its_activators_when_others_come_and_go() {
        let all = addresses(10);
        let key = ServiceKey::new("a", "b");
        let chosen = subset(&key, &all, 2);
        assert_eq!(chosen.len(), 2);
        let fewer: Vec<SocketAddr> =
            all.iter().copied().filter(|a| chosen.contains(a) || a.ip() < chosen[0].ip()).collect();
        assert_eq!(subset(&key, &fewer, 2), chosen);
        let other = subset(&ServiceKey::new("a", "c"), &all, 10);
        assert_ne!(other, subset(&key, &all, 10), "another service ranks them differently");
    }
}
