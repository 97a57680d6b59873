//! One service at the activator: the shell around its [`Throttler`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use ebb_core::{
    ServiceKey, Tick,
    link::{PodEntry, ServiceEntry},
    stat::{Stat, WireStatMessage},
};
use ebb_proxy::{Drain, RequestBody, WallClock};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::AbortHandle,
    time::{Instant, sleep},
};

use crate::{
    errors::Refused,
    metrics::{Metrics, ServiceMetrics},
    pod::Pod,
    reporter::Reporter,
    running::HeldDispatch,
    throttler::{Limits, Outcome, PodId, Throttler, Ticket},
};

/// Bytes of a held request's body that are read ahead. Enough for most forms and calls; a client whose
/// longer upload is held is only found to have gone when its request is dispatched.
const READ_AHEAD: u64 = 64 * 1024;
/// A pod that failed is asked again after so long: it answers at once where only one request failed.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What all services of one activator share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: WallClock,
    pub(crate) metrics: Arc<Metrics>,
    /// What must be told at once.
    pub(crate) pokes: mpsc::Sender<WireStatMessage>,
    /// Services that have something to report each second.
    pub(crate) speaking: Mutex<Vec<Arc<Service>>>,
    pub(crate) spoke: Notify,
    pub(crate) observer: Option<mpsc::Sender<HeldDispatch>>,
}

/// A service, its queue and its pods.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) key: ServiceKey,
    pub(crate) drain: Drain,
    pub(crate) metrics: ServiceMetrics,
    shared: Arc<Shared>,
    settings: ArcSwap<Settings>,
    state: Mutex<State>,
    reporter: Mutex<Reporter>,
}

/// What the table says of a service, apart from its pods.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) activation_deadline: Duration,
    pub(crate) request_timeout: Duration,
    trouble: String,
}

#[derive(Debug)]
struct State {
    throttler: Throttler<oneshot::Sender<Lease>>,
    pods: HashMap<PodId, Known>,
    next_pod: u64,
    pacing: bool,
    gone: bool,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    used: Arc<AtomicBool>,
    probing: AbortHandle,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.probing.abort();
    }
}

/// How busy a service is here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests that came in and have not ended.
    pub in_flight: f64,
    /// Those of them that no pod could take yet.
    pub held: usize,
    /// Pods that take requests.
    pub ready_pods: usize,
}

/// A place at a pod. Dropping it gives the place to whoever is next.
#[derive(Debug)]
pub(crate) struct Lease {
    service: Arc<Service>,
    pub(crate) pod: Arc<Pod>,
    /// Where the request stood, if it was held.
    pub(crate) ticket: Option<Ticket>,
    outcome: Outcome,
}

impl Lease {
    /// The pod did not take the request: it gets no more until it is found ready again.
    pub(crate) fn failed(mut self) -> Option<Ticket> {
        self.outcome = Outcome::PodFailed;
        self.ticket
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.service.release(&self.pod, self.outcome);
    }
}

/// A request in flight: it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Service>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = self.0.shared.clock.now();
        self.0.reporter.lock().end(now);
    }
}

