//! Assigns the ports on which activators take services' requests.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    ops::RangeInclusive,
};

use ebb_core::ServiceKey;

/// Below Linux's ephemeral ports (32768 and above), and above conventional service ports.
pub(crate) const RANGE: RangeInclusive<u16> = 10_000..=29_999;

/// The assigned ports.
#[derive(Debug, Default)]
pub(crate) struct Allocation {
    by_port: HashMap<u16, ServiceKey>,
}

impl Allocation {
    /// Returns the port of `service`: `written`, the one on its annotations, unless another service has it; otherwise
    /// a free one. Returns `None` if no port is free.
    ///
    /// The search for a free port starts at a hash of the service's name, so that every autoscaler finds the same
    /// one.
    pub(crate) fn port(&mut self, service: &ServiceKey, written: Option<u16>) -> Option<u16> {
        let held = written.filter(|port| self.is_free_for(*port, service));
        let (lowest, count) = (RANGE.start(), RANGE.end() - RANGE.start() + 1);
        let mut hasher = DefaultHasher::new();
        service.hash(&mut hasher);
        let first = u16::try_from(hasher.finish() % u64::from(count)).unwrap_or(0);
        let mut others = (first..count).chain(0..first).map(|offset| lowest + offset);
        let port = held.or_else(|| others.find(|port| self.is_free_for(*port, service)))?;
        self.by_port.insert(port, service.clone());
        Some(port)
    }

    /// Releases `port`, which `service` no longer needs.
    pub(crate) fn free(&mut self, service: &ServiceKey, port: u16) {
        if self.by_port.get(&port) == Some(service) {
            self.by_port.remove(&port);
        }
    }

    fn is_free_for(&self, port: u16, service: &ServiceKey) -> bool {
        RANGE.contains(&port) && self.by_port.get(&port).is_none_or(|holder| holder == service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("shop", name)
    }

    #[test]
    fn what_is_written_counts_unless_another_has_it() {
        let mut ports = Allocation::default();
        assert_eq!(ports.port(&key("a"), Some(12_345)), Some(12_345));
        assert_eq!(ports.port(&key("a"), Some(12_345)), Some(12_345), "asked again");
        let other = ports.port(&key("b"), Some(12_345)).unwrap();
        assert_ne!(other, 12_345);
        assert_ne!(ports.port(&key("c"), Some(80)), Some(80), "out of range");
        ports.free(&key("b"), 12_345);
        assert_ne!(ports.port(&key("d"), Some(12_345)), Some(12_345), "only who has it can give it back");
        ports.free(&key("a"), 12_345);
        assert_eq!(ports.port(&key("d"), Some(12_345)), Some(12_345));
    }

    #[test]
    fn the_same_service_finds_the_same_port_and_no_two_share_one() {
        let (mut one, mut other) = (Allocation::default(), Allocation::default());
        assert_eq!(one.port(&key("hello"), None), other.port(&key("hello"), None));
        let mut seen = std::collections::HashSet::new();
        for n in 0..20_000 {
            assert!(seen.insert(other.port(&key(&n.to_string()), None)), "{n}");
            if n == 19_998 {
                break;
            }
        }
        assert_eq!(other.port(&key("one too many"), None), None);
    }
}
