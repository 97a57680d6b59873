//! The times of events in a namespace, from watches.
//!
//! `creationTimestamp` and similar fields have whole seconds. So an object's time is when this program's
//! watch reported it, a millisecond or two late.

use std::{collections::HashMap, sync::Arc, time::Duration};

use e2e::Scenario;
use ebb_proxy::WallClock;
use futures_util::StreamExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use tokio::task::JoinSet;

/// The observed times of one app, since the epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// When its Deployment asked for a pod.
    pub(crate) patched: Option<Duration>,
    pub(crate) created: Option<Duration>,
    pub(crate) scheduled: Option<Duration>,
    /// When its Ready condition held.
    pub(crate) ready: Option<Duration>,
}

/// Watches a namespace until it is dropped.
#[derive(Debug)]
pub(crate) struct Timeline {
    clock: WallClock,
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    #[expect(dead_code, reason = "held for its drop alone")]
    watches: JoinSet<()>,
}

impl Timeline {
    pub(crate) fn follow(scenario: &Scenario, clock: WallClock) -> Self {
        let seen = Arc::<Mutex<HashMap<String, Seen>>>::default();
        let mut watches = JoinSet::new();
        let (deployments, pods) = (scenario.api::<Deployment>(), scenario.api::<Pod>());
        let of_deployments = seen.clone();
        watches.spawn(async move {
            let mut changes = std::pin::pin!(
                watcher(deployments, watcher::Config::default()).default_backoff().applied_objects()
            );
            while let Some(change) = changes.next().await {
                let now = clock.now().since_epoch();
                let Ok(deployment) = change else { continue };
                if deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default() > 0 {
                    of_deployments
                        .lock()
                        .entry(deployment.name_any())
                        .or_default()
                        .patched
                        .get_or_insert(now);
                }
            }
        });
        let of_pods = seen.clone();
        watches.spawn(async move {
            let mut changes =
                std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(change) = changes.next().await {
                let now = clock.now().since_epoch();
                let Ok(pod) = change else { continue };
                let Some(app) = pod.labels().get("app") else { continue };
                let mut all = of_pods.lock();
                let seen = all.entry(app.clone()).or_default();
                seen.created.get_or_insert(now);
                if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
                    seen.scheduled.get_or_insert(now);
                }
                let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
                if conditions.into_iter().any(|is| is.type_ == "Ready" && is.status == "True") {
                    seen.ready.get_or_insert(now);
                }
            }
        });
        Self { clock, seen, watches }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now().since_epoch()
    }

    pub(crate) fn clock(&self) -> WallClock {
        self.clock
    }

    pub(crate) fn of(&self, app: &str) -> Seen {
        self.seen.lock().get(app).copied().unwrap_or_default()
    }
}
