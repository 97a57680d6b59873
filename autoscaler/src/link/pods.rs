//! What the platform reports about the activators' own pods.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

/// The activators' pods, by address. An activator without a known pod is judged by its stream alone.
#[derive(Debug, Default)]
pub(super) struct ActivatorPods {
    ready: HashMap<IpAddr, bool>,
    /// Pods that are deleted or terminating.
    left: HashSet<IpAddr>,
}

impl ActivatorPods {
    /// Sets the existing pods, and which are ready. Returns the addresses for which something changed.
    pub(super) fn set(&mut self, pods: impl IntoIterator<Item = (IpAddr, bool)>) -> BTreeSet<IpAddr> {
        let before = std::mem::replace(&mut self.ready, pods.into_iter().collect());
        let mut changed: BTreeSet<IpAddr> = BTreeSet::new();
        for (address, ready) in &self.ready {
            self.left.remove(address);
            if before.get(address) != Some(ready) {
                changed.insert(*address);
            }
        }
        for address in before.into_keys().filter(|address| !self.ready.contains_key(address)) {
            self.left.insert(address);
            changed.insert(address);
        }
        changed
    }

    /// Returns whether connections may be sent to the address, as far as its pod is concerned.
    pub(super) fn is_well(&self, address: IpAddr) -> bool {
        !self.has_left(address) && self.ready.get(&address).copied().unwrap_or(true)
    }

    /// Returns the addresses of the ready pods.
    pub(super) fn ready(&self) -> impl Iterator<Item = IpAddr> {
        self.ready.iter().filter(|(_, ready)| **ready).map(|(address, _)| *address)
    }

    /// Returns whether its pod existed and no longer does.
    pub(super) fn has_left(&self, address: IpAddr) -> bool {
        self.left.contains(&address)
    }

    /// Forgets the pods that have left, except those for which `matters` is true.
    pub(super) fn forget_others(&mut self, matters: impl Fn(IpAddr) -> bool) {
        self.left.retain(|address| matters(*address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn an_activator_is_well_unless_its_pod_is_not_ready_or_has_left() {
        /// The existing pods, the addresses that changed, and which of 1 and 2 are well.
        type Step = (&'static [(u8, bool)], &'static [u8], &'static [u8]);
        let mut pods = ActivatorPods::default();
        let steps: [Step; 6] = [
            (&[], &[], &[1, 2]),
            (&[(1, true), (2, false)], &[1, 2], &[1]),
            (&[(1, true), (2, true)], &[2], &[1, 2]),
            (&[(1, false), (2, true)], &[1], &[2]),
            (&[(2, true)], &[1], &[2]),
            (&[(1, true), (2, true)], &[1], &[1, 2]),
        ];
        for (there, changed, well) in steps {
            let told = pods.set(there.iter().map(|(n, ready)| (ip(*n), *ready)));
            assert_eq!(told, changed.iter().map(|n| ip(*n)).collect(), "{there:?}");
            let seen: Vec<u8> = [1, 2].into_iter().filter(|n| pods.is_well(ip(*n))).collect();
            assert_eq!(seen, well, "{there:?}");
        }
    }

    #[test]
    fn who_has_left_is_known_as_long_as_it_matters() {
        let mut pods = ActivatorPods::default();
        pods.set([(ip(1), true), (ip(2), true)]);
        pods.set([]);
        pods.forget_others(|address| address == ip(1));
        assert!(pods.has_left(ip(1)) && !pods.has_left(ip(2)));
    }
}
