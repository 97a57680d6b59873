//! Hosts and their certificates: who requests them, and what the autoscaler and the owners are told.

use std::collections::{BTreeSet, HashMap};

use ebb_annotations::parse_allowed_hosts;
use ebb_cluster::Notice;
use ebb_core::{Host, ServiceKey, Tick, link::CertificateEntry};
use ebb_decide::platform::{Exposed, FleetEvent};

use super::{Listing, World, forget};
use crate::hosts::{Outcome, Refused};

/// The annotation of a Namespace with the hosts that it is restricted to.
pub(crate) const ALLOWED_HOSTS: &str = "ebb.dev/allowed-hosts";

/// Maximum number of Secrets whose certificates are served, in all and of one namespace, so that no namespace takes
/// what others need.
const MOST_SECRETS: usize = 1000;
const MOST_OF_A_NAMESPACE: usize = 200;

impl World {
    /// Records a Namespace with its uid and the hosts that it is restricted to, as written; `None` if it is not
    /// restricted.
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
                api_version: "v1",
                kind: "Namespace",
                // The Event of an object without a namespace is in `default`.
                namespace: "default".to_owned(),
                name: name.to_owned(),
                uid: uid.to_owned(),
                is_warning: true,
                reason: "InvalidAllowedHosts",
                text,
            });
        }
    }

    /// Records that a Namespace was deleted.
    pub(crate) fn namespace_gone(&mut self, name: &str) {
        self.hosts.allow(name, None);
        self.told_namespaces.remove(name);
    }

    /// Returns the Namespaces that are restricted, to find out which were deleted.
    pub(crate) fn kept_namespaces(&self) -> Vec<String> {
        self.hosts.kept_namespaces()
    }

    /// Returns the Secrets whose certificates are served, each with a number that changes when it is named again.
    pub(crate) fn wanted_secrets(&self) -> &HashMap<ServiceKey, u64> {
        &self.secrets_named
    }

    /// Records the certificate of a Secret, or why there is none. The previous one is served until there is a new
    /// one.
    pub(crate) fn certificate(&mut self, secret: &ServiceKey, read: Result<CertificateEntry, String>) {
        if !self.by_secret.contains_key(secret) {
            return;
        }
        let trouble = read.as_ref().err().cloned();
        if let Ok(certificate) = read {
            self.secrets_read.insert(secret.clone());
            self.events.push(FleetEvent::Certificate(certificate));
        }
        match trouble {
            Some(trouble) => self.secret_troubles.insert(secret.clone(), trouble),
            None => self.secret_troubles.remove(secret),
        };
        for service in self.by_secret.get(secret).into_iter().flatten() {
            self.hosts.look_again(service);
        }
    }

    /// Reads which hosts a Service requests.
    pub(super) fn read_hosts(&mut self, key: &ServiceKey) {
        let record = self.services.get(key);
        let stays = record.filter(|record| record.releasing.is_none() && !record.route_ends);
        match stays.and_then(|record| record.front()) {
            Some(front) => {
                self.hosts.ask(key, front.created, &front.exposure.hosts);
                if self.http_routes.services.contains_key(key) {
                    // Its port or its TLS annotations may have changed.
                    self.hosts.look_again(key);
                }
                let told = self.exposed.get(key);
                if told.is_some_and(|told| *told != exposed(key, told.hosts.clone(), Some(&front.exposure))) {
                    self.hosts.look_again(key);
                }
            }
            None => self.hosts.ask(key, Tick::ZERO, &[]),
        }
    }

    /// Returns whether it is known which Service has which name.
    pub(super) fn knows_hosts(&self) -> bool {
        self.listed.contains(&Listing::Services) && self.listed.contains(&Listing::Namespaces)
    }

    /// Returns all news about hosts for the autoscaler, and records what is wrong with them. Returns nothing while an
    /// older Service, or a Namespace that is restricted, may still appear.
    pub(super) fn host_news(&mut self) -> Vec<FleetEvent> {
        if !self.knows_hosts() {
            return Vec::new();
        }
        let (mut news, mut left) = (Vec::new(), BTreeSet::new());
        for key in self.hosts.take_stale() {
            let Outcome { granted, refused } = self.hosts.outcome(&key);
            let mut warnings: Vec<_> = refused.iter().map(warning).collect();
            let granted = self.give_to_gateway(&key, granted, &mut warnings);
            let front = self.services.get(&key).and_then(|record| record.front());
            let now = exposed(&key, granted, front.map(|front| &front.exposure));
            let secret = now.secret();
            if let Some(secret) = &secret {
                self.name_secret(secret);
            }
            warnings.extend(
                secret.as_ref().and_then(|secret| self.secret_troubles.get(secret)).map(no_certificate),
            );
            let before = if now.hosts.is_empty() {
                self.exposed.remove(&key)
            } else {
                self.exposed.insert(key.clone(), now.clone())
            };
            let former =
                before.as_ref().and_then(Exposed::secret).filter(|former| Some(former) != secret.as_ref());
            if let Some(former) = former {
                forget(&mut self.by_secret, &former, &key);
                left.insert(former);
            }
            if let Some(secret) = secret {
                self.by_secret.entry(secret).or_default().insert(key.clone());
            }
            if let Some(record) = self.services.get_mut(&key) {
                let told = record.set_refused_hosts(warnings);
                self.notices.extend(told);
                self.touched.insert(key.clone());
            }
            let is_news = before.map_or(!now.hosts.is_empty(), |before| before != now);
            news.extend(is_news.then_some(now));
        }
        // The first time, an empty list is news as well.
        let is_first = !std::mem::replace(&mut self.told_of_hosts, true);
        let hosts = (is_first || !news.is_empty()).then_some(FleetEvent::Hosts(news));
        let left: Vec<ServiceKey> =
            left.into_iter().filter(|secret| !self.by_secret.contains_key(secret)).collect();
        hosts.into_iter().chain(left.into_iter().map(|secret| self.leave_secret(&secret))).collect()
    }

    /// Records that a Service names that Secret. Beyond the limit, new ones are not read, and their Services are
    /// told.
    fn name_secret(&mut self, secret: &ServiceKey) {
        if self.secrets_named.contains_key(secret) {
            return;
        }
        let of_namespace = self.secrets_named.keys().filter(|other| other.namespace == secret.namespace);
        if self.secrets_named.len() < MOST_SECRETS && of_namespace.count() < MOST_OF_A_NAMESPACE {
            self.last_named += 1;
            self.secrets_named.insert(secret.clone(), self.last_named);
            self.secret_troubles.remove(secret);
        } else {
            let why = format!(
                "Secret {} is one too many: Ebb shows {MOST_SECRETS} certificates, and {MOST_OF_A_NAMESPACE} of one namespace",
                secret.name
            );
            self.secret_troubles.insert(secret.clone(), why);
        }
    }

    /// Records that no Service names that Secret any more.
    fn leave_secret(&mut self, secret: &ServiceKey) -> FleetEvent {
        self.secret_troubles.remove(secret);
        self.secrets_read.remove(secret);
        if self.secrets_named.remove(secret).is_some() {
            // There is room for a Secret beyond the limit.
            let unread = self.by_secret.iter().filter(|(other, _)| !self.secrets_named.contains_key(*other));
            for service in unread.flat_map(|(_, services)| services) {
                self.hosts.look_again(service);
            }
        }
        let (namespace, name) = (secret.namespace.clone(), secret.name.clone());
        FleetEvent::Certificate(CertificateEntry { namespace, name, ..CertificateEntry::default() })
    }
}

fn exposed(key: &ServiceKey, hosts: Vec<Host>, exposure: Option<&ebb_annotations::Exposure>) -> Exposed {
    // Without a host, no certificate is needed.
    let exposure = exposure.filter(|_| !hosts.is_empty());
    let tls_secret = exposure.and_then(|exposure| exposure.tls_secret.clone());
    let https_redirect = exposure.is_some_and(|exposure| exposure.https_redirect);
    Exposed { key: key.clone(), hosts, tls_secret, https_redirect }
}

/// Returns the reason of an Event, and its text.
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

fn no_certificate(why: &String) -> (&'static str, String) {
    ("NoCertificate", format!("{why}; ebb.dev/tls-secret names it"))
}
