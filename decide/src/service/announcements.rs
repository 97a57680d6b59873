//! Announcements by pods, in addition to what the platform reports. The platform knows which pods there are;
//! a pod is the first to know its address, and when it drains.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    hint::black_box,
};

use ebb_core::announce::Announced;

use crate::{Pod, PodAddress};

/// The number of former pods that are remembered, to tell late announcements from early ones.
const REMEMBERED: usize = 16;

/// What becomes of an announcement. If a pod belongs to several services, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Admission {
    /// The pod is gone, so the announcement is too late.
    Gone,
    /// It contains nothing new.
    Known,
    /// It is new, and was applied.
    Taken,
    /// The pod is not known yet, and may announce itself again.
    Unknown,
    /// The nonce or the address is not the pod's.
    Forged,
}

/// Announcements of the pods of one service.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// Addresses of pods, by name, that the platform does not know yet.
    addresses: HashMap<String, Heard>,
    /// Pods that drain, and that the platform still names.
    draining: Vec<Pod>,
    /// Hashes of former pods, the newest last.
    departed: VecDeque<u64>,
}

#[derive(Debug)]
struct Heard {
    nonce: String,
    address: PodAddress,
}

impl Announcements {
    /// Returns the pods that the platform named, with their announced addresses and without those that drain.
    /// `before` are the previous pods.
    pub(super) fn apply(&mut self, named: Vec<Pod>, before: &[Pod]) -> Vec<Pod> {
        self.remember_departed(&named, before);
        let mut heard = std::mem::take(&mut self.addresses);
        let mut pods = Vec::with_capacity(named.len());
        let mut draining = Vec::new();
        for mut pod in named {
            if pod.address.is_none()
                && let Some((name, heard)) = heard.remove_entry(&pod.name)
                && heard.nonce == pod.nonce
            {
                pod.address = Some(heard.address);
                self.addresses.insert(name, heard);
            }
            let drains = self.draining.iter().any(|other| is_same(other, &pod));
            if drains { draining.push(pod) } else { pods.push(pod) }
        }
        self.draining = draining;
        pods
    }

    fn remember_departed(&mut self, named: &[Pod], before: &[Pod]) {
        let stay: HashSet<(&str, &str)> = named.iter().map(|pod| (&*pod.name, &*pod.nonce)).collect();
        let gone = before.iter().chain(&self.draining).filter(|pod| !pod.nonce.is_empty());
        for pod in gone.filter(|pod| !stay.contains(&(&*pod.name, &*pod.nonce))) {
            if self.departed.len() == REMEMBERED {
                self.departed.pop_front();
            }
            self.departed.push_back(hash(&pod.name, &pod.nonce));
        }
    }

    /// Judges `said`, given the current `pods`.
    pub(super) fn judge(&self, said: &Announced, pods: &[Pod]) -> Admission {
        let late = || self.departed.contains(&hash(&said.pod, &said.nonce));
        let drains = self.draining.iter().find(|pod| pod.name == said.pod);
        let Some(pod) = drains.or_else(|| pods.iter().find(|pod| pod.name == said.pod)) else {
            return if late() { Admission::Gone } else { Admission::Unknown };
        };
        // A pod without a secret cannot authenticate.
        if pod.direct || pod.nonce.is_empty() || !is_same_secret(&pod.nonce, &said.nonce) {
            // A pod of a StatefulSet has its predecessor's name.
            return if late() { Admission::Gone } else { Admission::Forged };
        }
        if pod.serving().is_some_and(|known| known.ip().to_canonical() != said.serving.ip()) {
            return Admission::Forged;
        }
        let is_known =
            if said.draining { drains.is_some() } else { drains.is_none() && pod.address.is_some() };
        if is_known { Admission::Known } else { Admission::Taken }
    }

