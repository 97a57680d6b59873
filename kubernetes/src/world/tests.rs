use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use ebb_annotations::ClusterDefaults;
use ebb_core::{ServiceKey, Tick};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::{Value, json};

use super::{Listing, NETWORK, Plan, Step, World};
use crate::facts::{PodFacts, SidecarFacts, SliceFacts, TargetFacts, TargetKey};
use ebb_decide::platform::FleetEvent;
use ebb_decide::{Pod, endpoints::Endpoints, zero::Path};

mod hosts;
mod http_routes;
mod in_effect;
mod rollouts;
mod routes;

/// A simulated cluster that carries out writes, and a [`World`] that watches it.
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) service: Value,
    pub(super) slices: BTreeMap<String, EndpointSlice>,
    pub(super) now: Tick,
    version: u32,
    /// Descriptions of the writes.
    pub(super) log: Vec<&'static str>,
}

pub(super) fn key() -> ServiceKey {
    ServiceKey::new("shop", "hello")
}

fn target() -> TargetKey {
    TargetKey { kind: "Deployment".into(), namespace: "shop".into(), name: "hello".into() }
}

fn labels() -> BTreeMap<String, String> {
    [("app", "hello"), ("pod-template-hash", "5d9c")].map(|(name, value)| (name.into(), value.into())).into()
}

fn bare(ip: &str, ready: bool) -> PodFacts {
    PodFacts {
        labels: labels(),
        controller: Some(("ReplicaSet".into(), "hello-5d9c".into())),
        ips: ip.parse().into_iter().collect(),
        node: None,
        ready,
        runs_since: None,
        has_lost_readiness: false,
        started_at: Tick::ZERO,
        sidecar: None,
        ports: vec![],
        trouble: None,
        marked: false,
    }
}

pub(super) fn with_sidecar(ip: &str, ready: bool) -> PodFacts {
    let sidecar = SidecarFacts {
        serving: 8012,
        stats: 9090,
        nonce: "secret".to_owned(),
        app: Some(8080),
        ready_by_kubelet: false,
    };
    PodFacts { sidecar: Some(sidecar), ..bare(ip, ready) }
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn to_activators() -> Endpoints {
    Endpoints { path: Path::Proxy, addresses: vec![address("10.9.0.1:10001")] }
}

/// Returns a slice as Kubernetes' own controller would make it.
pub(super) fn of_the_cluster(ready: bool) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": {"name": "hello-abc", "namespace": "shop", "labels": {
            "kubernetes.io/service-name": "hello",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }},
        "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": if ready { json!([{"addresses": ["10.1.0.1"]}]) } else { json!([]) },
    }))
    .unwrap()
}

impl Cluster {
    /// Creates a cluster with one annotated Service that is not Ebb's yet, and one ready pod from before.
    pub(super) fn new() -> Self {
        let service = json!({
            "metadata": {"name": "hello", "namespace": "shop", "uid": "1",
                "annotations": {"ebb.dev/scale-target": "Deployment/hello"}},
            "spec": {"clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "selector": {"app": "hello"},
                "ports": [{"port": 80, "targetPort": 8080}]},
        });
        let world = World::new(Arc::new(ClusterDefaults::default()));
        let now = Tick::from_secs(1000);
        let mut cluster = Self { world, service, slices: BTreeMap::new(), now, version: 0, log: vec![] };
        cluster.show_service();
        cluster.world.pod("shop", "old", Some(bare("10.1.0.1", true)));
        cluster.show_slice(of_the_cluster(true));
        cluster.has_replicas(1);
        for listing in
            [Listing::Services, Listing::Pods, Listing::Slices, Listing::Namespaces, Listing::Settings]
        {
            cluster.world.listed(&listing);
        }
        cluster.world.listed(&Listing::Targets("Deployment".to_owned()));
        cluster
    }

    /// Creates a cluster in which the service is Ebb's.
    fn taken() -> Self {
        let mut cluster = Self::new();
        cluster.world.want(&key(), to_activators());
        cluster.settle();
        cluster.log.clear();
        cluster
    }

