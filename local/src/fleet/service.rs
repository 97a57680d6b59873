use std::{collections::VecDeque, io, sync::Arc};

use autoscaler::platform::{self, FleetEvent};
use ebb_core::Tick;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::victims::{self, Candidate};
use crate::pod::{Machine, Pod, PodStatus, Template, Timeline};

/// Pods that are gone and whose timeline is still known.
const REMEMBERED: usize = 1000;

/// The pods of one service.
#[derive(Debug)]
pub(crate) struct ServicePods {
    template: Arc<Template>,
    machine: Machine,
    state: Arc<Mutex<State>>,
    /// One change at a time.
    scaling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that drain among them.
    pods: Vec<Arc<Pod>>,
    wanted: u32,
    created: u64,
    gone: VecDeque<(Arc<str>, Timeline)>,
    gone_seconds: f64,
    ended: bool,
}

impl ServicePods {
    pub(super) fn new(template: Template, machine: Machine) -> Self {
        Self { template: Arc::new(template), machine, state: Arc::default(), scaling: tokio::sync::Mutex::default() }
    }

    /// Has `wanted` pods, those that drain apart. `changed` is called whenever one of them changes.
    pub(super) async fn set_replicas(
        &self,
        wanted: u32,
        tasks: &TaskTracker,
        changed: impl Fn() + Clone + Send + Sync + 'static,
    ) -> io::Result<()> {
        let _turn = self.scaling.lock().await;
        let decided_at = self.machine.clock.now();
        let from_zero = self.state.lock().wanted == 0;
        let woken_at = from_zero.then_some(decided_at);
        let missing = self.want(wanted);
        for _ in 0..missing {
            self.add(woken_at, tasks, changed.clone()).await?;
        }
        Ok(())
    }

    /// Lets go of those that are too many, and answers how many are too few.
    fn want(&self, wanted: u32) -> usize {
        let mut state = self.state.lock();
        let count = usize::try_from(wanted).unwrap_or(usize::MAX);
        let staying: Vec<Arc<Pod>> = state.pods.iter().filter(|pod| !pod.is_leaving()).cloned().collect();
        if state.ended {
            return 0;
        }
        state.wanted = wanted;
        let candidates: Vec<Candidate> = staying
            .iter()
            .map(|pod| Candidate {
                ready: pod.is_ready(),
                in_flight: pod.in_flight(),
                created_at: pod.created_at(),
            })
            .collect();
        for victim in victims::choose(&candidates, staying.len().saturating_sub(count)) {
            if let Some(pod) = staying.get(victim) {
                pod.leave();
            }
        }
        count.saturating_sub(staying.len())
    }

    async fn add(
        &self,
        woken_at: Option<Tick>,
        tasks: &TaskTracker,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<()> {
        let name: Arc<str> = {
            let mut state = self.state.lock();
            state.created += 1;
            format!("{}-{}", self.template.key.name, state.created).into()
        };
        let pod = Pod::create(name, woken_at, &self.template, &self.machine).await?;
        {
            let mut state = self.state.lock();
            if state.ended {
                return Ok(());
            }
            state.pods.push(pod.clone());
        }
        let (template, machine, state) = (self.template.clone(), self.machine.clone(), self.state.clone());
        tasks.spawn(async move {
            let clock = machine.clock;
            // Told of changes as a whole by `changed`, which looks at the state.
            pod.clone().live(template, machine, &changed).await;
            let lived = clock.now().since(pod.created_at()).as_secs_f64();
            state.lock().bury(&pod, lived);
            changed();
        });
        Ok(())
    }

    /// All there is to know, for the autoscaler.
    pub(super) fn event(&self) -> FleetEvent {
        let state = self.state.lock();
        let staying: Vec<&Arc<Pod>> = state.pods.iter().filter(|pod| !pod.is_leaving()).collect();
        let trouble = staying.iter().map(|pod| pod.trouble()).find(|trouble| !trouble.is_empty());
        FleetEvent::Pods {
            key: self.template.key.clone(),
            pods: staying
                .iter()
                .map(|pod| platform::Pod {
                    name: pod.name.to_string(),
                    serving: pod.addresses.serving,
                    stats: pod.addresses.stats,
                    nonce: pod.nonce.clone(),
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
        living.or_else(|| state.gone.iter().rev().find(|(gone, _)| **gone == *name).map(|(_, timeline)| *timeline))
    }

    pub(super) fn pod_seconds(&self) -> f64 {
        let now = self.machine.clock.now();
        let state = self.state.lock();
        let living: f64 = state.pods.iter().map(|pod| now.since(pod.created_at()).as_secs_f64()).sum();
        living + state.gone_seconds
    }

    /// All pods leave, and no more come.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        for pod in &state.pods {
            pod.leave();
        }
    }
}

impl State {
    fn bury(&mut self, pod: &Arc<Pod>, lived: f64) {
        self.pods.retain(|other| !Arc::ptr_eq(other, pod));
        self.gone_seconds += lived;
        if self.gone.len() == REMEMBERED {
            self.gone.pop_front();
        }
        self.gone.push_back((pod.name.clone(), pod.timeline()));
    }
}
