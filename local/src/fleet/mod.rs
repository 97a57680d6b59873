//! The pods of all services: the platform of the autoscaler.

mod route;
mod service;
mod victims;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ebb_annotations::{RouteSpec, ScalingSpec};
use ebb_core::ServiceKey;
use ebb_decide::platform::{EndpointSink, Exposed, FleetEvent, Gate, PlatformError, PodSource, ScaleTarget};
use ebb_decide::{endpoints::Endpoints, zero::bounded};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;

use crate::{
    front::Front,
    pod::{Machine, PodStatus, Template, Timeline},
};
use route::Route;
pub(crate) use service::ServicePods;

/// Events that may wait for the autoscaler. Each describes its service completely, so that one that waits
/// makes another needless: see [`Fleet::tell`].
const CAPACITY: usize = 1024;

/// What to run.
pub(crate) enum Plan {
    /// A service with pods.
    Pods { template: Box<Template>, spec: Box<ScalingSpec>, front: Front },
    /// A route between services.
    Route { key: ServiceKey, spec: RouteSpec, front: Front },
}

/// All services with their pods, and all routes.
#[derive(Debug)]
pub(crate) struct Fleet {
    services: BTreeMap<ServiceKey, Entry>,
    routes: BTreeMap<ServiceKey, Route>,
    exposed: Vec<Exposed>,
    events: Mutex<Option<mpsc::Sender<FleetEvent>>>,
    /// The tasks of the pods.
    pub(crate) tasks: TaskTracker,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<ScalingSpec>,
    pods: Arc<ServicePods>,
    front: Mutex<Option<Front>>,
    /// Whether an event about it is on its way.
    stale: AtomicBool,
    /// Events are sent in the order in which they were created.
    telling: Mutex<()>,
}

impl Fleet {
    pub(crate) fn new(machine: &Machine, plans: Vec<Plan>, exposed: Vec<Exposed>) -> Arc<Self> {
        let (mut services, mut routes) = (BTreeMap::new(), BTreeMap::new());
        for plan in plans {
            match plan {
                Plan::Route { key, spec, front } => {
                    routes.insert(key, Route::new(&spec, front));
                }
                Plan::Pods { template, spec, front } => {
                    let key = template.key.clone();
                    let entry = Entry {
                        spec: Arc::from(spec),
                        pods: Arc::new(ServicePods::new(*template, machine.clone())),
                        front: Mutex::new(Some(front)),
                        stale: AtomicBool::new(false),
                        telling: Mutex::default(),
                    };
                    services.insert(key, entry);
                }
            }
        }
        Arc::new(Self { services, routes, exposed, events: Mutex::default(), tasks: TaskTracker::new() })
    }

    /// Returns whether `key` is a service with pods.
    pub(crate) fn has_pods(&self, key: &ServiceKey) -> bool {
        self.services.contains_key(key)
    }

    /// Changes the split of a route. Returns whether the route exists.
    pub(crate) fn divide(self: &Arc<Self>, key: &ServiceKey, spec: &RouteSpec) -> bool {
        let Some(route) = self.routes.get(key) else { return false };
        route.divide(spec);
        if let Some(events) = self.events.lock().clone() {
            let (fleet, key) = (self.clone(), key.clone());
            // Ends as soon as the autoscaler takes the event.
            tokio::spawn(async move {
                let Ok(place) = events.reserve().await else { return };
                // The event has the latest split, whatever the order of the tasks.
                if let Some(route) = fleet.routes.get(&key) {
                    place.send(route.event(&key));
                }
            });
        }
        true
    }

    /// Starts each service's initial pods.
    pub(crate) async fn begin(self: &Arc<Self>) {
        for (key, entry) in &self.services {
            let pods = bounded(&entry.spec, false, 0, entry.spec.initial_scale);
            if let Err(error) = self.set_replicas(key, pods, &[]).await {
                tracing::warn!(service = %key, %error, "cannot start the first pods; trying again when asked");
            }
        }
    }

    async fn set_replicas(
        self: &Arc<Self>,
        key: &ServiceKey,
        wanted: u32,
        first_to_go: &[String],
    ) -> Result<(), PlatformError> {
        let entry = self.services.get(key).ok_or_else(|| PlatformError(format!("no service {key}")))?;
        let fleet = Arc::downgrade(self);
        let service = key.clone();
        let changed = move || {
            if let Some(fleet) = fleet.upgrade() {
                fleet.tell(&service);
            }
        };
        let scaled = entry.pods.set_replicas(wanted, first_to_go, &self.tasks, changed).await;
        self.tell(key);
        scaled.map_err(|error| PlatformError(error.to_string()))
    }