    pub(super) fn show_service(&mut self) {
        self.version += 1;
        self.service["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let service: Service = serde_json::from_value(self.service.clone()).unwrap();
        self.world.service(service);
    }

    pub(super) fn show_slice(&mut self, slice: EndpointSlice) {
        let (service, facts) = SliceFacts::of(&slice).unwrap();
        let name = slice.metadata.name.clone().unwrap();
        self.world.slice(&service, &name, facts);
        self.slices.insert(name, slice);
    }

    fn has_replicas(&mut self, replicas: u32) {
        self.world.target_seen(&target(), Some(&TargetFacts { replicas, ..TargetFacts::default() }));
    }

    pub(super) fn annotate(&mut self, name: &str, value: Value) {
        let annotations = self.service["metadata"]["annotations"].as_object_mut().unwrap();
        match value {
            Value::Null => annotations.remove(name),
            value => annotations.insert(name.to_owned(), value),
        };
        self.show_service();
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.service["metadata"]["annotations"][name].as_str()
    }

    pub(super) fn has_selector(&self) -> bool {
        self.service["spec"]["selector"].is_object()
    }

    pub(super) fn has_slice_of_ebbs(&self) -> bool {
        self.slices.keys().any(|name| name.contains("-ebb-"))
    }

    /// Carries out one step, if there is one; otherwise returns how long nothing happens.
    pub(super) fn write_step(&mut self) -> Option<Duration> {
        match self.world.step(&key(), self.now) {
            Plan::Rest => Some(Duration::MAX),
            Plan::Wait(rest) => Some(rest),
            Plan::Do(step) => {
                self.write(step);
                None
            }
        }
    }

    /// Does the same, and checks that there are endpoints after each step.
    fn step(&mut self) -> Option<Duration> {
        let rest = self.write_step();
        assert!(self.slices.values().any(|slice| !slice.endpoints.is_empty()), "a gap: {:?}", self.log);
        rest
    }

    fn write(&mut self, step: Step) {
        match step {
            Step::Slices { apply, delete } => {
                self.log.push(if apply.is_empty() { "delete slices" } else { "apply slices" });
                for slice in apply {
                    self.show_slice(slice);
                }
                for name in delete {
                    self.slices.remove(&name);
                    self.world.slice_gone(&key(), &name);
                }
            }
            Step::Patch(patch) => {
                self.log.push("patch service");
                assert_eq!(patch["metadata"]["resourceVersion"], self.service["metadata"]["resourceVersion"]);
                json_patch::merge(&mut self.service, &patch);
                self.show_service();
            }
            Step::Leftovers(slices) => {
                self.log.push("delete leftovers");
                for name in slices {
                    self.slices.remove(&name);
                    self.world.slice_gone(&key(), &name);
                }
            }
            Step::Restart { .. } => self.log.push("restart"),
        }
    }

    /// Steps until nothing is left to do, without a time limit.
    fn settle(&mut self) {
        self.until_at_rest(Self::step);
    }

    fn until_at_rest(&mut self, step: fn(&mut Self) -> Option<Duration>) {
        for _ in 0..100 {
            match step(self) {
                Some(Duration::MAX) => return,
                Some(rest) => self.now = self.now.after(rest),
                None => {}
            }
        }
        panic!("it never rests: {:?}", self.log);
    }

    fn told(&mut self) -> Vec<FleetEvent> {
        self.world.take_events()
    }

    /// Returns what was told about apps that do not listen.
    fn told_deaf(&mut self) -> Vec<String> {
        let told = self.world.take_notices().into_iter();
        told.filter(|notice| notice.reason == "NotListening").map(|notice| notice.text).collect()
    }

    fn told_pods(&mut self) -> Option<(Vec<Pod>, u32, String)> {
        self.told().into_iter().rev().find_map(|event| match event {
            FleetEvent::Pods { pods, replicas, trouble, .. } => Some((pods, replicas, trouble)),
            _ => None,
        })
    }
}

#[test]
fn a_service_whose_slices_lead_nowhere_is_taken_at_once() {
    let mut cluster = Cluster::new();
    cluster.world.want(&key(), to_activators());
    cluster.show_slice(of_the_cluster(false));
    assert_eq!(cluster.step(), None);
    assert_eq!(cluster.step(), None, "no client can miss them");
    assert!(!cluster.has_selector());
    assert_eq!(cluster.log, ["apply slices", "patch service"]);
}

#[test]
fn a_service_is_taken_slices_first_and_what_others_left_behind_goes_last() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.step(), Some(Duration::MAX), "nobody has decided where its traffic goes");
    cluster.world.want(&key(), to_activators());
    assert_eq!(cluster.step(), None);
    assert_eq!(
        cluster.step(),
        Some(NETWORK),
        "every node must know the new ones before the old ones are stale"
    );
    assert!(cluster.has_selector());
    cluster.settle();
    assert_eq!(cluster.log, ["apply slices", "patch service", "delete leftovers"]);
    assert!(!cluster.has_selector());
    assert_eq!(cluster.annotation("ebb.dev/selector"), Some("app=hello"));
    assert!(!cluster.slices.contains_key("hello-abc"));
    assert_eq!(cluster.slices.len(), 1);
}

