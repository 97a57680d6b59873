//! Grants hosts to Services: the oldest Service that requests a host gets it, if its namespace is allowed to have it.

use std::collections::{BTreeSet, HashMap};

use ebb_core::{Host, ServiceKey, Tick};

/// The hosts that Services request, and who has them.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    asked: HashMap<ServiceKey, Asked>,
    /// The Services that request a host and are allowed to have it, oldest first.
    by_host: HashMap<Host, BTreeSet<(Tick, ServiceKey)>>,
    /// The hosts that a namespace's Services may request; Services of other namespaces may request any.
    allowed: HashMap<String, Vec<Host>>,
    /// Services whose outcome may have changed.
    stale: BTreeSet<ServiceKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    created: Tick,
    hosts: Vec<Host>,
}

/// The outcome for the hosts that a Service requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The hosts that it has.
    pub(crate) granted: Vec<Host>,
    /// The hosts that it does not have.
    pub(crate) refused: Vec<Refused>,
}

/// Why a Service does not have a host that it requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// An older Service has it.
    Taken(Host, ServiceKey),
    /// Its namespace is restricted to other hosts.
    NotAllowed(Host),
}

impl Hosts {
    /// Replaces the hosts that a Service, created then, requests.
    pub(crate) fn ask(&mut self, key: &ServiceKey, created: Tick, hosts: &[Host]) {
        let asked = (!hosts.is_empty()).then(|| Asked { created, hosts: hosts.to_vec() });
        if self.asked.get(key) == asked.as_ref() {
            return;
        }
        self.leave(key);
        if let Some(asked) = asked {
            self.asked.insert(key.clone(), asked);
            self.enter(key);
        }
        self.stale.insert(key.clone());
    }

    /// Marks a Service as stale because something else changed that goes with its hosts.
    pub(crate) fn look_again(&mut self, key: &ServiceKey) {
        self.stale.insert(key.clone());
    }

    /// Marks all Services that request hosts as stale.
    pub(crate) fn look_at_all(&mut self) {
        self.stale.extend(self.asked.keys().cloned());
    }

    /// Restricts the Services of `namespace` to `allowed`; `None` allows any host.
    pub(crate) fn allow(&mut self, namespace: &str, allowed: Option<Vec<Host>>) {
        if self.allowed.get(namespace) == allowed.as_ref() {
            return;
        }
        let of_namespace = self.asked.keys().filter(|key| key.namespace == namespace);
        let keys: Vec<ServiceKey> = of_namespace.cloned().collect();
        for key in &keys {
            self.give_up(key);
        }
        match allowed {
            Some(allowed) => self.allowed.insert(namespace.to_owned(), allowed),
            None => self.allowed.remove(namespace),
        };
        for key in &keys {
            self.enter(key);
        }
        self.stale.extend(keys);
    }

    /// Returns the namespaces that are restricted.
    pub(crate) fn kept_namespaces(&self) -> Vec<String> {
        self.allowed.keys().cloned().collect()
    }