    /// Sends the autoscaler an event about a service, unless one is already on its way.
    fn tell(self: &Arc<Self>, key: &ServiceKey) {
        let (Some(entry), Some(events)) = (self.services.get(key), self.events.lock().clone()) else {
            return;
        };
        if entry.stale.swap(true, Ordering::AcqRel) {
            return;
        }
        let (fleet, key) = (self.clone(), key.clone());
        // Ends as soon as the autoscaler takes the event; at most one for each service.
        tokio::spawn(async move {
            let Ok(place) = events.reserve().await else { return };
            let Some(entry) = fleet.services.get(&key) else { return };
            let _turn = entry.telling.lock();
            // From here on a change needs another event; the state is read after this.
            entry.stale.store(false, Ordering::Release);
            place.send(entry.pods.event());
        });
    }

    /// Returns the visible state of the pods of `key`.
    pub(crate) fn pods(&self, key: &ServiceKey) -> Vec<PodStatus> {
        self.services.get(key).map(|entry| entry.pods.status()).unwrap_or_default()
    }

    /// Returns the timeline of a pod, which may be gone.
    pub(crate) fn timeline(&self, key: &ServiceKey, pod: &str) -> Option<Timeline> {
        self.services.get(key)?.pods.timeline(pod)
    }

    /// Returns the total seconds for which pods existed until now.
    pub(crate) fn pod_seconds(&self, key: &ServiceKey) -> f64 {
        self.services.get(key).map_or(0.0, |entry| entry.pods.pod_seconds())
    }

    /// Stops accepting connections.
    pub(crate) fn close_fronts(&self) {
        for front in self.fronts() {
            if let Some(front) = &*front.lock() {
                front.close();
            }
        }
    }

    /// Stops all pods, and waits until the last is gone.
    pub(crate) async fn end(&self) {
        for entry in self.services.values() {
            entry.pods.end();
        }
        self.tasks.close();
        self.tasks.wait().await;
        for front in self.fronts() {
            let front = front.lock().take();
            if let Some(front) = front {
                front.cut().await;
            }
        }
    }

    fn fronts(&self) -> impl Iterator<Item = &Mutex<Option<Front>>> {
        let of_services = self.services.values().map(|entry| &entry.front);
        of_services.chain(self.routes.values().map(|route| &route.front))
    }
}

/// The platform for the autoscaler, which does not outlive the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Platform(pub(crate) Arc<Fleet>);

impl PodSource for Platform {
    type Events = ReceiverStream<FleetEvent>;

    fn watch(&self) -> Self::Events {
        let most = 2 * self.0.services.len() + self.0.routes.len() + 3;
        let (events, watched) = mpsc::channel(CAPACITY.max(most));
        let _ = events.try_send(FleetEvent::Leadership { leads: true });
        for (key, entry) in &self.0.services {
            // The channel has room for all.
            let _ =
                events.try_send(FleetEvent::Service { key: key.clone(), spec: entry.spec.clone(), port: 0 });
            let _ = events.try_send(entry.pods.event());
        }
        for (key, route) in &self.0.routes {
            let _ = events.try_send(route.event(key));
        }
        let _ = events.try_send(FleetEvent::Hosts(self.0.exposed.clone()));
        let _ = events.try_send(FleetEvent::Complete);
        *self.0.events.lock() = Some(events);
        watched.into()
    }
}

impl ScaleTarget for Platform {
    async fn scale(
        &self,
        service: &ServiceKey,
        pods: u32,
        first_to_go: &[String],
    ) -> Result<(), PlatformError> {
        self.0.set_replicas(service, pods, first_to_go).await
    }
}

/// The only activator is in this process.
impl Gate for Platform {
    async fn admit(&self, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }
}

impl EndpointSink for Platform {
    async fn publish(&self, service: &ServiceKey, endpoints: &Endpoints) -> Result<(), PlatformError> {
        let of_service = self.0.services.get(service).map(|entry| &entry.front);
        let front = of_service.or_else(|| self.0.routes.get(service).map(|route| &route.front));
        let front = front.ok_or_else(|| PlatformError(format!("no service {service}")))?;
        // Without a front the service is ending, and no client comes any more.
        if let Some(front) = &*front.lock() {
            front.publish(endpoints);
        }
        Ok(())
    }
}
