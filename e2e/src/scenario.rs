//! One test's part of the cluster.

use std::{
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, resume_unwind},
    sync::OnceLock,
    thread,
    time::Duration,
};

use futures_util::FutureExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Event, Namespace, Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::{
    cluster::Cluster,
    failures,
    http::is_reachable,
    manifests::{App, Front},
    system::System,
    wait::{SOON, eventually},
};

/// Selects Ebb's slices.
const MANAGED_BY_EBB: &str = "endpointslice.kubernetes.io/managed-by=ebb.dev";
/// The field manager of users' tools.
const USER: &str = "e2e";

/// A namespace for one test, and the operations of the test.
#[derive(Clone, Debug)]
pub struct Scenario {
    cluster: Cluster,
    system: System,
    /// Its name.
    pub namespace: String,
}

/// The endpoints of a Service's port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Addresses with ports, sorted.
    pub addresses: Vec<SocketAddr>,
    /// Whether Ebb wrote all of them.
    pub is_ebbs: bool,
}

/// Scenarios that break something for all run alone; the others share this lock.
fn turn() -> &'static RwLock<()> {
    static TURN: OnceLock<RwLock<()>> = OnceLock::new();
    TURN.get_or_init(RwLock::default)
}

/// Runs `play` in a new namespace, in parallel to other scenarios. Does nothing if there is no cluster.
///
/// # Panics
///
/// Panics if `play` does; the state of the namespace is printed.
pub async fn scenario(name: &str, play: impl AsyncFnOnce(&Scenario)) {
    let Some(cluster) = Cluster::find().await else { return };
    let _turn = turn().read().await;
    run(cluster, name, play).await.unwrap_or_else(|panic| resume_unwind(panic));
}

/// Like [`scenario`], but alone: for those that break something for all.
///
/// # Panics
///
/// Panics if `play` does.
pub async fn alone(name: &str, play: impl AsyncFnOnce(&Scenario)) {
    let Some(cluster) = Cluster::find().await else { return };
    let _turn = turn().write().await;
    let played = run(cluster.clone(), name, play).await;
    cluster.is_well().await;
    played.unwrap_or_else(|panic| resume_unwind(panic));
}

/// Returns the panic of `play`, if it panicked.
async fn run(cluster: Cluster, name: &str, play: impl AsyncFnOnce(&Scenario)) -> thread::Result<()> {
    let scenario = Scenario::begin(cluster, name).await;
    let played = AssertUnwindSafe(play(&scenario)).catch_unwind().await;
    if played.is_err() {
        eprintln!("{}", failures::report(&scenario).await);
    }
    scenario.end().await;
    played
}

impl Scenario {
    /// Creates a namespace.
    ///
    /// # Panics
    ///
    /// Panics if the cluster refuses, or the namespace's service account is not created.
    pub async fn begin(cluster: Cluster, name: &str) -> Self {
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        let metadata = json!({"generateName": format!("e2e-{name}-")});
        let wanted = serde_json::from_value(json!({"metadata": metadata})).expect("it is a namespace");
        let made = namespaces.create(&PostParams::default(), &wanted).await.expect("a namespace can be made");
        let system = System::new(&cluster.client);
        let scenario = Self { cluster, system, namespace: made.name_any() };
        // Pods cannot be created before it exists.
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = scenario.api();
        eventually("the namespace has its service account", SOON, async || {
            accounts.get("default").await.ok()
        })
        .await;
        scenario
    }

