//! The hosts by which services and routes are reached through the gateway, as activators are told.

use ebb_core::{
    ServiceKey,
    link::{CertificateEntry, Down, HostsEntry},
};
use ebb_decide::platform::{EndpointSink, Exposed, ScaleTarget};

use super::Runtime;

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    /// Handles changed owners of hosts. Activators are told all changes in one message.
    pub(super) fn on_hosts(&mut self, changed: Vec<Exposed>) {
        if !std::mem::replace(&mut self.hosts_known, true) && self.complete {
            // Until now, activators kept the hosts that they knew.
            for exposed in changed {
                self.exposed.insert(exposed.key.clone(), exposed);
            }
            return self.tell_tables();
        }
        let entries = changed.iter().map(hosts_entry).collect();
        let keys: Vec<ServiceKey> = changed.iter().map(|exposed| exposed.key.clone()).collect();
        for exposed in changed {
            if exposed.hosts.is_empty() {
                self.exposed.remove(&exposed.key);
            } else {
                self.exposed.insert(exposed.key.clone(), exposed);
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

    /// Handles a certificate that is new or changed.
    pub(super) fn on_certificate(&mut self, certificate: CertificateEntry) {
        if self.leads {
            self.activators.send(Down { certificates: vec![certificate.clone()], ..Down::default() });
        }
        if certificate.chain.is_empty() {
            self.certificates.remove(&certificate.secret());
        } else {
            self.certificates.insert(certificate.secret(), certificate);
        }
    }

    /// Returns all hosts.
    pub(super) fn all_hosts(&self) -> Vec<HostsEntry> {
        self.exposed.values().map(hosts_entry).collect()
    }

    /// Returns whether requests for `service` come through the gateway, by its own hosts or those of a route.
    pub(super) fn is_behind_the_gateway(&self, service: &ServiceKey) -> bool {
        let routes = self.routes.of_target(service);
        self.exposed.contains_key(service) || routes.iter().any(|route| self.exposed.contains_key(&**route))
    }
}

fn hosts_entry(exposed: &Exposed) -> HostsEntry {
    HostsEntry {
        namespace: exposed.key.namespace.clone(),
        name: exposed.key.name.clone(),
        hosts: exposed.hosts.iter().map(ToString::to_string).collect(),
        tls_secret: exposed.tls_secret.clone().unwrap_or_default(),
        https_redirect: exposed.https_redirect,
    }
}