#[test]
fn where_traffic_goes_changes_in_one_write() {
    let mut cluster = Cluster::taken();
    let to_pods = Endpoints { path: Path::Serve, addresses: vec![address("10.1.0.2:8012")] };
    cluster.world.want(&key(), to_pods);
    cluster.settle();
    assert_eq!(cluster.log, ["apply slices"]);
    let slice = cluster.slices.values().next().unwrap();
    assert_eq!(slice.endpoints[0].addresses, ["10.1.0.2"]);
    assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8012));
}

#[test]
fn a_manifest_that_is_applied_again_changes_nothing_for_long() {
    let mut cluster = Cluster::taken();
    cluster.told();
    // The webhook is away, and Kubernetes' own controller follows the selector at once.
    cluster.service["spec"]["selector"] = json!({"app": "hello"});
    cluster.show_service();
    cluster.show_slice(of_the_cluster(false));
    cluster.settle();
    assert_eq!(cluster.log, ["patch service", "delete leftovers"]);
    assert!(!cluster.has_selector() && cluster.has_slice_of_ebbs());
    assert!(cluster.told().is_empty(), "those who decide need not hear of it");
}

#[test]
fn a_service_that_asks_no_more_is_given_back_without_a_gap() {
    let mut cluster = Cluster::taken();
    cluster.told();
    cluster.annotate("ebb.dev/scale-target", Value::Null);
    assert_eq!(cluster.step(), None);
    assert!(cluster.has_selector());
    for annotation in ["ebb.dev/selector", "ebb.dev/activator-port"] {
        assert_eq!(cluster.annotation(annotation), None, "{annotation}");
    }
    assert!(cluster.step().unwrap() > NETWORK, "nobody else has its endpoints yet");
    cluster.show_slice(of_the_cluster(true));
    assert_eq!(cluster.step(), Some(NETWORK));
    assert!(cluster.has_slice_of_ebbs());
    let told = cluster.told();
    assert!(
        matches!(&told[..], [FleetEvent::Service { spec, .. }] if spec.min_scale == 1),
        "a pod must be there to be handed over to: {told:?}"
    );
    cluster.settle();
    assert!(!cluster.has_slice_of_ebbs());
    assert!(matches!(&cluster.told()[..], [FleetEvent::Gone(gone)] if *gone == key()));
}

#[test]
fn a_service_whose_pods_never_come_is_given_back_in_the_end() {
    let mut cluster = Cluster::taken();
    cluster.annotate("ebb.dev/scale-target", Value::Null);
    cluster.show_slice(of_the_cluster(false));
    cluster.world.pod("shop", "old", None);
    assert_eq!(cluster.step(), None);
    let rest = cluster.step().unwrap();
    cluster.now = cluster.now.after(rest);
    let Plan::Do(Step::Slices { apply, delete }) = cluster.world.step(&key(), cluster.now) else { panic!() };
    assert_eq!((apply.len(), delete.len()), (0, 1));
}

#[test]
fn slices_of_an_earlier_life_go_when_nobody_needs_them() {
    let mut cluster = Cluster::taken();
    let mut world = World::new(Arc::new(ClusterDefaults::default()));
    std::mem::swap(&mut world, &mut cluster.world);
    cluster.service["metadata"]["annotations"] = json!({});
    cluster.service["spec"]["selector"] = json!({"app": "hello"});
    cluster.show_service();
    for slice in cluster.slices.clone().into_values().chain([of_the_cluster(true)]) {
        cluster.show_slice(slice);
    }
    cluster.settle();
    assert!(!cluster.has_slice_of_ebbs());
}

#[test]
fn before_ebb_is_removed_every_service_is_given_back_and_asks_on() {
    let mut cluster = Cluster::taken();
    cluster.world.set_defaults(Arc::new(ClusterDefaults::default()), true);
    cluster.step();
    cluster.show_slice(of_the_cluster(true));
    cluster.settle();
    assert!(cluster.has_selector() && !cluster.has_slice_of_ebbs());
    assert_eq!(cluster.annotation("ebb.dev/scale-target"), Some("Deployment/hello"));
    assert_eq!(cluster.world.claim_of(&key()), None);
    cluster.show_service();
    cluster.log.clear();
    cluster.settle();
    assert!(cluster.log.is_empty(), "it is not taken again");

    cluster.world.set_defaults(Arc::new(ClusterDefaults::default()), false);
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    assert!(!cluster.has_selector() && cluster.has_slice_of_ebbs(), "taken up where it was left");
}

