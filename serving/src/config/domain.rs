//! `config-domain`: under which domain a Route is reached.

use std::collections::BTreeMap;

/// The domains, each for the Routes with certain labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains {
    /// Domains with the labels that a Route must have; none for the default domain.
    pub domains: BTreeMap<String, BTreeMap<String, String>>,
    /// The domain of the cluster, as `cluster.local`.
    pub cluster: String,
}

impl Default for Domains {
    fn default() -> Self {
        Self { domains: BTreeMap::new(), cluster: "cluster.local".to_owned() }
    }
}

impl Domains {
    /// Returns the domain of a Route with these labels: the one with the most labels that the Route has too; of
    /// several, the first by name. Without any, the cluster's own: such a Route has no public host.
    pub fn of(&self, labels: &BTreeMap<String, String>) -> String {
        let has = |wanted: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let all = self.domains.iter().filter(|(_, wanted)| has(wanted));
        let best = all.min_by_key(|(_, wanted)| std::cmp::Reverse(wanted.len()));
        best.map_or_else(|| format!("svc.{}", self.cluster), |(domain, _)| domain.clone())
    }
}