    /// Returns the Services whose outcome may have changed since the last call.
    pub(crate) fn take_stale(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.stale)
    }

    /// Returns the outcome for the hosts that a Service requests.
    pub(crate) fn outcome(&self, key: &ServiceKey) -> Outcome {
        let mut outcome = Outcome::default();
        for host in self.asked.get(key).iter().flat_map(|asked| &asked.hosts) {
            let owner = self.by_host.get(host).and_then(|all| all.first()).map(|(_, owner)| owner);
            match owner {
                _ if !self.is_allowed(&key.namespace, host) => {
                    outcome.refused.push(Refused::NotAllowed(host.clone()));
                }
                Some(owner) if owner != key => {
                    outcome.refused.push(Refused::Taken(host.clone(), owner.clone()));
                }
                _ => outcome.granted.push(host.clone()),
            }
        }
        outcome
    }

    fn is_allowed(&self, namespace: &str, host: &Host) -> bool {
        self.allowed.get(namespace).is_none_or(|allowed| allowed.iter().any(|one| one.covers(host)))
    }

    fn enter(&mut self, key: &ServiceKey) {
        let Some(Asked { created, hosts }) = self.asked.get(key).cloned() else { return };
        for host in hosts {
            if !self.is_allowed(&key.namespace, &host) {
                continue;
            }
            let all = self.by_host.entry(host).or_default();
            all.insert((created, key.clone()));
            self.stale.extend(all.iter().map(|(_, other)| other.clone()));
        }
    }

    fn leave(&mut self, key: &ServiceKey) {
        self.give_up(key);
        self.asked.remove(key);
    }

    /// Takes all hosts from a Service, so that others that request them may have them.
    fn give_up(&mut self, key: &ServiceKey) {
        let Some(Asked { created, hosts }) = self.asked.get(key).cloned() else { return };
        for host in hosts {
            let Some(all) = self.by_host.get_mut(&host) else { continue };
            all.remove(&(created, key.clone()));
            self.stale.extend(all.iter().map(|(_, other)| other.clone()));
            if all.is_empty() {
                self.by_host.remove(&host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> ServiceKey {
        name.parse().unwrap()
    }

    fn all(names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn granted(hosts: &Hosts, name: &str) -> Vec<String> {
        hosts.outcome(&key(name)).granted.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_older_has_a_name_whoever_asks_first() {
        let (old, young) = (Tick::from_secs(1), Tick::from_secs(2));
        let mut hosts = Hosts::default();
        hosts.ask(&key("a/young"), young, &all(&["a.com", "b.com"]));
        assert_eq!(granted(&hosts, "a/young"), ["a.com", "b.com"]);
        hosts.take_stale();
        hosts.ask(&key("b/old"), old, &all(&["a.com"]));
        assert_eq!(hosts.take_stale(), [key("a/young"), key("b/old")].into());
        assert_eq!(granted(&hosts, "a/young"), ["b.com"]);
        let refused = hosts.outcome(&key("a/young")).refused;
        assert_eq!(refused, [Refused::Taken("a.com".parse().unwrap(), key("b/old"))]);
        hosts.ask(&key("b/old"), old, &[]);
        assert_eq!(hosts.take_stale(), [key("a/young"), key("b/old")].into());
        assert_eq!(granted(&hosts, "a/young"), ["a.com", "b.com"]);
        assert_eq!(hosts.outcome(&key("b/old")), Outcome::default());
    }

    #[test]
    fn of_the_same_age_the_first_by_name_has_it_and_nothing_is_news_that_is_not() {
        let mut hosts = Hosts::default();
        for name in ["a/two", "a/one"] {
            hosts.ask(&key(name), Tick::ZERO, &all(&["a.com"]));
        }
        assert_eq!(granted(&hosts, "a/one"), ["a.com"]);
        hosts.take_stale();
        hosts.ask(&key("a/one"), Tick::ZERO, &all(&["a.com"]));
        hosts.allow("a", None);
        assert_eq!(hosts.take_stale(), BTreeSet::new());
    }

    #[test]
    fn a_namespace_is_kept_to_its_names_and_takes_no_other_from_anybody() {
        let mut hosts = Hosts::default();
        hosts.ask(&key("a/old"), Tick::ZERO, &all(&["a.com", "x.a.com", "*.a.com"]));
        hosts.ask(&key("b/young"), Tick::from_secs(9), &all(&["a.com"]));
        hosts.allow("a", Some(all(&["*.a.com"])));
        assert_eq!(granted(&hosts, "a/old"), ["x.a.com", "*.a.com"]);
        assert_eq!(hosts.outcome(&key("a/old")).refused, [Refused::NotAllowed("a.com".parse().unwrap())]);
        assert_eq!(granted(&hosts, "b/young"), ["a.com"], "who may not have it keeps nobody from it");
        hosts.allow("a", Some(Vec::new()));
        assert_eq!(granted(&hosts, "a/old"), [""; 0]);
        hosts.allow("a", None);
        assert_eq!(granted(&hosts, "a/old").len(), 3);
        assert_eq!(granted(&hosts, "b/young"), [""; 0]);
    }

    proptest! {
        #[test]
        fn a_name_has_one_owner_and_whoever_is_not_told_has_what_it_had(
            steps in prop::collection::vec((0..4_usize, 0..3_u64, prop::collection::btree_set(0..3_usize, 0..3), any::<bool>()), 1..30)
        ) {
            let names = ["a.com", "*.a.com", "b.com"];
            let services = ["a/one", "a/two", "b/one", "b/two"];
            let mut hosts = Hosts::default();
            let mut told: HashMap<ServiceKey, Outcome> = HashMap::new();
            for (service, created, chosen, is_namespace) in steps {
                let chosen: Vec<Host> = chosen.into_iter().map(|at| names[at].parse().unwrap()).collect();
                let service = key(services[service]);
                if is_namespace {
                    hosts.allow(&service.namespace, (created > 0).then_some(chosen));
                } else {
                    hosts.ask(&service, Tick::from_secs(created), &chosen);
                }
                for key in hosts.take_stale() {
                    told.insert(key.clone(), hosts.outcome(&key));
                }
                for service in services.map(key) {
                    prop_assert_eq!(told.get(&service).cloned().unwrap_or_default(), hosts.outcome(&service));
                }
                for name in names {
                    let name: Host = name.parse().unwrap();
                    let owners = told.values().filter(|outcome| outcome.granted.contains(&name)).count();
                    prop_assert!(owners <= 1, "{} has {} owners", name, owners);
                }
            }
        }
    }
}