    /// Excludes the namespace from Ebb's webhooks, so that objects are not judged from now on.
    ///
    /// # Panics
    ///
    /// Panics if that fails.
    pub async fn is_not_judged(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let patch = json!({"metadata": {"labels": {"ebb.dev/ignore": "true"}}});
        let patched = namespaces.patch(&self.namespace, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.expect("the namespace takes a label");
    }

    /// Deletes the namespace; its pods end by themselves.
    pub async fn end(&self) {
        let namespaces: Api<Namespace> = Api::all(self.cluster.client.clone());
        // If it stays, only an idle namespace is left.
        let _ = namespaces.delete(&self.namespace, &DeleteParams::default()).await;
    }

    /// Returns Ebb itself.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Returns the API client.
    pub fn client(&self) -> Client {
        self.cluster.client.clone()
    }

    /// Returns the API for objects of the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// Creates an app and the Service in front of it, waits until connections are accepted, and returns the
    /// address.
    ///
    /// # Panics
    ///
    /// Panics if either is refused, or no connection is accepted.
    pub async fn with(&self, app: &App, front: &Front) -> SocketAddr {
        self.make(app.manifest()).await;
        self.make(front.manifest()).await;
        self.reachable(&front.name).await
    }

    /// Creates an object.
    ///
    /// # Panics
    ///
    /// Panics if it is refused.
    pub async fn make(&self, manifest: Value) {
        self.try_make(manifest).await.expect("the object is taken");
    }

    /// Creates an object.
    ///
    /// # Errors
    ///
    /// Returns the API's message if it is refused.
    pub async fn try_make(&self, manifest: Value) -> Result<(), String> {
        let (api, object) = self.dynamic(manifest);
        let made = api.create(&PostParams::default(), &object).await;
        made.map(drop).map_err(|error| in_words(&error))
    }

    /// Applies an object on the server, as `kubectl apply --server-side` and GitOps tools do.
    ///
    /// # Panics
    ///
    /// Panics if it is refused.
    pub async fn apply(&self, manifest: Value) {
        let (api, object) = self.dynamic(manifest);
        let applied = api.patch(&object.name_any(), &PatchParams::apply(USER), &Patch::Apply(&object)).await;
        applied.expect("the object is taken");
    }

    fn dynamic(&self, manifest: Value) -> (Api<DynamicObject>, DynamicObject) {
        let text = |key: &str| manifest[key].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let plural =
            if kind == "Endpoints" { "endpoints".to_owned() } else { format!("{}s", kind.to_lowercase()) };
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.clone(),
            kind,
            plural,
        };
        let object = serde_json::from_value(manifest).expect("it is an object");
        (Api::namespaced_with(self.client(), &self.namespace, &resource), object)
    }

    /// Deletes an app and the Service of its name; its pods end by themselves.
    pub async fn remove(&self, app: &App) {
        let (api, object) = self.dynamic(app.manifest());
        // An object that does not exist need not be deleted.
        let _ = self.api::<Service>().delete(&app.name, &DeleteParams::default()).await;
        let _ = api.delete(&object.name_any(), &DeleteParams::default()).await;
    }