#[test]
fn what_is_wrong_is_written_on_the_service_and_the_last_good_holds() {
    let mut cluster = Cluster::taken();
    cluster.told();
    cluster.annotate("autoscaling.knative.dev/target", json!("many"));
    cluster.settle();
    let status = cluster.annotation("ebb.dev/status").unwrap();
    assert!(status.contains("autoscaling.knative.dev/target") && status.contains("want"), "{status}");
    assert!(cluster.has_slice_of_ebbs() && cluster.told().is_empty());
    let notices = cluster.world.take_notices();
    assert!(notices.iter().any(|notice| notice.reason == "InvalidService"), "{notices:?}");
    cluster.annotate("autoscaling.knative.dev/target", json!("5"));
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
}

#[test]
fn a_service_that_was_never_good_is_left_as_it_is() {
    let mut cluster = Cluster::new();
    cluster.annotate("autoscaling.knative.dev/target", json!("many"));
    cluster.settle();
    assert!(cluster.has_selector() && !cluster.has_slice_of_ebbs());
    assert!(cluster.annotation("ebb.dev/status").is_some());
    assert_eq!(cluster.log, ["patch service"]);
}

#[test]
fn pods_are_told_before_they_have_an_address_and_those_without_a_sidecar_once_they_are_ready() {
    let mut cluster = Cluster::new();
    let (pods, replicas, _) = cluster.told_pods().unwrap();
    assert_eq!((pods.len(), replicas), (1, 1));
    assert!(pods[0].direct && pods[0].ready);
    assert_eq!(pods[0].serving(), Some(address("10.1.0.1:8080")));

    cluster.world.pod("shop", "new", Some(with_sidecar("", false)));
    let (pods, ..) = cluster.told_pods().unwrap();
    let new = pods.iter().find(|pod| pod.name == "new").unwrap();
    assert_eq!((new.address, &*new.nonce, new.ready), (None, "secret", false));

    cluster.world.pod("shop", "new", Some(with_sidecar("10.1.0.2", true)));
    let (pods, ..) = cluster.told_pods().unwrap();
    let new = pods.iter().find(|pod| pod.name == "new").unwrap();
    assert_eq!((new.serving(), new.ready), (Some(address("10.1.0.2:8012")), true));

    cluster.world.pod("shop", "bare", Some(bare("10.1.0.3", false)));
    assert!(cluster.told_pods().is_none(), "nobody could say when it is ready");
    cluster.world.pod("shop", "bare", Some(PodFacts { labels: BTreeMap::new(), ..bare("10.1.0.3", true) }));
    assert!(cluster.told_pods().is_none(), "not its own");
    cluster.world.pod("shop", "new", None);
    assert_eq!(cluster.told_pods().unwrap().0.len(), 1);
}

#[test]
fn a_sidecar_that_stands_before_another_port_is_passed_by() {
    let mut cluster = Cluster::new();
    let mut pod = with_sidecar("10.1.0.2", true);
    pod.sidecar.as_mut().unwrap().app = Some(9999);
    cluster.world.pod("shop", "other", Some(pod));
    let (pods, ..) = cluster.told_pods().unwrap();
    let other = pods.iter().find(|pod| pod.name == "other").unwrap();
    assert_eq!((other.serving(), other.direct), (Some(address("10.1.0.2:8080")), true));
}

#[test]
fn a_pod_whose_readiness_is_a_command_takes_requests_once_the_kubelet_says_so() {
    let mut cluster = Cluster::new();
    let by_kubelet = |ready| {
        let mut pod = with_sidecar("10.1.0.2", ready);
        pod.sidecar.as_mut().unwrap().ready_by_kubelet = true;
        pod
    };
    cluster.told();
    cluster.world.pod("shop", "new", Some(by_kubelet(false)));
    assert!(cluster.told_pods().is_none());
    cluster.world.pod("shop", "new", Some(by_kubelet(true)));
    assert_eq!(cluster.told_pods().unwrap().0.len(), 2);
}

#[test]
fn a_pod_that_is_not_ready_any_more_takes_no_requests_until_it_is_again() {
    let mut cluster = Cluster::new();
    let pod = |ready, lost| PodFacts { has_lost_readiness: lost, ..with_sidecar("10.1.0.2", ready) };
    cluster.told();
    for (ready, lost, known) in [(false, false, 2), (true, false, 2), (false, true, 1), (true, false, 2)] {
        cluster.world.pod("shop", "new", Some(pod(ready, lost)));
        if let Some(told) = cluster.told_pods() {
            assert_eq!(told.0.len(), known, "{ready} {lost}");
        }
    }
    cluster.world.pod("shop", "new", Some(pod(false, true)));
    assert_eq!(cluster.told_pods().unwrap().0.len(), 1);
}

