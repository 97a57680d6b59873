//! `config-domain`: under which domain a Route is reached.

use std::{cmp::Reverse, collections::BTreeMap};

use ebb_core::Host;
use serde::Deserialize;

use super::{EXAMPLE, Fault, Map, reader::Reader, selector};

/// The only type of a domain besides none.
const WILDCARD: &str = "wildcard";

/// The value of a domain's key.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    selector: Option<BTreeMap<String, String>>,
    #[serde(rename = "type")]
    type_: Option<String>,
}

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

/// Returns the domain of a cluster from the `/etc/resolv.conf` of one of its pods, which looks names up below
/// `svc.DOMAIN`; `None` if it says nothing of the kind.
pub fn cluster_domain(resolv_conf: &str) -> Option<&str> {
    let searches = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("search"));
    searches.flat_map(str::split_whitespace).find_map(|name| name.strip_prefix("svc."))
}

impl Domains {
    /// Reads the map, whose keys are domains. The domain of the cluster is `cluster.local`.
    ///
    /// # Errors
    ///
    /// Returns everything that is wrong with it.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut read = Self::default();
        let mut from = Reader::new(Map::Domain, data);
        for (domain, text) in data.iter().filter(|(key, _)| *key != EXAMPLE) {
            let want = "a domain as example.com, with selector: {LABEL: VALUE} or nothing as its value";
            match domain.parse::<Host>() {
                Ok(host) if host.parent().is_none() => {}
                Ok(_) => from.fault(domain, text, "belongs to a wildcard", want),
                Err(why) => from.fault(domain, text, &format!("belongs to a key that {why}"), want),
            }
            match selector::read_yaml::<Entry>(text) {
                Ok(Entry { type_: Some(other), .. }) if !other.is_empty() && other != WILDCARD => {
                    let problem = format!("has the type {other}, which is not supported");
                    from.fault(domain, text, &problem, "the type wildcard, or none");
                }
                Ok(entry) => {
                    read.domains.insert(domain.clone(), entry.selector.unwrap_or_default());
                }
                Err(problem) => from.fault(domain, text, &problem, want),
            }
        }
        from.finish(read)
    }

    /// Returns the domain of a Route with these labels: the one with the most labels that the Route has too; of
    /// several, the first by name. Without any, the cluster's own: such a Route has no public host.
    pub fn of(&self, labels: &BTreeMap<String, String>) -> String {
        let all = self.domains.iter().filter(|(_, wanted)| selector::matches(wanted, labels));
        let best = all.min_by_key(|(_, wanted)| Reverse(wanted.len()));
        best.map_or_else(|| format!("svc.{}", self.cluster), |(domain, _)| domain.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{data, faults},
        *,
    };

    #[test]
    fn a_pod_knows_the_domain_of_its_cluster() {
        let text =
            "nameserver 10.96.0.10\nsearch shop.svc.example.internal svc.example.internal example.internal\n";
        assert_eq!(cluster_domain(text), Some("example.internal"));
        for text in ["", "search", "search example.com", "# search svc.a", "nameserver svc.a"] {
            assert_eq!(cluster_domain(text), None, "{text}");
        }
    }

    fn domains(pairs: &[(&str, &str)]) -> Domains {
        Domains::read(&data(pairs)).unwrap()
    }

    #[test]
    fn values_are_selectors_or_nothing() {
        for (text, want) in [
            ("", &[][..]),
            ("# a comment\n", &[]),
            ("{}", &[]),
            ("selector:\n  app: shop\n", &[("app", "shop")]),
            ("selector: {app: shop, tier: \"1\"}\ntype: wildcard", &[("app", "shop"), ("tier", "1")]),
            ("selector: {is: true, number: 1}", &[("is", "true"), ("number", "1")]),
            ("selector:", &[]),
            ("type: \"\"", &[]),
        ] {
            let read = domains(&[("example.com", text), ("_example", "???: [")]);
            assert_eq!(read.domains, [("example.com".to_owned(), data(want))].into(), "{text:?}");
            assert_eq!(read.cluster, "cluster.local");
        }
    }

    #[test]
    fn the_domain_with_the_most_labels_wins_then_the_first_by_name() {
        let read = domains(&[
            ("z.example.com", ""),
            ("default.example.com", ""),
            ("b.example.com", "selector: {app: shop}"),
            ("a.example.com", "selector: {app: shop}"),
            ("c.example.com", "selector: {app: shop, tier: web}"),
            ("0.example.com", "selector: {app: shop, tier: db, zone: eu}"),
        ]);
        for (labels, want) in [
            (&[][..], "default.example.com"),
            (&[("app", "other")], "default.example.com"),
            (&[("app", "shop")], "a.example.com"),
            (&[("app", "shop"), ("tier", "web")], "c.example.com"),
            (&[("app", "shop"), ("tier", "web"), ("zone", "eu")], "c.example.com"),
            (&[("app", "shop"), ("tier", "db"), ("zone", "eu")], "0.example.com"),
            (&[("tier", "web")], "default.example.com"),
        ] {
            assert_eq!(read.of(&data(labels)), want, "{labels:?}");
        }
    }

    #[test]
    fn without_a_domain_that_fits_the_clusters_own_is_left() {
        assert_eq!(Domains::default().of(&data(&[("app", "shop")])), "svc.cluster.local");
        let read = domains(&[("example.com", "selector: {app: shop}")]);
        assert_eq!(read.of(&data(&[])), "svc.cluster.local");
        assert_eq!(read.of(&data(&[("app", "shop")])), "example.com");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let want = "want a domain as example.com, with selector: {LABEL: VALUE} or nothing as its value";
        for (key, value, text) in [
            ("Example.com", "", "belongs to a key that is not in lower case"),
            ("_domain", "", "belongs to a key that is not the name of a host"),
            ("10.0.0.1", "", "belongs to a key that is an IP address"),
        ] {
            assert_eq!(
                faults(Domains::read(&data(&[(key, value)]))),
                [format!("{key}: {value:?} {text}; {want}")]
            );
        }
        let text = "example.com: \"type: exact\" has the type exact, which is not supported; want the type wildcard, or none";
        assert_eq!(faults(Domains::read(&data(&[("example.com", "type: exact")]))), [text]);
        for unreadable in ["selectors: {app: shop}", "selector: [", "shop", "selector: {a: 1, a: 2}"] {
            let said = faults(Domains::read(&data(&[("example.com", unreadable)])));
            assert!(said[0].contains("cannot be read: ") && said[0].ends_with(want), "{said:?}");
        }
    }

    #[test]
    fn there_are_not_endlessly_many_faults() {
        let data = (0..1000).map(|number| (format!("_{number}"), String::new())).collect();
        assert_eq!(Domains::read(&data).unwrap_err().len(), 50);
    }
}
