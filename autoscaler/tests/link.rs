//! The autoscaler as activators and a platform see it: over a real stream, with a scripted platform.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use autoscaler::{
    Autoscaler, Periods,
    endpoints::Endpoints,
    platform::{EndpointSink, FleetEvent, Gate, PlatformError, Pod, PodAddress, PodSource, ScaleTarget},
    zero::Path,
};
use bytes::Bytes;
use ebb_core::{
    ServiceKey, Tick,
    link::{Down, Frames, Hello, Listening, PATH, ServiceEntry, Up, frame},
    scaling::{ClusterDefaults, Reachability, parse},
    stat::{Stat, WireStatMessage, WireStatMessages},
};
use ebb_proxy::{
    Upstream, UpstreamLimits, WallClock, fetch,
    stream::{ChannelBody, open},
};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

/// Nothing here takes longer, unless it is broken.
const SOON: Duration = Duration::from_secs(20);

/// A platform that is told what there is, and tells what it was told.
#[derive(Debug)]
struct Scripted {
    events: Mutex<Option<mpsc::Receiver<FleetEvent>>>,
    told: mpsc::Sender<Told>,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Scale(u32),
    Publish(Endpoints),
}

impl PodSource for Scripted {
    fn watch(&self) -> mpsc::Receiver<FleetEvent> {
        self.events.lock().take().expect("watched once")
    }
}

impl ScaleTarget for Scripted {
    async fn scale(&self, _: &ServiceKey, pods: u32, _: &[String]) -> Result<(), PlatformError> {
        self.told.send(Told::Scale(pods)).await.map_err(|_| PlatformError("the test is over".into()))
    }
}

impl EndpointSink for Scripted {
    async fn publish(&self, _: &ServiceKey, endpoints: &Endpoints) -> Result<(), PlatformError> {
        let endpoints = endpoints.clone();
        self.told.send(Told::Publish(endpoints)).await.map_err(|_| PlatformError("the test is over".into()))
    }
}

impl Gate for Scripted {
    async fn admit(&self, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }
}

fn service_event() -> FleetEvent {
    let annotations =
        [("autoscaling.knative.dev/initial-scale".to_owned(), "0".to_owned())].into_iter().collect();
    let defaults = ClusterDefaults { allow_zero_initial_scale: true, ..ClusterDefaults::default() };
    let spec = parse(&annotations, &defaults, Reachability::Reachable).unwrap().spec;
    FleetEvent::Service { key: key(), spec: Arc::new(spec), port: 30_001 }
}

struct World {
    autoscaler: Autoscaler,
    address: SocketAddr,
    fleet: mpsc::Sender<FleetEvent>,
    told: mpsc::Receiver<Told>,
}

fn key() -> ServiceKey {
    ServiceKey::new("ns", "web")
}

async fn world() -> World {
    let world = young_world().await;
    world.service().await;
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    world
}

/// A world whose platform has told of nothing yet.
async fn young_world() -> World {
    let (fleet, events) = mpsc::channel(64);
    let (tell, told) = mpsc::channel(64);
    let platform = Arc::new(Scripted { events: Mutex::new(Some(events)), told: tell });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let autoscaler = Autoscaler::start(listener, platform, WallClock::start(), Periods::default());
    World { autoscaler, address, fleet, told }
}

impl World {
    async fn service(&self) {
        self.fleet.send(service_event()).await.unwrap();
        self.pods(Vec::new(), 0, "").await;
    }

    async fn pods(&self, pods: Vec<Pod>, replicas: u32, trouble: &str) {
        let event = FleetEvent::Pods { key: key(), pods, replicas, trouble: trouble.to_owned() };
        self.fleet.send(event).await.unwrap();
    }

    /// Waits until the platform was told what `wanted` looks for.
    async fn until<T>(&mut self, mut wanted: impl FnMut(Told) -> Option<T>) -> T {
        timeout(SOON, async {
            loop {
                if let Some(found) = wanted(self.told.recv().await.expect("the autoscaler lives")) {
                    return found;
                }
            }
        })
        .await
        .expect("the platform is told in time")
    }

    /// Waits until traffic goes to `address` alone.
    async fn until_published(&mut self, address: &str) {
        let wanted: [SocketAddr; 1] = [address.parse().unwrap()];
        let reached = |told| matches!(told, Told::Publish(endpoints) if endpoints.addresses == wanted);
        self.until(|told| reached(told).then_some(())).await;
    }
}

/// An activator at the other end of a stream.
struct Activator {
    up: mpsc::Sender<Bytes>,
    down: Incoming,
    frames: Frames,
}

impl Activator {
    async fn join(address: SocketAddr, name: &str, ip: &str) -> Self {
        let activator = Self::connect(address).await;
        activator.introduce(name, ip).await;
        activator
    }