    /// Applies `said`, which was judged to be new, to one of `pods`. Returns the resulting pods.
    pub(super) fn take(&mut self, said: &Announced, pods: &[Pod]) -> Vec<Pod> {
        let mut pods = pods.to_vec();
        let place = pods.iter().position(|pod| pod.name == said.pod);
        if said.draining {
            self.draining.extend(place.map(|place| pods.remove(place)));
            return pods;
        }
        // A draining pod that announces itself was restarted in place.
        let back = self.draining.iter().position(|pod| pod.name == said.pod);
        let place = place.or_else(|| {
            pods.push(self.draining.remove(back?));
            Some(pods.len() - 1)
        });
        if let Some(pod) = place.and_then(|place| pods.get_mut(place))
            && pod.address.is_none()
        {
            let address = PodAddress { serving: said.serving, stats: said.stats };
            pod.address = Some(address);
            self.addresses.insert(pod.name.clone(), Heard { nonce: pod.nonce.clone(), address });
        }
        pods
    }

    /// Returns the pods among `pods` whose address is known only from their own announcements.
    pub(super) fn coming<'a>(&'a self, pods: &'a [Pod]) -> impl Iterator<Item = &'a Pod> {
        pods.iter().filter(|pod| self.addresses.contains_key(&pod.name))
    }

    /// Returns pods that announced that they drain, and still exist.
    pub(super) fn draining(&self) -> &[Pod] {
        &self.draining
    }
}

/// Returns whether they are the same pod, and not a successor of the same name.
fn is_same(one: &Pod, other: &Pod) -> bool {
    one.name == other.name && one.nonce == other.nonce
}

fn hash(name: &str, nonce: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, nonce).hash(&mut hasher);
    hasher.finish()
}

