//! What is needed to scale a service without a request.

use std::collections::HashMap;

use ebb_core::{ServiceKey, Tick};
use kube::core::ApiResource;
use parking_lot::{Mutex, RwLock};

use super::{demands::Demands, facts::TargetKey};
use ebb_decide::platform::PlatformError;

/// The state of every service that is Ebb's.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    services: RwLock<HashMap<ServiceKey, Known>>,
    pub(super) kinds: RwLock<HashMap<String, ApiResource>>,
    /// The demands of those services only. Locked after `services`.
    demands: Mutex<Demands>,
}

#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(super) target: TargetKey,
    /// Its current number of pods; `None` if it does not exist.
    pub(super) replicas: Option<u32>,
    /// All services that scale it.
    pub(super) sharing: Vec<ServiceKey>,
    /// Pods that were marked earlier as the first to remove.
    pub(super) marked: Vec<String>,
}

/// A scale to write.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) target: TargetKey,
    pub(super) resource: ApiResource,
    pub(super) pods: u32,
    /// Pods that were marked earlier as the first to remove.
    pub(super) marked: Vec<String>,
}

impl Directory {
    /// Sets what is known of `service`; `None` if it is not Ebb's.
    pub(super) fn know(&self, service: &ServiceKey, known: Option<Known>) {
        let mut services = self.services.write();
        let before = match known {
            Some(known) => services.insert(service.clone(), known),
            None => services.remove(service),
        };
        let Some(before) = before else { return };
        if services.get(service).is_none_or(|known| known.target != before.target) {
            self.demands.lock().forget(service, &before.target);
        }
    }

    /// Returns the scale to write so that `service` has `pods`; `None` if none is needed.
    pub(super) fn demand(
        &self,
        service: &ServiceKey,
        pods: u32,
        now: Tick,
    ) -> Result<Option<Scale>, PlatformError> {
        let services = self.services.read();
        let known = services.get(service).ok_or_else(|| PlatformError(format!("{service} is not known")))?;
        let Known { target, replicas, sharing, marked } = known;
        // Its creation is an event; until then a request would be useless.
        let replicas = replicas.ok_or_else(|| PlatformError(format!("{target} does not exist")))?;
        let mut demands = self.demands.lock();
        if !demands.may_try(service, now) {
            return Err(PlatformError(format!("{target}: failed just now; waiting before the next try")));
        }
        let Some(pods) = demands.demand(service, pods, target, sharing, replicas) else { return Ok(None) };
        let resource = self.kinds.read().get(&target.kind).cloned();
        let resource = resource.ok_or_else(|| PlatformError(format!("{target} cannot be scaled")))?;
        Ok(Some(Scale { target: target.clone(), resource, pods, marked: marked.clone() }))
    }

    /// Records whether the write for `service` succeeded.
    pub(super) fn written(&self, service: &ServiceKey, succeeded: bool, now: Tick) {
        // The service may be gone meanwhile; then nothing is recorded.
        let services = self.services.read();
        let mut demands = self.demands.lock();
        if succeeded {
            demands.succeeded(service);
        } else if services.contains_key(service) {
            demands.failed(service, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_services_that_are_gone() {
        let now = Tick::from_secs(1);
        let target =
            |name: &str| TargetKey { kind: "Deployment".into(), namespace: "shop".into(), name: name.into() };
        let all = ["one", "two", "three"].map(|name| ServiceKey::new("shop", name));
        let known = |name: &str| {
            Some(Known { target: target(name), replicas: Some(1), sharing: all.to_vec(), marked: vec![] })
        };
        let directory = Directory::default();
        for service in &all {
            directory.know(service, known("web"));
            assert!(directory.demand(service, 1, now).unwrap().is_none());
            directory.written(service, false, now);
        }
        let [one, two, three] = &all;
        directory.know(one, known("other"));
        assert!(directory.demand(one, 1, now).is_ok(), "what failed was another target");
        for service in [one, two, three] {
            directory.know(service, None);
            directory.written(service, false, now);
        }
        assert!(directory.demands.lock().is_empty());
    }
}
