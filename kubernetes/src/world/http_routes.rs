//! Decides which HTTPRoutes should exist for the hosts of Services.

use ebb_core::{Host, ServiceKey};

use super::World;
use crate::http_routes::{Backend, Parent, Trouble, Wanted};

/// The reason of the warning that the Gateway has the certificates.
pub(super) const TLS_AT_GATEWAY: &str = "TlsAtGateway";

impl World {
    /// Sets the Gateway that takes the requests for hosts; `None` if `ebb-gateway` does.
    pub(crate) fn set_gateway(&mut self, gateway: Option<Parent>) {
        if self.http_routes.parent == gateway {
            return;
        }
        self.http_routes.parent = gateway;
        self.hosts.look_at_all();
    }

    /// Returns the HTTPRoutes that should exist; `None` while it is unknown which Service has which name.
    pub(crate) fn http_routes(&self) -> Option<&Wanted> {
        self.knows_hosts().then_some(&self.http_routes)
    }

    /// Records why a Service lacks HTTPRoutes; `None` if it has them.
    pub(crate) fn http_route_trouble(&mut self, service: &ServiceKey, trouble: Option<Trouble>) {
        match trouble.filter(|_| self.http_routes.services.contains_key(service)) {
            Some(trouble) => self.http_route_troubles.insert(service.clone(), trouble),
            None => self.http_route_troubles.remove(service),
        };
        self.hosts.look_again(service);
    }

    /// Gives the hosts of a Service to the Gateway, if one is set. Returns the hosts that remain for `ebb-gateway`, and
    /// adds what is wrong to `warnings`.
    pub(super) fn give_to_gateway(
        &mut self,
        key: &ServiceKey,
        granted: Vec<Host>,
        warnings: &mut Vec<Trouble>,
    ) -> Vec<Host> {
        let front = self.services.get(key).and_then(|record| record.front()).filter(|_| !granted.is_empty());
        let (Some(parent), Some(front)) = (&self.http_routes.parent, front) else {
            self.http_routes.services.remove(key);
            self.http_route_troubles.remove(key);
            return granted;
        };
        let asks_for_tls = front.exposure.tls_secret.is_some();
        if asks_for_tls {
            let text = format!(
                "ebb.dev/tls-secret and ebb.dev/https-redirect have no effect: Gateway {parent} takes the requests, \
                 and its listeners have the certificates"
            );
            warnings.push((TLS_AT_GATEWAY, text));
        }
        warnings.extend(self.http_route_troubles.get(key).cloned());
        let (uid, port) = (front.uid.clone(), front.port.number);
        self.http_routes.services.insert(key.clone(), Backend { uid, port, hosts: granted });
        Vec::new()
    }
}
