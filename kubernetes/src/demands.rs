//! Combines the demands of services that share a scale target: the largest one wins.

use std::{collections::HashMap, time::Duration};

use ebb_cluster::pacing::Retries;
use ebb_core::{ServiceKey, Tick};

use super::facts::TargetKey;

/// Shortest and longest pause after a failed scale.
const RETRY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// The demands on every scale target.
#[derive(Debug)]
pub(crate) struct Demands {
    by_target: HashMap<TargetKey, HashMap<ServiceKey, u32>>,
    failed: Retries<ServiceKey>,
}

impl Default for Demands {
    fn default() -> Self {
        Self { by_target: HashMap::new(), failed: Retries::new(RETRY) }
    }
}

impl Demands {
    /// Records that `service` wants `pods` for its `target`, which has `replicas` and is shared by `sharing`. Returns the
    /// scale to write; `None` if the target has what they want together. A service without a demand wants the current
    /// number.
    pub(crate) fn demand(
        &mut self,
        service: &ServiceKey,
        pods: u32,
        target: &TargetKey,
        sharing: &[ServiceKey],
        replicas: u32,
    ) -> Option<u32> {
        if sharing.len() < 2 {
            self.by_target.remove(target);
            return Some(pods);
        }
        let demands = self.by_target.entry(target.clone()).or_default();
        demands.retain(|other, _| sharing.contains(other));
        demands.insert(service.clone(), pods);
        let most = sharing.iter().map(|one| demands.get(one).copied().unwrap_or(replicas)).max()?;
        (most != replicas).then_some(most)
    }

    /// Removes the demand of `service`, which is gone or no longer scales `target`.
    pub(crate) fn forget(&mut self, service: &ServiceKey, target: &TargetKey) {
        self.failed.settled(service);
        if let Some(demands) = self.by_target.get_mut(target) {
            demands.remove(service);
            if demands.is_empty() {
                self.by_target.remove(target);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_target.is_empty() && self.failed.is_empty()
    }

    /// Returns whether to try a scale of `service` now: the pause grows after each failure.
    pub(crate) fn may_try(&self, service: &ServiceKey, now: Tick) -> bool {
        self.failed.may_try(service, now)
    }

    pub(crate) fn succeeded(&mut self, service: &ServiceKey) {
        self.failed.settled(service);
    }

    pub(crate) fn failed(&mut self, service: &ServiceKey, now: Tick) {
        self.failed.failed(service.clone(), now, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> TargetKey {
        TargetKey { kind: "Deployment".into(), namespace: "shop".into(), name: "web".into() }
    }

    fn keys() -> [ServiceKey; 2] {
        ["one", "two"].map(|name| ServiceKey::new("shop", name))
    }

    #[test]
    fn one_alone_has_what_it_wants() {
        let [one, _] = keys();
        let mut demands = Demands::default();
        assert_eq!(demands.demand(&one, 0, &target(), std::slice::from_ref(&one), 3), Some(0));
    }

    #[test]
    fn those_that_share_have_what_the_most_demanding_wants() {
        let all = keys();
        let [one, two] = &all;
        let mut demands = Demands::default();
        assert_eq!(demands.demand(one, 0, &target(), &all, 1), None, "the other may need it");
        assert_eq!(demands.demand(two, 3, &target(), &all, 1), Some(3));
        assert_eq!(demands.demand(one, 0, &target(), &all, 3), None);
        assert_eq!(demands.demand(one, 5, &target(), &all, 3), Some(5));
        assert_eq!(demands.demand(two, 0, &target(), &all, 5), None);
        assert_eq!(demands.demand(one, 0, &target(), &all, 5), Some(0));
        assert_eq!(
            demands.demand(two, 2, &target(), std::slice::from_ref(two), 0),
            Some(2),
            "the other is gone"
        );
    }

    #[test]
    fn what_failed_is_tried_later_and_later() {
        let [one, _] = keys();
        let mut demands = Demands::default();
        let mut now = Tick::from_secs(1);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(demands.may_try(&one, now));
            demands.failed(&one, now);
            let before = now;
            while !demands.may_try(&one, now) {
                now = now.after(Duration::from_millis(100));
            }
            pauses.push(now.since(before).as_millis());
        }
        assert_eq!((pauses[0], pauses[1], pauses[11]), (200, 400, 5_000));
        demands.succeeded(&one);
        assert!(demands.may_try(&one, before_all()));
    }

    fn before_all() -> Tick {
        Tick::ZERO
    }
}
