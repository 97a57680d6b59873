//! Names at the gateway: who asks for them, and what those who decide and the owners hear of that.

use ebb_annotations::parse_allowed_hosts;
use ebb_cluster::Notice;
use ebb_core::ServiceKey;
use ebb_decide::platform::{Exposed, FleetEvent};

use super::{Listing, World};
use crate::hosts::{Outcome, Refused};

/// Where a Namespace says to which names it is kept.
pub(crate) const ALLOWED_HOSTS: &str = "ebb.dev/allowed-hosts";

impl World {
    /// A Namespace is there, with the uid and the names that it is kept to, as they are written; `None`: it is not kept.
    pub(crate) fn namespace(&mut self, name: &str, uid: &str, allowed: Option<&str>) {
        let (hosts, faults) = allowed.map(parse_allowed_hosts).unzip();
        self.hosts.allow(name, hosts);
        let faults: Vec<String> = faults.unwrap_or_default();
        let text = faults.join("\n");
        let before = if text.is_empty() {
            self.told_namespaces.remove(name)
        } else {
            self.told_namespaces.insert(name.to_owned(), text.clone())
        };
        if !text.is_empty() && before.as_ref() != Some(&text) {
            self.notices.push(Notice {
                kind: "Namespace",
                // An Event of an object without a namespace stands in `default`.
                namespace: "default".to_owned(),
                name: name.to_owned(),
                uid: uid.to_owned(),
                is_warning: true,
                reason: "InvalidAllowedHosts",
                text,
            });
        }
    }

    /// A Namespace is gone, or none of those that there are.
    pub(crate) fn namespace_gone(&mut self, name: &str) {
        self.hosts.allow(name, None);
        self.told_namespaces.remove(name);
    }

    /// Namespaces that are kept to some names, to find out which are gone.
    pub(crate) fn kept_namespaces(&self) -> Vec<String> {
        self.hosts.kept_namespaces()
    }

    /// Reads anew for which names a Service asks.
    pub(super) fn read_hosts(&mut self, key: &ServiceKey) {
        let record = self.services.get(key);
        let stays = record.filter(|record| record.releasing.is_none() && !record.route_ends);
        match stays.and_then(|record| record.front()) {
            Some(front) => self.hosts.ask(key, front.created, &front.exposure.hosts),
            None => self.hosts.ask(key, ebb_core::Tick::ZERO, &[]),
        }
    }

    /// What those who decide must hear of names, all at once; and what is wrong with them is put down. Nothing, as long as an
    /// older Service may still come, or a Namespace that is kept to others.
    pub(super) fn host_news(&mut self) -> Option<FleetEvent> {
        let are_known =
            self.listed.contains(&Listing::Services) && self.listed.contains(&Listing::Namespaces);
        if !are_known {
            return None;
        }
        let mut news = Vec::new();
        for key in self.hosts.take_stale() {
            let Outcome { granted, refused } = self.hosts.outcome(&key);
            if let Some(record) = self.services.get_mut(&key) {
                let told = record.set_refused_hosts(refused.iter().map(warning).collect());
                self.notices.extend(told);
                self.touched.insert(key.clone());
            }
            let before = if granted.is_empty() {
                self.told_hosts.remove(&key).unwrap_or_default()
            } else {
                self.told_hosts.insert(key.clone(), granted.clone()).unwrap_or_default()
            };
            if before != granted {
                news.push(Exposed { key, hosts: granted });
            }
        }
        (!news.is_empty()).then_some(FleetEvent::Hosts(news))
    }
}

/// The reason of an Event, and its text.
fn warning(refused: &Refused) -> (&'static str, String) {
    match refused {
        Refused::Taken(host, owner) => (
            "HostTaken",
            format!(
                "host {host} belongs to Service {owner}, which is older; ask for another one in ebb.dev/hosts"
            ),
        ),
        Refused::NotAllowed(host) => (
            "HostNotAllowed",
            format!("host {host} is none of those that {ALLOWED_HOSTS} allows in this namespace"),
        ),
    }
}