#[test]
fn why_there_are_no_pods_is_told() {
    let mut cluster = Cluster::new();
    let stuck = PodFacts { trouble: Some("container app: ErrImagePull".into()), ..with_sidecar("", false) };
    cluster.world.pod("shop", "old", Some(stuck));
    assert_eq!(cluster.told_pods().unwrap().2, "pod old: container app: ErrImagePull");
    let notices = cluster.world.take_notices();
    assert!(notices.iter().any(|notice| notice.reason == "PodsCannotStart"), "{notices:?}");
    cluster.world.pod("shop", "old", None);
    cluster.told();
    cluster.world.target_seen(&target(), None);
    let (pods, replicas, trouble) = cluster.told_pods().unwrap();
    assert_eq!((pods.len(), replicas), (0, 0));
    assert!(trouble.contains("Deployment/hello does not exist"), "{trouble}");
}

#[test]
fn nothing_is_told_of_pods_before_it_is_known_how_many_are_wanted() {
    let mut cluster = Cluster::new();
    let mut world = World::new(Arc::new(ClusterDefaults::default()));
    std::mem::swap(&mut world, &mut cluster.world);
    cluster.show_service();
    cluster.world.pod("shop", "old", Some(bare("10.1.0.1", true)));
    for listing in [Listing::Services, Listing::Pods, Listing::Slices, Listing::Namespaces, Listing::Settings]
    {
        cluster.world.listed(&listing);
    }
    let told = cluster.told();
    assert!(matches!(&told[..], [FleetEvent::Service { .. }, FleetEvent::Hosts(none)] if none.is_empty()));
    assert!(!cluster.world.is_complete());
    cluster.has_replicas(4);
    assert_eq!(cluster.told_pods().unwrap().1, 4);
    cluster.world.listed(&Listing::Targets("Deployment".to_owned()));
    assert!(cluster.world.is_complete());
    assert!(matches!(cluster.told().last(), Some(FleetEvent::Complete)));
}

/// Nothing is written before everything is known, even by a leader: whatever was wanted until then is written afterwards.
#[test]
fn all_services_are_examined_when_everything_is_known() {
    let mut cluster = Cluster::new();
    cluster.world = World::new(Arc::new(ClusterDefaults::default()));
    cluster.show_service();
    cluster.world.lead(cluster.now);
    let targets = Listing::Targets("Deployment".to_owned());
    for listing in [Listing::Services, Listing::Pods, Listing::Slices, Listing::Namespaces, targets] {
        cluster.world.listed(&listing);
    }
    cluster.world.want(&key(), to_activators());
    assert!(cluster.world.take_touched().contains(&key()) && !cluster.world.is_complete());
    cluster.world.listed(&Listing::Settings);
    assert!(cluster.world.take_touched().contains(&key()) && cluster.world.is_complete());
}

#[test]
fn no_two_services_share_a_port_of_the_activators() {
    let mut cluster = Cluster::new();
    cluster.annotate("ebb.dev/activator-port", json!("12000"));
    let port = |cluster: &mut Cluster, wanted: &str| {
        let told = cluster.told();
        told.into_iter().rev().find_map(|event| match event {
            FleetEvent::Service { key, port, .. } if key.name == wanted => Some(port),
            _ => None,
        })
    };
    let first = port(&mut cluster, "hello");
    let mut other = cluster.service.clone();
    other["metadata"]["name"] = json!("other");
    other["metadata"]["annotations"]["ebb.dev/activator-port"] = json!(first.unwrap().to_string());
    cluster.world.service(serde_json::from_value(other).unwrap());
    let second = port(&mut cluster, "other");
    assert!(second.is_some() && second != first, "{first:?} {second:?}");
}

#[test]
fn pods_from_before_are_replaced_once_where_that_is_asked_for() {
    let mut cluster = Cluster::new();
    cluster.annotate("ebb.dev/restart", json!("true"));
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    assert_eq!(cluster.log, ["apply slices", "patch service", "delete leftovers", "restart"]);
    cluster.log.clear();
    cluster.show_service();
    cluster.settle();
    assert!(cluster.log.is_empty());
}

#[test]
fn a_jobs_pods_need_no_sidecar() {
    let mut cluster = Cluster::new();
    let controller = Some(("Job".into(), "hello-once".into()));
    cluster.world.pod("shop", "old", Some(with_sidecar("10.1.0.1", true)));
    cluster.world.take_notices();
    cluster.world.pod("shop", "job", Some(PodFacts { controller, ..bare("10.1.0.3", true) }));
    cluster.annotate("ebb.dev/restart", json!("true"));
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    assert!(!cluster.log.contains(&"restart"));
    assert!(cluster.world.take_notices().is_empty());
}

