//! A table of the Services that are Ebb's, so that webhooks need not query the API server.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use ebb_core::ServiceKey;
use parking_lot::RwLock;

use super::{Claim, Labels, selects};

/// The Services that are Ebb's; clones share one table. The watch of Services updates it.
///
/// A Service is updated in place under a short lock: replacing a snapshot would copy all others.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    scaled: Arc<RwLock<HashMap<String, ByName>>>,
    routes: Arc<RwLock<HashSet<ServiceKey>>>,
}

type ByName = BTreeMap<String, Arc<Claim>>;

impl Claims {
    /// Records that a Service is Ebb's, with what it requests.
    pub(crate) fn put(&self, claim: Arc<Claim>) {
        let mut all = self.scaled.write();
        let namespace = all.entry(claim.front.key.namespace.clone()).or_default();
        namespace.insert(claim.front.key.name.clone(), claim);
    }

    /// Records that a Service is no longer Ebb's.
    pub(crate) fn remove(&self, service: &ServiceKey) {
        let mut all = self.scaled.write();
        if let Some(namespace) = all.get_mut(&service.namespace) {
            namespace.remove(&service.name);
            if namespace.is_empty() {
                all.remove(&service.namespace);
            }
        }
    }

    /// Records whether a Service is a route.
    pub(crate) fn set_route(&self, service: &ServiceKey, is_route: bool) {
        if self.is_route(service) != is_route {
            let mut routes = self.routes.write();
            if is_route {
                routes.insert(service.clone())
            } else {
                routes.remove(service)
            };
        }
    }

    /// Returns whether a Service is a route.
    pub(crate) fn is_route(&self, service: &ServiceKey) -> bool {
        self.routes.read().contains(service)
    }

    /// Returns the claims of `namespace` whose selectors match `labels`, by name.
    pub(crate) fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<Arc<Claim>> {
        let all = self.scaled.read();
        let namespace = all.get(namespace).into_iter().flat_map(BTreeMap::values);
        namespace.filter(|claim| selects(&claim.selector, labels)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claim::fixtures::claim;

    fn names(claims: &Claims, namespace: &str, app: &str) -> Vec<String> {
        let labels = [("app".to_owned(), app.to_owned()), ("more".to_owned(), "x".to_owned())].into();
        claims.selecting(namespace, &labels).iter().map(|claim| claim.front.key.name.clone()).collect()
    }

    #[test]
    fn the_services_that_select_a_pod_are_found_by_name() {
        let claims = Claims::default();
        for (namespace, name, app) in
            [("shop", "b", "x"), ("shop", "a", "x"), ("shop", "c", "y"), ("bank", "a", "x")]
        {
            let spec = json!({"selector": {"app": app}});
            claims.put(claim(namespace, name, &json!({}), &spec));
        }
        assert_eq!(names(&claims, "shop", "x"), ["a", "b"]);
        assert_eq!(names(&claims, "bank", "x"), ["a"]);
        assert_eq!(names(&claims, "shop", "z"), [""; 0]);
        assert_eq!(names(&claims, "none", "x"), [""; 0]);

        claims.put(claim("shop", "a", &json!({}), &json!({"selector": {"app": "y"}})));
        claims.remove(&ServiceKey::new("shop", "c"));
        assert_eq!(names(&claims, "shop", "x"), ["b"], "what a Service asks replaces what it asked");
        assert_eq!(names(&claims, "shop", "y"), ["a"]);
    }

    #[test]
    fn a_namespace_without_services_takes_no_place() {
        let claims = Claims::default();
        let one = claim("shop", "a", &json!({}), &json!({}));
        claims.put(one.clone());
        claims.remove(&one.front.key);
        claims.remove(&one.front.key);
        assert!(claims.scaled.read().is_empty());
    }
}
