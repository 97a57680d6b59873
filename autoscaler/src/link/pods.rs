//! What the platform says of the activators' own pods.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

/// The pods that activators run in, by their addresses. An activator without a pod is judged by its stream alone.
#[derive(Debug, Default)]
pub(super) struct ActivatorPods {
    ready: HashMap<IpAddr, bool>,
    /// Their pods are gone, or on their way out.
    left: HashSet<IpAddr>,
}

impl ActivatorPods {
    /// The pods that there are, and which are ready. Answers the addresses of those for whom something changed.
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

    /// Whether there is no reason to send nobody there.
    pub(super) fn is_well(&self, address: IpAddr) -> bool {
        !self.has_left(address) && self.ready.get(&address).copied().unwrap_or(true)
    }

    /// Whether its pod was there, and is no more.
    pub(super) fn has_left(&self, address: IpAddr) -> bool {
        self.left.contains(&address)
    }

    /// Of those that have left, only these matter still.
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
        /// What there is, who changed, and which of 1 and 2 are well.
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