#[test]
fn a_new_leader_lets_activators_come_to_it_before_it_changes_what_was_published() {
    let mut cluster = Cluster::taken();
    cluster.world.lead(cluster.now);
    cluster.world.want(&key(), Endpoints { path: Path::Serve, addresses: vec![address("10.1.0.1:8080")] });
    let rest = cluster.step().expect("it waits");
    cluster.world.want(&key(), to_activators());
    cluster.now = cluster.now.after(rest);
    cluster.settle();
    assert!(cluster.log.is_empty(), "{:?}", cluster.log);
}

#[test]
fn endpoints_are_never_replaced_by_none() {
    let mut cluster = Cluster::taken();
    cluster.world.want(&key(), Endpoints { path: Path::Serve, addresses: vec![] });
    cluster.settle();
    assert!(cluster.log.is_empty(), "{:?}", cluster.log);
}

#[test]
fn a_target_that_is_not_there_is_told_of_once_it_has_had_time_to_come() {
    let mut cluster = Cluster::taken();
    cluster.world.take_notices();
    cluster.world.target_seen(&target(), None);
    let rest = cluster.step().expect("it waits");
    assert!(cluster.world.take_notices().is_empty());
    cluster.now = cluster.now.after(rest);
    cluster.settle();
    let told = cluster.world.take_notices();
    assert!(matches!(&told[..], [notice] if notice.reason == "ScaleTargetMissing"), "{told:?}");
    cluster.settle();
    assert!(cluster.world.take_notices().is_empty(), "once");
}

#[test]
fn an_app_that_runs_and_never_listens_is_told_of_once_for_each_start() {
    let mut cluster = Cluster::taken();
    cluster.annotate("serving.knative.dev/progress-deadline", json!("60s"));
    let starting = |since| PodFacts { runs_since: since, ..with_sidecar("10.1.0.2", false) };
    let told = |cluster: &mut Cluster| {
        cluster.settle();
        cluster.told_deaf()
    };
    let began = cluster.now;
    cluster.world.pod("shop", "new", Some(starting(Some(began))));
    assert!(told(&mut cluster).is_empty(), "another one is ready");
    cluster.world.pod("shop", "old", None);
    assert_eq!(cluster.step(), Some(Duration::from_secs(60)));
    let texts = told(&mut cluster);
    assert!(!texts[0].contains("  "), "{texts:?}");
    assert_eq!(cluster.now.since(began), Duration::from_secs(60));
    assert!(matches!(&texts[..], [text] if text.starts_with("pod new has run for 60 s")), "{texts:?}");
    assert!(texts[0].contains("0.0.0.0") && texts[0].contains("port 8080"), "{texts:?}");
    cluster.world.pod("shop", "later", Some(starting(Some(began.after(Duration::from_secs(9))))));
    assert!(told(&mut cluster).is_empty(), "once");

    for name in ["new", "later"] {
        cluster.world.pod("shop", name, None);
    }
    let job = PodFacts { controller: Some(("Job".into(), "once".into())), ..starting(Some(began)) };
    cluster.world.pod("shop", "job", Some(job));
    cluster.world.pod("shop", "next", Some(starting(None)));
    assert!(told(&mut cluster).is_empty(), "its containers do not run yet");
    cluster.world.pod("shop", "next", Some(starting(Some(cluster.now))));
    assert!(matches!(&told(&mut cluster)[..], [text] if text.starts_with("pod next")));
}

#[test]
fn what_no_pod_answered_is_told_of_if_pods_run_and_nothing_else_is_known_to_be_wrong() {
    let began = Tick::from_secs(2000);
    let running = |ready| PodFacts { runs_since: Some(began), ..with_sidecar("10.1.0.2", ready) };
    let (unprobed, probed) = (running(true), running(false));
    let of_a_job = PodFacts { controller: Some(("Job".into(), "once".into())), ..unprobed.clone() };
    let starting = PodFacts { runs_since: None, ..unprobed.clone() };
    let stuck = PodFacts { trouble: Some("container app: ErrImagePull".into()), ..starting.clone() };
    let stuck = PodFacts { ready: false, ..stuck };
    let is_called_ready = "pod a has run for 3 s and is marked ready, but did not answer an activator: \
                           its app does not listen on port 8080, or";
    let is_not_ready = "pod a has run for 60 s and is not ready: its app does not listen on port 8080, or";
    for (pods, after_ms, told) in [
        (vec![], 3_000, None),
        (vec![unprobed.clone()], 2_999, None),
        (vec![unprobed.clone()], 3_000, Some(is_called_ready)),
        (vec![probed.clone()], 59_999, None),
        (vec![probed.clone()], 60_000, Some(is_not_ready)),
        (vec![probed.clone(), starting.clone()], 60_000, Some(is_not_ready)),
        (vec![starting], 3_000, None),
        (vec![of_a_job], 3_000, None),
        (vec![unprobed, stuck], 3_000, None),
    ] {
        let mut cluster = Cluster::taken();
        cluster.world.pod("shop", "old", None);
        for (name, pod) in ["a", "b"].into_iter().zip(pods.clone()) {
            cluster.world.pod("shop", name, Some(pod));
        }
        cluster.world.unanswered(&key(), began.after(Duration::from_millis(after_ms)));
        let texts = cluster.told_deaf();
        assert_eq!(texts.len(), usize::from(told.is_some()), "{pods:?}: {texts:?}");
        for (text, told) in texts.iter().zip(told) {
            assert!(text.contains(told) && text.contains("ebb.dev/activation-deadline"), "{text}");
            assert!(!text.contains("  ") && text.len() < 600, "{text}");
        }
    }
}

