//! One service at the activator: its settings from the table, its pods, and its reports. Requests wait for a
//! pod in [`hold`].

mod announcements;
mod hold;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ebb_core::{
    AppProtocol, ServiceKey, Tick,
    link::{PodEntry, ServiceEntry, Unanswered},
    stat::{Stat, WireStatMessage},
};
use ebb_proxy::{Budget, ConnectionLimits, Drain, WallClock};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::AbortHandle,
    time::{sleep, sleep_until},
};

use crate::{
    memory::Memory,
    metrics::{Metrics, ServiceMetrics},
    pod::Pod,
    reporter::Reporter,
    throttler::{Limits, PodId, Share, Throttler},
};

use announcements::Announcements;
pub use hold::HeldDispatch;
pub(crate) use hold::Place;

/// State that all services of one activator share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) clock: WallClock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: Memory,
    /// Reports to be sent at once.
    pub(crate) pokes: mpsc::Sender<WireStatMessage>,
    /// Services with something to report each second.
    pub(crate) speaking: Mutex<Vec<Arc<Service>>>,
    pub(crate) spoke: Notify,
    pub(crate) observer: Option<mpsc::Sender<HeldDispatch>>,
}

/// A service with its queue and its pods.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) key: ServiceKey,
    pub(crate) drain: Drain,
    pub(crate) metrics: ServiceMetrics,
    /// The budget for its requests' memory.
    pub(crate) memory: Budget,
    shared: Arc<Common>,
    settings: ArcSwap<Settings>,
    state: Mutex<State>,
    reporter: Mutex<Reporter>,
}

/// The settings of a service from the table, without its pods.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) activation_deadline: Duration,
    pub(crate) request_timeout: Duration,
    /// `None` if the app's protocol is not declared.
    pub(crate) app_protocol: Option<AppProtocol>,
    connections: ConnectionLimits,
    trouble: String,
}

#[derive(Debug)]
struct State {
    throttler: Throttler<oneshot::Sender<Place>>,
    /// The same pods that the throttler knows.
    pods: HashMap<PodId, Known>,
    /// The pods of the last table.
    table: Vec<PodEntry>,
    /// Announcements by pods, on top of the table.
    announced: Announcements,
    /// Whether a timer runs for the next expiry of an announcement.
    forgetting: bool,
    next_pod: u64,
    /// Whether a timer runs for the next growth of an allowance.
    pacing: bool,
    gone: bool,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    /// Whether a held request was given to it.
    used: bool,
    /// `None` if it was never probed.
    probing: Option<AbortHandle>,
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(probing) = &self.probing {
            probing.abort();
        }
    }
}

/// The load of a service at one activator.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests that have come and not ended.
    pub in_flight: f64,
    /// Requests in flight that no pod could take yet.
    pub held: usize,
    /// Pods that take requests.
    pub ready_pods: usize,
}

/// A request in flight: it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    service: Arc<Service>,
    /// When it came. Taken before the request is reported, so that its effects come later by this clock.
    pub(crate) arrived_at: Tick,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = self.service.shared.clock.now();
        self.service.reporter.lock().end(now);
    }
}

impl Service {
    pub(crate) fn new(entry: &ServiceEntry, shared: Arc<Common>) -> Arc<Self> {
        let key = entry.service();
        let service = Arc::new(Self {
            drain: Drain::default(),
            metrics: shared.metrics.service(&key),
            memory: shared.memory.of_service(&key),
            settings: ArcSwap::from_pointee(settings(entry)),
            state: Mutex::new(State {
                throttler: Throttler::new(limits(entry)),
                pods: HashMap::new(),
                table: Vec::new(),
                announced: Announcements::default(),
                forgetting: false,
                next_pod: 0,
                pacing: false,
                gone: false,
            }),
            reporter: Mutex::new(Reporter::new(shared.clock.now())),
            shared,
            key,
        });
        service.update(entry);
        service
    }

    /// Applies a new table entry.
    pub(crate) fn update(self: &Arc<Self>, entry: &ServiceEntry) {
        self.settings.store(Arc::new(settings(entry)));
        {
            let mut state = self.state.lock();
            state.throttler.set_limits(limits(entry));
            state.table.clone_from(&entry.pods);
            let State { table, announced, .. } = &mut *state;
            announced.agree(table, self.shared.clock.now());
            self.place_pods(&mut state);
        }
        self.wake();
    }

    /// Records that a pod starts, or that it is `draining`.
    pub(crate) fn announced(self: &Arc<Self>, pod: &PodEntry, draining: bool) {
        {
            let mut state = self.state.lock();
            if state.gone {
                return;
            }
            let State { table, announced, .. } = &mut *state;
            announced.hear(pod, draining, table, self.shared.clock.now());
            self.place_pods(&mut state);
        }
        self.wake();
    }

    /// Updates the pods from the table and the announcements.
    fn place_pods(self: &Arc<Self>, state: &mut State) {
        let pods = state.announced.pods(&state.table);
        state.remove_others(&pods);
        for pod in &pods {
            self.add_pod(state, pod);
        }
        self.forget_in_time(state);
    }

    /// Starts a timer for the next expiry of an announcement.
    fn forget_in_time(self: &Arc<Self>, state: &mut State) {
        let Some(at) = state.announced.next_forgotten().filter(|_| !state.forgetting) else { return };
        state.forgetting = true;
        let (service, at) = (Arc::downgrade(self), self.shared.clock.instant(at));
        // Ends at its time; at most one runs at a time.
        tokio::spawn(async move {
            sleep_until(at).await;
            let Some(service) = service.upgrade() else { return };
            {
                let mut state = service.state.lock();
                state.forgetting = false;
                if state.gone {
                    return;
                }
                state.announced.forget(service.shared.clock.now());
                service.place_pods(&mut state);
            }
            service.wake();
        });
    }