    /// Sets annotations of a Service; `null` removes one.
    ///
    /// # Panics
    ///
    /// Panics if that is refused.
    pub async fn annotate(&self, service: &str, annotations: Value) {
        let services: Api<Service> = self.api();
        let patch = json!({"metadata": {"annotations": annotations}});
        let patched = services.patch(service, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.expect("the annotations are taken");
    }

    /// Sets an annotation of the namespace.
    ///
    /// # Panics
    ///
    /// Panics if that is refused.
    pub async fn annotate_namespace(&self, key: &str, value: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let patch = json!({"metadata": {"annotations": {key: value}}});
        let patched = namespaces.patch(&self.namespace, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.expect("the annotation is taken");
    }

    /// Returns the current Service.
    ///
    /// # Panics
    ///
    /// Panics if it does not exist.
    pub async fn service(&self, name: &str) -> Service {
        self.api::<Service>().get(name).await.expect("there is such a Service")
    }

    /// Returns an annotation of a Service.
    pub async fn annotation(&self, service: &str, key: &str) -> Option<String> {
        self.api::<Service>().get(service).await.ok()?.annotations().get(key).cloned()
    }

    /// Returns the address of a Service's first port, once connections are accepted there.
    ///
    /// # Panics
    ///
    /// Panics if none is accepted.
    pub async fn reachable(&self, service: &str) -> SocketAddr {
        let address = self.address(service).await;
        eventually("the Service takes connections", SOON, async || is_reachable(address).await.then_some(()))
            .await;
        address
    }

    /// Returns the address of a Service's first port.
    ///
    /// # Panics
    ///
    /// Panics if it has none.
    pub async fn address(&self, service: &str) -> SocketAddr {
        let spec = self.service(service).await.spec.unwrap_or_default();
        let ip: IpAddr = spec.cluster_ip.unwrap_or_default().parse().expect("the Service has an address");
        let port = spec.ports.unwrap_or_default().first().and_then(|port| u16::try_from(port.port).ok());
        SocketAddr::new(ip, port.expect("the Service has a port"))
    }

    /// Returns the endpoints of a Service's port of that name.
    pub async fn endpoints(&self, service: &str, port: &str) -> Endpoints {
        let slices: Api<EndpointSlice> = self.api();
        let of_it = format!("kubernetes.io/service-name={service}");
        let all = slices.list(&ListParams::default().labels(&of_it)).await;
        let ours = slices.list(&ListParams::default().labels(&format!("{of_it},{MANAGED_BY_EBB}"))).await;
        let (Ok(all), Ok(ours)) = (all, ours) else { return Endpoints::default() };
        let is_ebbs = !all.items.is_empty() && all.items.len() == ours.items.len();
        let mut addresses: Vec<SocketAddr> =
            all.items.iter().flat_map(|slice| addresses(slice, port)).collect();
        addresses.sort_unstable();
        Endpoints { addresses, is_ebbs }
    }

    /// Waits until a Service's port `http` has endpoints, all written by Ebb and all accepted by `is_there`.
    ///
    /// # Panics
    ///
    /// Panics if that does not happen.
    pub async fn leads(&self, service: &str, what: &str, is_there: impl Fn(&SocketAddr) -> bool) {
        eventually(&format!("{service} leads {what}"), SOON, async || {
            let Endpoints { addresses, is_ebbs } = self.endpoints(service, "http").await;
            (is_ebbs && !addresses.is_empty() && addresses.iter().all(&is_there)).then_some(())
        })
        .await;
    }

    /// Returns the pods with that label `app`, without those that are being deleted.
    pub async fn pods(&self, app: &str) -> Vec<Pod> {
        let pods = self.pods_and_ending(app).await;
        pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    /// Returns all pods with that label `app`.
    pub async fn pods_and_ending(&self, app: &str) -> Vec<Pod> {
        let selector = ListParams::default().labels(&format!("app={app}"));
        self.api::<Pod>().list(&selector).await.map(|pods| pods.items).unwrap_or_default()
    }

    /// Returns the replicas of the scale target; `None` while the API does not answer.
    pub async fn replicas(&self, app: &App) -> Option<i32> {
        let (api, object) = self.dynamic(app.manifest());
        let there = api.get(&object.name_any()).await.ok()?;
        i32::try_from(there.data["spec"]["replicas"].as_i64()?).ok()
    }

    /// Waits until the app has no pods and wants none.
    pub async fn at_zero(&self, app: &App) {
        self.at_zero_within(app, SOON).await;
    }

    /// Waits up to `within` until the app has no pods and wants none.
    pub async fn at_zero_within(&self, app: &App, within: Duration) {
        eventually("the app has no pod", within, async || {
            let none = self.replicas(app).await == Some(0) && self.pods(&app.name).await.is_empty();
            none.then_some(())
        })
        .await;
    }

    /// Waits until the app has at least `count` ready pods.
    pub async fn has_ready(&self, app: &App, count: usize) {
        eventually("the app has that many ready pods", SOON, async || {
            let ready = self.pods(&app.name).await.iter().filter(|pod| is_ready(pod)).count();
            (ready >= count).then_some(())
        })
        .await;
    }

    /// Waits for an Event about an object with `reason`, and returns its message.
    pub async fn event(&self, object: &str, reason: &str) -> String {
        let events: Api<Event> = self.api();
        eventually("the Event is there", Duration::from_secs(30), async || {
            let all = events.list(&ListParams::default()).await.ok()?;
            let is_it = |event: &Event| {
                event.involved_object.name.as_deref() == Some(object)
                    && event.reason.as_deref() == Some(reason)
            };
            all.into_iter().find(is_it).map(|event| event.message.unwrap_or_default())
        })
        .await
    }
}

fn addresses(slice: &EndpointSlice, name: &str) -> Vec<SocketAddr> {
    let ports = slice.ports.iter().flatten();
    let Some(port) = ports.filter(|port| port.name.as_deref() == Some(name)).find_map(|port| port.port)
    else {
        return Vec::new();
    };
    let Ok(port) = u16::try_from(port) else { return Vec::new() };
    let ready = slice.endpoints.iter().filter(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    let texts = ready.flat_map(|endpoint| &endpoint.addresses);
    texts.filter_map(|text| Some(SocketAddr::new(text.parse().ok()?, port))).collect()
}

/// Returns whether a pod's Ready condition holds.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