impl Service {
    pub(crate) fn new(entry: &ServiceEntry, shared: Arc<Shared>) -> Arc<Self> {
        let key = entry.service();
        let service = Arc::new(Self {
            drain: Drain::default(),
            metrics: shared.metrics.service(&key),
            settings: ArcSwap::from_pointee(settings(entry)),
            state: Mutex::new(State {
                throttler: Throttler::new(limits(entry)),
                pods: HashMap::new(),
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

    /// Takes over what the table says now.
    pub(crate) fn update(self: &Arc<Self>, entry: &ServiceEntry) {
        self.settings.store(Arc::new(settings(entry)));
        let departed = {
            let mut state = self.state.lock();
            state.throttler.set_limits(limits(entry));
            let departed = state.remove_others(&entry.pods);
            for pod in &entry.pods {
                self.add_pod(&mut state, pod);
            }
            departed
        };
        drop(departed);
        self.wake();
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
        state.throttler.add_pod(id);
        let probing = self.probe(pod.clone(), Duration::ZERO);
        state.pods.insert(id, Known { pod, used: Arc::default(), probing });
    }

    /// Asks the pod, after `delay`, to say when it is ready.
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

    pub(crate) fn load(&self) -> Load {
        let state = self.state.lock();
        Load {
            in_flight: self.reporter.lock().in_flight(),
            held: state.throttler.held(),
            ready_pods: state.throttler.ready_pods(),
        }
    }

    /// Counts a request, and tells of it at once if it is the first after silence.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.metrics.requests.inc();
        let told = self.reporter.lock().begin(self.shared.clock.now());
        if let Some(stat) = told {
            self.shared.speaking.lock().push(self.clone());
            self.shared.spoke.notify_one();
            if self.shared.pokes.try_send(WireStatMessage::new(&self.key, stat)).is_err() {
                // The report of this second will tell.
                self.shared.metrics.lost_pokes.inc();
            }
        }
        InFlight(self.clone())
    }

    /// The report of the last second, and whether another will follow.
    pub(crate) fn report(&self, now: Tick) -> (Stat, bool) {
        self.reporter.lock().report(now)
    }

    /// What an autoscaler must hear that heard nothing yet.
    pub(crate) fn catch_up(&self) -> Option<Stat> {
        self.reporter.lock().catch_up()
    }

    /// A place at a pod, now or when one is free.
    ///
    /// While it waits, the beginning of `body` is read, so that a client that goes away is noticed.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        ticket: Option<Ticket>,
        body: &mut RequestBody,
        deadline: Instant,
    ) -> Result<Lease, Refused> {
        let arrived = Instant::now();
        let held_at = self.shared.clock.now();
        let mut waiting = match self.enter(ticket)? {
            Entered::Lease(lease) => return Ok(lease),
            Entered::Waiting(waiting) => waiting,
        };
        let expired = tokio::time::sleep_until(deadline);
        tokio::pin!(expired);
        loop {
            tokio::select! {
                lease = &mut waiting.granted => {
                    let lease = lease.map_err(|_| Refused::ServiceGone)?;
                    self.observe(&lease, held_at, waiting.cold);
                    return Ok(lease);
                }
                () = body.read_ahead(READ_AHEAD) => {}
                () = &mut expired => {
                    let settings = self.settings.load();
                    let waited = settings.activation_deadline.max(arrived.elapsed());
                    return Err(Refused::ActivationDeadline { waited, trouble: settings.trouble.clone() });
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, ticket: Option<Ticket>) -> Result<Entered, Refused> {
        let now = self.shared.clock.now();
        let mut state = self.state.lock();
        if state.gone {
            return Err(Refused::ServiceGone);
        }
        if ticket.is_none()
            && let Some(pod) = state.throttler.try_dispatch(now, &mut rand::rng())
            && let Some(lease) = self.lease_of(&state, pod, None)
        {
            return Ok(Entered::Lease(lease));
        }
        let (sender, granted) = oneshot::channel();
        let cold = state.throttler.ready_pods() == 0;
        let ticket = match ticket {
            Some(ticket) => {
                state.throttler.hold_again(ticket, sender);
                ticket
            }
            None => state.throttler.hold(sender).map_err(|_| Refused::QueueFull(state.throttler.held()))?,
        };
        self.metrics.held.set(i64::try_from(state.throttler.held()).unwrap_or(i64::MAX));
        drop(state);
        let waiting = Waiting { service: self.clone(), ticket, granted, cold };
        // A place may have become free, and a share may grow by time alone.
        self.wake();
        Ok(Entered::Waiting(waiting))
    }

    /// Where a request stands that was never held and comes back: behind those that wait.
    pub(crate) fn late_ticket(&self) -> Ticket {
        self.state.lock().throttler.late_ticket()
    }

    fn lease_of(self: &Arc<Self>, state: &State, pod: PodId, ticket: Option<Ticket>) -> Option<Lease> {
        let pod = state.pods.get(&pod)?.pod.clone();
        Some(Lease { service: self.clone(), pod, ticket, outcome: Outcome::Ended })
    }

    /// Tells whoever watches of the first held request that a pod took.
    fn observe(&self, lease: &Lease, held_at: Tick, cold: bool) {
        let first = {
            let state = self.state.lock();
            state.pods.get(&lease.pod.id).is_some_and(|known| !known.used.swap(true, Ordering::Relaxed))
        };
        if let (true, Some(observer)) = (first, &self.shared.observer) {
            let dispatch = HeldDispatch {
                service: self.key.clone(),
                pod: lease.pod.entry.name.clone(),
                held_at,
                dispatched_at: self.shared.clock.now(),
                cold,
            };
            if observer.try_send(dispatch).is_err() {
                self.shared.metrics.lost_observations.inc();
            }
        }
    }

    fn release(self: &Arc<Self>, pod: &Arc<Pod>, outcome: Outcome) {
        {
            let mut state = self.state.lock();
            state.throttler.release(pod.id, outcome);
            if outcome == Outcome::PodFailed
                && let Some(known) = state.pods.get_mut(&pod.id)
            {
                self.metrics.pod_failures.inc();
                known.probing.abort();
                known.probing = self.probe(pod.clone(), AFTER_FAILURE);
            }
        }
        self.wake();
    }

    /// Hands places to those whose turn has come, and sees to it that time alone is enough to be woken.
    fn wake(self: &Arc<Self>) {
        let now = self.shared.clock.now();
        let (grants, pace) = {
            let mut state = self.state.lock();
            let grants: Vec<_> = state
                .throttler
                .grants(now, &mut rand::rng())
                .into_iter()
                .filter_map(|grant| {
                    let lease = self.lease_of(&state, grant.pod, Some(grant.ticket))?;
                    Some((grant.waiter, lease))
                })
                .collect();
            let pace = state.throttler.next_wake(now).filter(|_| !state.pacing);
            state.pacing |= pace.is_some();
            self.metrics.held.set(i64::try_from(state.throttler.held()).unwrap_or(i64::MAX));
            (grants, pace)
        };
        for (waiter, lease) in grants {
            // Who has just left drops its lease, which wakes the next: outside the lock.
            drop(waiter.send(lease));
        }
        if let Some(pause) = pace {
            let service = Arc::downgrade(self);
            // Ends after one pause; at most one at a time.
            tokio::spawn(async move {
                sleep(pause).await;
                if let Some(service) = service.upgrade() {
                    service.state.lock().pacing = false;
                    service.wake();
                }
            });
        }
    }

    /// The service is gone: who waits is told so, and no pod is asked any more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.gone = true;
        let limits = Limits { per_pod: None, queue_depth: 0 };
        let throttler = std::mem::replace(&mut state.throttler, Throttler::new(limits));
        let pods = std::mem::take(&mut state.pods);
        drop(state);
        drop((throttler, pods));
    }
}

impl State {
    /// Forgets pods that the table no longer names.
    fn remove_others(&mut self, named: &[PodEntry]) -> Vec<Known> {
        let departed: Vec<PodId> = self
            .pods
            .values()
            .filter(|known| !named.contains(&known.pod.entry))
            .map(|known| known.pod.id)
            .collect();
        departed
            .into_iter()
            .filter_map(|id| {
                self.throttler.remove_pod(id);
                self.pods.remove(&id)
            })
            .collect()
    }
}

enum Entered {
    Lease(Lease),
    Waiting(Waiting),
}

/// A place in the queue, given up when dropped.
struct Waiting {
    service: Arc<Service>,
    ticket: Ticket,
    granted: oneshot::Receiver<Lease>,
    cold: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.service.state.lock();
        let left = state.throttler.cancel(self.ticket);
        self.service.metrics.held.set(i64::try_from(state.throttler.held()).unwrap_or(i64::MAX));
        drop(state);
        drop(left);
    }
}

fn settings(entry: &ServiceEntry) -> Settings {
    Settings {
        activation_deadline: Duration::from_millis(entry.activation_deadline_ms),
        request_timeout: Duration::from_millis(entry.request_timeout_ms),
        trouble: entry.trouble.clone(),
    }
}

fn limits(entry: &ServiceEntry) -> Limits {
    Limits {
        per_pod: std::num::NonZeroU32::new(entry.container_concurrency),
        queue_depth: usize::try_from(entry.queue_depth).unwrap_or(usize::MAX).max(1),
    }
}
