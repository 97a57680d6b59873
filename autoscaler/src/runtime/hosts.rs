//! The names by which services and routes are reached through the gateway: activators are told of them.

use ebb_core::{
    Host, ServiceKey,
    link::{Down, HostsEntry},
};
use ebb_decide::platform::{EndpointSink, ScaleTarget};

use super::Runtime;

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    /// Names belong to others now. Activators hear of all of them at once.
    pub(super) fn on_hosts(&mut self, changed: Vec<(ServiceKey, Vec<Host>)>) {
        let entries = changed.iter().map(|(key, hosts)| hosts_entry(key, hosts)).collect();
        let keys: Vec<ServiceKey> = changed.iter().map(|(key, _)| key.clone()).collect();
        for (key, hosts) in changed {
            if hosts.is_empty() {
                self.hosts.remove(&key);
            } else {
                self.hosts.insert(key, hosts);
            }
        }
        if self.leads {
            self.activators.send(Down { hosts: entries, ..Down::default() });
        }
        for key in keys {
            self.see_whether_any_activator_takes(&key);
            for target in self.targets_of(&key) {
                self.see_whether_any_activator_takes(&target);
            }
        }
    }

    /// All names there are.
    pub(super) fn all_hosts(&self) -> Vec<HostsEntry> {
        self.hosts.iter().map(|(key, hosts)| hosts_entry(key, hosts)).collect()
    }

    /// Whether requests for `service` come through the gateway, by its own name or that of a route.
    pub(super) fn is_behind_the_gateway(&self, service: &ServiceKey) -> bool {
        let routes = self.routes.of_target(service);
        self.hosts.contains_key(service) || routes.iter().any(|route| self.hosts.contains_key(&**route))
    }
}

fn hosts_entry(key: &ServiceKey, hosts: &[Host]) -> HostsEntry {
    HostsEntry {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
    }
}