    async fn connect(address: SocketAddr) -> Self {
        let (up, body) = ChannelBody::new(16);
        let request = Request::post(format!("http://{address}{PATH}")).body(body).unwrap();
        let response = open(address, request, SOON).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Self { up, down: response.into_body(), frames: Frames::default() }
    }

    async fn introduce(&self, name: &str, ip: &str) {
        let hello = Hello { name: name.to_owned(), address: ip.to_owned() };
        self.say(&Up { hello: Some(hello), ..Up::default() }).await;
    }

    async fn say(&self, message: &Up) {
        self.up.send(frame(message)).await.unwrap();
    }

    async fn listening(&self, port: u32, error: &str) {
        self.say(&Up { listening: vec![listening(port, error)], ..Up::default() }).await;
    }

    async fn report(&self, concurrency: f64) {
        let stat = Stat { average_concurrent_requests: concurrency, ..Stat::default() };
        let stats = WireStatMessages { messages: vec![WireStatMessage::new(&key(), stat)] };
        self.say(&Up { stats: Some(stats), ..Up::default() }).await;
    }

    async fn table(&mut self) -> Option<Down> {
        loop {
            if let Some(message) = self.frames.next_message().unwrap() {
                return Some(message);
            }
            let piece = timeout(SOON, self.down.frame()).await.expect("a table in time")?.ok()?;
            self.frames.push(piece.data_ref()?);
        }
    }

    /// Waits for a table with an entry that `wanted` likes.
    async fn until(&mut self, wanted: impl Fn(&ServiceEntry) -> bool) -> ServiceEntry {
        loop {
            let table = self.table().await.expect("the stream is open");
            if let Some(entry) = table.services.into_iter().find(&wanted) {
                return entry;
            }
        }
    }
}

fn listening(port: u32, error: &str) -> Listening {
    Listening { namespace: "ns".into(), name: "web".into(), port, error: error.to_owned() }
}

fn pod(ready: bool) -> Pod {
    Pod {
        name: "web-1".into(),
        address: Some(PodAddress {
            serving: "10.0.0.1:8012".parse().unwrap(),
            stats: "127.0.0.1:1".parse().unwrap(),
        }),
        nonce: "secret".into(),
        direct: false,
        ready,
        started_at: Tick::ZERO,
    }
}

#[tokio::test]
async fn the_first_request_at_an_activator_scales_the_service_from_zero() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.listening(30_001, "").await;
    activator.report(1.0).await;
    let pods = world.until(|told| if let Told::Scale(pods) = told { Some(pods) } else { None }).await;
    assert_eq!(pods, 1);
}

#[tokio::test]
async fn traffic_goes_to_activators_that_answer_and_to_pods_once_there_is_room() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.listening(30_001, "").await;
    let proxied = world
        .until(|told| match told {
            Told::Publish(endpoints) if endpoints.path == Path::Proxy => Some(endpoints.addresses),
            _ => None,
        })
        .await;
    assert_eq!(proxied, ["10.0.1.1:30001".parse::<SocketAddr>().unwrap()]);
    activator.listening(30_001, "address in use").await;
    let nobody = world
        .until(|told| match told {
            Told::Publish(endpoints) if endpoints.addresses.is_empty() => Some(endpoints.path),
            _ => None,
        })
        .await;
    assert_eq!(nobody, Path::Serve, "an activator that cannot listen gets no traffic");
}

#[tokio::test]
async fn an_address_that_comes_late_moves_the_services_that_are_answered_for_there() {
    let mut world = world().await;
    let mut activator = Activator::connect(world.address).await;
    activator.until(|entry| entry.name == "web").await;
    activator.listening(30_001, "").await;
    for ip in ["10.0.1.1", "10.0.1.2"] {
        activator.introduce("a", ip).await;
        world.until_published(&format!("{ip}:30001")).await;
    }
}

#[tokio::test]
async fn services_that_are_named_with_the_introduction_get_their_traffic_there() {
    let mut world = world().await;
    let mut activator = Activator::connect(world.address).await;
    activator.until(|entry| entry.name == "web").await;
    let hello = Hello { name: "a".into(), address: "10.0.1.1".into() };
    activator.say(&Up { hello: Some(hello), listening: vec![listening(30_001, "")], ..Up::default() }).await;
    world.until_published("10.0.1.1:30001").await;
}

#[tokio::test]
async fn an_activator_gets_all_tables_when_it_joins_and_each_change_after() {
    let world = world().await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let entry = activator.until(|entry| entry.name == "web").await;
    assert_eq!((entry.port, entry.pods.len(), entry.queue_depth), (30_001, 0, 10_000));
    world.pods(vec![pod(false)], 1, "pod web-1 exited with status 3").await;
    let entry = activator.until(|entry| !entry.pods.is_empty()).await;
    assert_eq!(entry.trouble, "pod web-1 exited with status 3");
    assert_eq!((&*entry.pods[0].address, &*entry.pods[0].nonce), ("10.0.0.1:8012", "secret"));
    world.fleet.send(FleetEvent::Gone(key())).await.unwrap();
    loop {
        let table = activator.table().await.unwrap();
        if table.gone == ["ns/web"] {
            break;
        }
    }
    assert!(world.autoscaler.view(&key()).is_none());
}