#[test]
fn what_no_pod_answered_is_told_of_once_for_the_same_pods() {
    let mut cluster = Cluster::taken();
    cluster.annotate("serving.knative.dev/progress-deadline", json!("60s"));
    cluster.annotate("ebb.dev/activation-deadline", json!("6s"));
    cluster.world.pod("shop", "old", None);
    let running = |since, ready| PodFacts { runs_since: Some(since), ..with_sidecar("10.1.0.2", ready) };
    let unanswered = |cluster: &mut Cluster| {
        cluster.now = cluster.now.after(Duration::from_secs(5));
        cluster.world.unanswered(&key(), cluster.now);
        cluster.told_deaf().len()
    };
    let began = cluster.now;
    cluster.world.pod("shop", "first", Some(running(began, true)));
    assert_eq!([unanswered(&mut cluster), unanswered(&mut cluster)], [1, 0]);
    cluster.world.pod("shop", "second", Some(running(cluster.now, true)));
    cluster.world.pod("shop", "first", Some(running(cluster.now, true)));
    assert_eq!(unanswered(&mut cluster), 0, "one more, and the same once more");
    let successor = PodFacts { started_at: cluster.now, ..running(cluster.now, true) };
    cluster.world.pod("shop", "first", Some(successor));
    assert_eq!([unanswered(&mut cluster), unanswered(&mut cluster)], [1, 0], "another of the same name");

    for name in ["first", "second"] {
        cluster.world.pod("shop", name, None);
    }
    cluster.world.pod("shop", "third", Some(running(cluster.now, false)));
    assert_eq!([unanswered(&mut cluster), unanswered(&mut cluster)], [1, 0]);
    cluster.settle();
    assert!(cluster.told_deaf().is_empty(), "that it makes no progress is told already");

    cluster.world.pod("shop", "third", None);
    cluster.world.pod("shop", "fourth", Some(running(cluster.now, true)));
    cluster.annotate("ebb.dev/scale-target", Value::Null);
    assert_eq!(unanswered(&mut cluster), 0, "it is on its way back");
}

#[test]
fn what_a_write_became_is_no_news_where_the_watch_knows_later_news() {
    let mut cluster = Cluster::new();
    cluster.annotate("autoscaling.knative.dev/target", json!("many"));
    let written: Service = serde_json::from_value(cluster.service.clone()).unwrap();
    cluster.annotate("autoscaling.knative.dev/target", json!("10"));
    cluster.world.written(written.clone());
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    assert!(!cluster.has_selector());
    assert_eq!(cluster.annotation("ebb.dev/status"), None);

    cluster.world.service_gone(&key());
    cluster.world.written(written);
    assert!(cluster.world.known_services().is_empty(), "nobody would ever say that it is gone");
}