    fn add_pod(self: &Arc<Self>, state: &mut State, entry: &PodEntry) {
        if state.pods.values().any(|known| known.pod.entry == *entry) {
            return;
        }
        let id = PodId(state.next_pod);
        state.next_pod += 1;
        let Some(pod) = Pod::new(id, entry.clone()).map(Arc::new) else {
            tracing::warn!(service = %self.key, pod = entry.name, address = entry.address, "pod has no usable address");
            return;
        };
        state.throttler.add_pod(id, &entry.address);
        let probing = if entry.direct {
            // It has no address to probe; the table names it because it is ready.
            state.throttler.pod_ready(id, self.shared.clock.now());
            None
        } else {
            Some(self.probe(pod.clone(), Duration::ZERO))
        };
        state.pods.insert(id, Known { pod, used: false, probing });
    }

    /// Probes the pod, after `delay`, until it is ready.
    fn probe(self: &Arc<Self>, pod: Arc<Pod>, delay: Duration) -> AbortHandle {
        let service = Arc::downgrade(self);
        // Owned by the pod's entry, which aborts it.
        tokio::spawn(async move {
            sleep(delay).await;
            pod.ready().await;
            if let Some(service) = service.upgrade() {
                let now = service.shared.clock.now();
                service.state.lock().throttler.pod_ready(pod.id, now);
                service.wake();
            }
        })
        .abort_handle()
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Returns how long client connections may stay open.
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        self.settings.load().connections
    }

    pub(crate) fn load(&self) -> Load {
        let in_flight = self.reporter.lock().in_flight();
        let state = self.state.lock();
        Load { in_flight, held: state.throttler.held(), ready_pods: state.throttler.ready_pods() }
    }

    /// Counts a request, and reports it at once if it is the first after silence.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.metrics.requests.inc();
        let arrived_at = self.shared.clock.now();
        let told = self.reporter.lock().begin(arrived_at);
        if let Some(stat) = told {
            self.shared.speaking.lock().push(self.clone());
            self.shared.spoke.notify_one();
            if self.shared.pokes.try_send(WireStatMessage::new(&self.key, stat)).is_err() {
                // This second's report will include it.
                self.shared.metrics.lost_pokes.inc();
            }
        }
        InFlight { service: self.clone(), arrived_at }
    }

    /// Returns the report of the last second, and whether another will follow.
    pub(crate) fn report(&self, now: Tick) -> (Stat, bool) {
        self.reporter.lock().report(now)
    }

    /// Returns the requests that gave up since the last call because no pod answered.
    pub(crate) fn take_unanswered(&self) -> Option<Unanswered> {
        let requests = self.reporter.lock().take_unanswered();
        (requests > 0).then(|| {
            let ServiceKey { namespace, name } = self.key.clone();
            Unanswered { namespace, name, requests }
        })
    }

    /// Returns the report for an autoscaler that joins others.
    pub(crate) fn so_far(&self) -> Option<Stat> {
        self.reporter.lock().so_far()
    }

    /// Returns the report for an autoscaler that has no report yet.
    pub(crate) fn catch_up(&self, now: Tick) -> Option<Stat> {
        self.reporter.lock().catch_up(now)
    }

    /// Marks the service as removed, and refuses held requests and those that would be held. Requests on
    /// connections that last still go to pods with room, which may be there for long.
    pub(crate) fn leave(&self) {
        let mut state = self.state.lock();
        state.throttler.refuse_waiting();
        self.show_held(&state);
        state.gone = true;
    }

    /// Called when its last connection has ended or is about to: stops all probes.
    pub(crate) fn close(&self) {
        self.leave();
        let mut state = self.state.lock();
        state.throttler = Throttler::new(Limits { queue_depth: 0, ..limits(&ServiceEntry::default()) });
        state.pods.clear();
        (state.table, state.announced) = (Vec::new(), Announcements::default());
    }

    /// Updates the metric of held requests. A removed service updates nothing: its series may be its
    /// successor's.
    fn show_held(&self, state: &State) {
        if !state.gone {
            self.metrics.held.set(i64::try_from(state.throttler.held()).unwrap_or(i64::MAX));
        }
    }
}

impl State {
    /// Removes pods that the table no longer names.
    fn remove_others(&mut self, named: &[PodEntry]) {
        let Self { throttler, pods, .. } = self;
        pods.retain(|id, known| {
            let stays = named.contains(&known.pod.entry);
            if !stays {
                throttler.remove_pod(*id);
            }
            stays
        });
    }
}

fn settings(entry: &ServiceEntry) -> Settings {
    Settings {
        activation_deadline: Duration::from_millis(entry.activation_deadline_ms),
        request_timeout: Duration::from_millis(entry.request_timeout_ms),
        app_protocol: entry.app_protocol.parse().ok(),
        connections: connection_limits(entry.max_connection_age_ms, entry.tunnel_idle_timeout_ms),
        trouble: entry.trouble.clone(),
    }
}

/// Converts a table's limits on connections from milliseconds; 0 means off.
pub(crate) fn connection_limits(max_age: u64, tunnel_idle: u64) -> ConnectionLimits {
    let limit = |millis| (millis > 0).then(|| Duration::from_millis(millis));
    ConnectionLimits { max_age: limit(max_age), tunnel_idle: limit(tunnel_idle), renewed_at: None }
}

fn limits(entry: &ServiceEntry) -> Limits {
    Limits {
        per_pod: std::num::NonZeroU32::new(entry.container_concurrency),
        queue_depth: usize::try_from(entry.queue_depth).unwrap_or(usize::MAX).max(1),
        share: Share::new(entry.activators, entry.activator_index),
        reference_placement: entry.reference_placement,
    }
}