/// Compares in constant time, so that timing does not reveal how much of a guess is right.
fn is_same_secret(one: &str, other: &str) -> bool {
    let differing = one.bytes().zip(other.bytes()).fold(0, |bits, (a, b)| bits | (a ^ b));
    one.len() == other.len() && black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use ebb_core::{ServiceKey, Tick};

    use super::*;

    /// The pods of a service, as seen by the platform and by themselves.
    #[derive(Default)]
    struct World {
        announcements: Announcements,
        pods: Vec<Pod>,
    }

    impl World {
        fn named(&mut self, named: Vec<Pod>) {
            self.pods = self.announcements.apply(named, &self.pods);
        }

        fn says(&mut self, said: &Announced) -> Admission {
            let admission = self.announcements.judge(said, &self.pods);
            if admission == Admission::Taken {
                self.pods = self.announcements.take(said, &self.pods);
            }
            admission
        }

        fn addresses(&self) -> Vec<String> {
            self.pods.iter().map(|pod| pod.serving().map_or("?".into(), |at| at.to_string())).collect()
        }
    }

    fn pod(name: &str, nonce: &str) -> Pod {
        Pod {
            name: name.into(),
            address: None,
            nonce: nonce.into(),
            direct: false,
            ready: false,
            started_at: Tick::ZERO,
        }
    }

    fn at(pod: Pod, ip: &str) -> Pod {
        let at = |port: u16| format!("{ip}:{port}").parse().unwrap();
        Pod { address: Some(PodAddress { serving: at(8012), stats: at(9090) }), ..pod }
    }

    fn comes(name: &str, nonce: &str, ip: &str) -> Announced {
        Announced {
            services: vec![ServiceKey::new("ns", "web")],
            pod: name.into(),
            serving: format!("{ip}:8012").parse().unwrap(),
            stats: format!("{ip}:9090").parse().unwrap(),
            nonce: nonce.into(),
            draining: false,
        }
    }

    fn leaves(name: &str, nonce: &str, ip: &str) -> Announced {
        Announced { draining: true, ..comes(name, nonce, ip) }
    }

    #[test]
    fn only_who_has_the_pods_secret_and_address_speaks_for_it() {
        let mut world = World::default();
        let direct = Pod { direct: true, ..pod("direct", "d") };
        world.named(vec![pod("new", "n"), at(pod("old", "o"), "10.0.0.2"), pod("bare", ""), direct]);
        let cases = [
            (comes("nobody", "n", "10.0.0.1"), Admission::Unknown),
            (comes("new", "m", "10.0.0.1"), Admission::Forged),
            (comes("new", "", "10.0.0.1"), Admission::Forged),
            (comes("new", "nn", "10.0.0.1"), Admission::Forged),
            (comes("bare", "", "10.0.0.1"), Admission::Forged),
            (comes("direct", "d", "10.0.0.1"), Admission::Forged),
            (comes("old", "o", "10.0.0.3"), Admission::Forged),
            (leaves("old", "o", "10.0.0.3"), Admission::Forged),
            (leaves("old", "x", "10.0.0.2"), Admission::Forged),
            (comes("old", "o", "10.0.0.2"), Admission::Known),
            (comes("new", "n", "10.0.0.1"), Admission::Taken),
            (comes("new", "n", "10.0.0.1"), Admission::Known),
            (leaves("old", "o", "10.0.0.2"), Admission::Taken),
            (leaves("old", "o", "10.0.0.2"), Admission::Known),
        ];
        for (said, want) in cases {
            assert_eq!(world.says(&said), want, "{said:?}");
        }
        assert_eq!(world.addresses(), ["10.0.0.1:8012", "?", "?"]);
    }

    #[test]
    fn what_a_pod_said_holds_until_its_platform_knows_better() {
        let mut world = World::default();
        world.named(vec![pod("a", "n")]);
        world.says(&comes("a", "n", "10.0.0.1"));
        world.named(vec![pod("a", "n"), pod("b", "m")]);
        assert_eq!(world.addresses(), ["10.0.0.1:8012", "?"], "told again without one");
        assert_eq!(world.announcements.coming(&world.pods).count(), 1);
        world.named(vec![at(pod("a", "n"), "10.0.0.9"), pod("b", "m")]);
        assert_eq!(world.addresses(), ["10.0.0.9:8012", "?"]);
        assert_eq!(world.announcements.coming(&world.pods).count(), 0);
        world.named(vec![pod("a", "n")]);
        assert_eq!(world.addresses(), ["?"], "it lost the address that its platform knew");
        world.says(&comes("a", "n", "10.0.0.1"));
        world.named(vec![pod("a", "another")]);
        assert_eq!(world.addresses(), ["?"], "a successor of the same name");
    }

    #[test]
    fn who_drains_is_gone_until_it_is_gone_or_comes_back() {
        let mut world = World::default();
        world.named(vec![at(pod("a", "n"), "10.0.0.1"), at(pod("b", "m"), "10.0.0.2")]);
        assert_eq!(world.says(&leaves("a", "n", "10.0.0.1")), Admission::Taken);
        assert_eq!(world.addresses(), ["10.0.0.2:8012"]);
        world.named(vec![at(pod("a", "n"), "10.0.0.1"), at(pod("b", "m"), "10.0.0.2")]);
        assert_eq!(world.addresses(), ["10.0.0.2:8012"], "its platform does not know yet");
        assert_eq!(world.announcements.draining().len(), 1);
        assert_eq!(world.says(&comes("a", "n", "10.0.0.1")), Admission::Taken, "its container was restarted");
        assert_eq!(world.addresses().len(), 2);
        world.says(&leaves("a", "n", "10.0.0.1"));
        world.named(vec![at(pod("b", "m"), "10.0.0.2")]);
        assert!(world.announcements.draining().is_empty());
        for late in [leaves("a", "n", "10.0.0.1"), comes("a", "n", "10.0.0.1")] {
            assert_eq!(world.says(&late), Admission::Gone);
        }
        world.named(vec![pod("a", "another"), at(pod("b", "m"), "10.0.0.2")]);
        assert_eq!(world.addresses(), ["?", "10.0.0.2:8012"], "a successor of the same name does not drain");
        assert_eq!(world.says(&leaves("a", "n", "10.0.0.1")), Admission::Gone, "and is not its predecessor");
        assert_eq!(world.says(&comes("a", "another", "10.0.0.4")), Admission::Taken);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut world = World::default();
        for n in 0..100 {
            world.named(vec![pod(&format!("web-{n}"), "n")]);
        }
        assert_eq!(world.announcements.departed.len(), REMEMBERED);
        assert_eq!(world.says(&comes("web-98", "n", "10.0.0.1")), Admission::Gone);
        assert_eq!(world.says(&comes("web-1", "n", "10.0.0.1")), Admission::Unknown);
    }
}