#[tokio::test]
async fn an_activator_that_comes_back_gets_all_tables_again() {
    let mut world = world().await;
    let first = Activator::join(world.address, "a", "10.0.1.1").await;
    first.listening(30_001, "").await;
    drop(first);
    let mut again = Activator::join(world.address, "a", "10.0.1.1").await;
    while !again.table().await.is_some_and(|table| table.complete && table.services.len() == 1) {}
    again.report(1.0).await;
    world.until(|told| (told == Told::Scale(1)).then_some(())).await;
}

#[tokio::test]
async fn what_cannot_be_read_closes_that_stream_and_no_other() {
    let mut world = world().await;
    let sound = Activator::join(world.address, "sound", "10.0.1.1").await;
    let mut broken = Activator::join(world.address, "broken", "10.0.1.2").await;
    broken.up.send(Bytes::from_static(&[0xff; 64])).await.unwrap();
    while broken.table().await.is_some() {}
    sound.report(f64::NAN).await;
    sound.report(2.0).await;
    world.until(|told| matches!(told, Told::Scale(1..)).then_some(())).await;
}

#[tokio::test]
async fn it_can_be_asked_why() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.report(1.0).await;
    world.until(|told| (told == Told::Scale(1)).then_some(())).await;
    let history = world.autoscaler.history(&key()).await;
    assert!(history.iter().any(|one| one.scale_to == Some(1)), "{history:?}");
    assert!(world.autoscaler.history(&ServiceKey::new("no", "body")).await.is_empty());
}

#[tokio::test]
async fn an_autoscaler_that_has_just_started_takes_nothing_from_activators() {
    let world = young_world().await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let table = activator.table().await.unwrap();
    assert!(!table.complete && table.services.is_empty(), "what it has may still come");
    world.fleet.send(service_event()).await.unwrap();
    world.pods(vec![pod(true)], 1, "").await;
    let entry = activator.until(|entry| entry.name == "web").await;
    assert_eq!(entry.pods.len(), 1, "not without the pods that it has");
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    while !activator.table().await.is_some_and(|table| table.complete && table.services.len() == 1) {}
}

#[tokio::test]
async fn activators_that_share_a_service_are_told_which_part_is_theirs() {
    let world = world().await;
    let mut activators = Vec::new();
    for ip in ["10.0.1.2", "10.0.1.10"] {
        let activator = Activator::join(world.address, ip, ip).await;
        activator.listening(30_001, "").await;
        activators.push(activator);
    }
    let mut parts = Vec::new();
    for activator in &mut activators {
        let entry = activator.until(|entry| entry.activators == 2).await;
        parts.push(entry.activator_index);
    }
    assert_eq!(parts, [1, 0], "in the order of their addresses' text");
    drop(activators.pop());
    let alone = activators[0].until(|entry| entry.activators == 0).await;
    assert_eq!(alone.activator_index, 0);
}

#[tokio::test]
async fn programs_are_told_why_over_http() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.report(1.0).await;
    world.until(|told| (told == Told::Scale(1)).then_some(())).await;
    let ask = async |path: &str| {
        let upstream = Upstream::new(world.address, UpstreamLimits::default());
        let request = Request::get(path).header("host", "autoscaler").body(()).unwrap();
        let answer = fetch(&upstream, request, 1 << 20, SOON).await.unwrap();
        (answer.status(), String::from_utf8(answer.body().to_vec()).unwrap())
    };
    let (status, text) = ask("/explain/ns/web").await;
    assert_eq!(status, StatusCode::OK);
    let why: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&why["service"], &why["now"]["desired_pods"]), (&"ns/web".into(), &1.into()), "{text}");
    let woke = why["decisions"].as_array().unwrap().iter().find(|one| one["scale_to"] == 1).unwrap();
    assert_eq!((&woke["cause"], &woke["decision"]["bound_by"]), (&"poke".into(), &"load".into()), "{text}");
    for unknown in ["/explain/ns/nobody", "/explain/web", "/explain/", "/explain/a/b/c"] {
        assert_eq!(ask(unknown).await.0, StatusCode::NOT_FOUND, "{unknown}");
    }
    let (_, metrics) = ask("/metrics").await;
    for series in ["desired_pods", "no_data", "stable_load", "scrape_failures_total"] {
        let line = format!("ebb_autoscaler_{series}{{namespace=\"ns\",service=\"web\"}}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}