#[test]
fn what_became_of_a_slice_is_no_news_where_the_watch_has_told_of_it_since() {
    let name = "hello-ebb-ipv4-0";
    let facts = |slice: &EndpointSlice| SliceFacts::of(slice).map(|(_, facts)| facts);
    let apply = |cluster: &mut Cluster| match cluster.world.step(&key(), cluster.now) {
        Plan::Do(Step::Slices { apply, .. }) => apply[0].clone(),
        other => panic!("{other:?}"),
    };
    let mut cluster = Cluster::new();
    cluster.world.want(&key(), to_activators());
    let written = apply(&mut cluster);
    cluster.world.slices_written(&key(), vec![(name.to_owned(), facts(&written))]);
    assert!(cluster.step().is_some(), "it is there, though the watch did not say so yet");

    cluster.world.slice_gone(&key(), name);
    assert_eq!(apply(&mut cluster), written);
    cluster.show_slice(written.clone());
    cluster.world.slice_gone(&key(), name);
    cluster.world.slices_written(&key(), vec![(name.to_owned(), facts(&written))]);
    assert_eq!(apply(&mut cluster), written, "it is gone, and nobody would say so again");

    let emptied = EndpointSlice { endpoints: vec![], ..written.clone() };
    cluster.show_slice(emptied);
    cluster.world.slices_written(&key(), vec![(name.to_owned(), facts(&written))]);
    assert_eq!(apply(&mut cluster), written, "somebody else wrote it later");

    cluster.show_slice(written.clone());
    cluster.world.slices_written(&key(), vec![(name.to_owned(), None)]);
    assert!(cluster.step().is_some(), "it was made again after it was deleted");
}

#[test]
fn a_kind_that_cannot_be_known_holds_up_nobody_else() {
    let mut cluster = Cluster::new();
    cluster.world = World::new(Arc::new(ClusterDefaults::default()));
    cluster.annotate("ebb.dev/scale-target", json!("Rollout/hello"));
    for listing in [Listing::Services, Listing::Pods, Listing::Slices, Listing::Namespaces, Listing::Settings]
    {
        cluster.world.listed(&listing);
    }
    assert!(!cluster.world.is_complete());
    cluster.world.pod("shop", "old", Some(with_sidecar("10.1.0.1", true)));
    cluster.told();
    cluster.world.unknowable("Rollout", "forbidden".to_owned());
    assert!(cluster.world.is_complete());
    let (pods, replicas, _) = cluster.told_pods().unwrap();
    assert_eq!((pods.len(), replicas), (1, 1), "whoever serves it serves on");
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    let status = cluster.annotation("ebb.dev/status").unwrap();
    assert!(status.contains("forbidden"), "{status}");
}

#[test]
fn a_service_with_a_port_keeps_it_whatever_is_read_before_it() {
    let cluster = Cluster::new();
    let service = |name: &str, port: Option<u16>| -> Service {
        let mut object = cluster.service.clone();
        object["metadata"]["name"] = json!(name);
        if let Some(port) = port {
            object["metadata"]["annotations"]["ebb.dev/activator-port"] = json!(port.to_string());
        }
        serde_json::from_value(object).unwrap()
    };
    let port_of = |world: &mut World, name: &str| {
        let told = world.take_events();
        told.into_iter().rev().find_map(|event| match event {
            FleetEvent::Service { key, port, .. } if key.name == name => Some(port),
            _ => None,
        })
    };
    let mut first = World::new(Arc::new(ClusterDefaults::default()));
    first.service(service("new", None));
    first.listed(&Listing::Services);
    let wished = port_of(&mut first, "new").unwrap();

    let mut world = World::new(Arc::new(ClusterDefaults::default()));
    world.service(service("new", None));
    assert_eq!(port_of(&mut world, "new"), None, "others may have written what it would choose");
    world.service(service("old", Some(wished)));
    assert_eq!(port_of(&mut world, "old"), Some(wished));
    world.listed(&Listing::Services);
    assert!(port_of(&mut world, "new").is_some_and(|port| port != wished));
}

#[test]
fn a_slice_that_lost_its_label_is_made_anew() {
    let mut cluster = Cluster::taken();
    cluster.world.slice_lost("shop", "hello-ebb-ipv4-0");
    cluster.settle();
    assert_eq!(cluster.log, ["apply slices"]);
}

#[test]
fn the_readiness_of_pods_with_a_label_is_told_and_those_on_their_way_out_are_none() {
    let mut cluster = Cluster::new();
    let label = ("app.kubernetes.io/component", "activator");
    let mut show = |name: &str, ip: &str, ready: bool, component: &str| {
        let labels = [(label.0.to_owned(), component.to_owned())].into();
        cluster.world.pod("ebb-system", name, Some(PodFacts { labels, ..bare(ip, ready) }));
    };
    show("a", "10.9.0.1", true, "activator");
    show("b", "10.9.0.2", false, "activator");
    show("young", "", false, "activator");
    show("c", "10.9.0.3", true, "autoscaler");
    cluster.world.pod("shop", "d", Some(bare("10.9.0.4", true)));
    let is = |world: &World| world.readiness("ebb-system", label);
    let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    assert_eq!(is(&cluster.world), [(address("10.9.0.1"), true), (address("10.9.0.2"), false)]);
    cluster.world.pod("ebb-system", "a", None);
    assert_eq!(is(&cluster.world), [(address("10.9.0.2"), false)]);
}
