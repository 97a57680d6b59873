use std::{collections::VecDeque, io, sync::Arc};

use ebb_core::Tick;
use ebb_decide::platform::FleetEvent;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::victims;
use crate::pod::{LocalPod, Machine, PodStatus, Template, Timeline};

/// The number of former pods whose timeline is kept.
const REMEMBERED: usize = 1000;

/// The pods of one service.
#[derive(Debug)]
pub(crate) struct ServicePods {
    template: Template,
    machine: Machine,
    state: Mutex<State>,
    /// Allows one change at a time.
    scaling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Including those that drain.
    pods: Vec<Arc<LocalPod>>,
    wanted: u32,
    created: u64,
    gone: VecDeque<(Arc<str>, Timeline)>,
    gone_seconds: f64,
    ended: bool,
}

impl ServicePods {
    pub(super) fn new(template: Template, machine: Machine) -> Self {
        Self { template, machine, state: Mutex::default(), scaling: tokio::sync::Mutex::default() }
    }

    /// Scales to `wanted` pods, not counting those that drain. A scale-down removes the pods in `first_to_go`
    /// first. `changed` is called whenever a pod changes: it looks at all of them.
    pub(super) async fn set_replicas(
        self: &Arc<Self>,
        wanted: u32,
        first_to_go: &[String],
        tasks: &TaskTracker,
        changed: impl Fn() + Clone + Send + Sync + 'static,
    ) -> io::Result<()> {
        let _turn = self.scaling.lock().await;
        let decided_at = self.machine.clock.now();
        let from_zero = self.state.lock().wanted == 0;
        let woken_at = from_zero.then_some(decided_at);
        let missing = self.want(wanted, first_to_go);
        for _ in 0..missing {
            if let Some(pod) = self.create(woken_at).await? {
                self.keep_alive(pod, tasks, changed.clone());
            }
        }
        Ok(())
    }

    /// Drains surplus pods, and returns how many are missing.
    fn want(&self, wanted: u32, first_to_go: &[String]) -> usize {
        let mut state = self.state.lock();
        let count = usize::try_from(wanted).unwrap_or(usize::MAX);
        let staying: Vec<Arc<LocalPod>> = state.staying().cloned().collect();
        if state.ended {
            return 0;
        }
        state.wanted = wanted;
        for victim in victims::choose(&staying, first_to_go).take(staying.len().saturating_sub(count)) {
            victim.leave();
        }
        count.saturating_sub(staying.len())
    }

    /// Creates a pod; returns `None` if no more are allowed.
    ///
    /// # Errors
    ///
    /// Returns an error if the machine has no port or descriptor left. Then the wanted number is set to the
    /// current one, so that a caller who wants more asks again.
    async fn create(&self, woken_at: Option<Tick>) -> io::Result<Option<Arc<LocalPod>>> {
        let name: Arc<str> = {
            let mut state = self.state.lock();
            state.created += 1;
            format!("{}-{}", self.template.key.name, state.created).into()
        };
        let created = LocalPod::create(name, woken_at, &self.template, &self.machine).await;
        let mut state = self.state.lock();
        match created {
            Ok(_) if state.ended => Ok(None),
            Ok(pod) => {
                state.pods.push(pod.clone());
                Ok(Some(pod))
            }
            Err(error) => {
                state.wanted = u32::try_from(state.staying().count()).unwrap_or(u32::MAX);
                Err(error)
            }
        }
    }

    /// Runs `pod` in a task until it ends, and its successors if it ended although it was wanted.
    fn keep_alive(
        self: &Arc<Self>,
        mut pod: Arc<LocalPod>,
        tasks: &TaskTracker,
        changed: impl Fn() + Send + Sync + 'static,
    ) {
        let service = self.clone();
        tasks.spawn(async move {
            loop {
                pod.live(&service.template, &service.machine, &changed).await;
                let lived = service.machine.clock.now().since(pod.created_at()).as_secs_f64();
                service.state.lock().bury(&pod, lived);
                let successor = service.replace().await;
                changed();
                match successor {
                    Some(successor) => pod = successor,
                    None => return,
                }
            }
        });
    }

    /// Creates a replacement for a pod that is gone, if one is missing.
    async fn replace(&self) -> Option<Arc<LocalPod>> {
        let _turn = self.scaling.lock().await;
        {
            let state = self.state.lock();
            let count = u32::try_from(state.staying().count()).unwrap_or(u32::MAX);
            if count >= state.wanted {
                return None;
            }
        }
        match self.create(None).await {
            Ok(pod) => pod,
            Err(error) => {
                tracing::warn!(service = %self.template.key, %error, "cannot replace a pod");
                None
            }
        }
    }

    /// Returns the complete state for the autoscaler.
    pub(super) fn event(&self) -> FleetEvent {
        let state = self.state.lock();
        let staying: Vec<&Arc<LocalPod>> = state.staying().collect();
        let trouble = staying.iter().map(|pod| pod.trouble()).find(|trouble| !trouble.is_empty());
        FleetEvent::Pods {
            key: self.template.key.clone(),
            pods: staying
                .iter()
                .map(|pod| ebb_decide::Pod {
                    name: pod.name.to_string(),
                    address: Some(ebb_decide::PodAddress {
                        serving: pod.addresses.serving,
                        stats: pod.addresses.stats,
                    }),
                    nonce: pod.nonce.clone(),
                    direct: false,
                    ready: pod.is_ready(),
                    started_at: pod.created_at(),
                })
                .collect(),
            replicas: state.wanted,
            trouble: trouble.unwrap_or_default(),
        }
    }

    pub(super) fn status(&self) -> Vec<PodStatus> {
        self.state.lock().pods.iter().map(|pod| pod.status()).collect()
    }

    pub(super) fn timeline(&self, name: &str) -> Option<Timeline> {
        let state = self.state.lock();
        let living = state.pods.iter().find(|pod| *pod.name == *name).map(|pod| pod.timeline());
        living.or_else(|| {
            state.gone.iter().rev().find(|(gone, _)| **gone == *name).map(|(_, timeline)| *timeline)
        })
    }

    pub(super) fn pod_seconds(&self) -> f64 {
        let now = self.machine.clock.now();
        let state = self.state.lock();
        let living: f64 = state.pods.iter().map(|pod| now.since(pod.created_at()).as_secs_f64()).sum();
        living + state.gone_seconds
    }

    /// Drains all pods, and allows no more.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.wanted = 0;
        for pod in &state.pods {
            pod.leave();
        }
    }
}

impl State {
    /// Returns the pods that do not drain.
    fn staying(&self) -> impl Iterator<Item = &Arc<LocalPod>> {
        self.pods.iter().filter(|pod| !pod.is_leaving())
    }

    fn bury(&mut self, pod: &Arc<LocalPod>, lived: f64) {
        self.pods.retain(|other| !Arc::ptr_eq(other, pod));
        self.gone_seconds += lived;
        if self.gone.len() == REMEMBERED {
            self.gone.pop_front();
        }
        self.gone.push_back((pod.name.clone(), pod.timeline()));
    }
}
