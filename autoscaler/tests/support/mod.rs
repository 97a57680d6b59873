//! An autoscaler between a scripted platform and scripted activators, over real streams.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use autoscaler::Autoscaler;
use bytes::Bytes;
use ebb_annotations::{ClusterDefaults, Reachability, parse};
use ebb_core::{
    ServiceKey, Tick,
    announce::{self, Announcement},
    link::{Down, Frames, Hello, Listening, PATH, ServiceEntry, Up, frame},
    stat::{Stat, WireStatMessage, WireStatMessages},
};
use ebb_decide::platform::{Applied, EndpointSink, FleetEvent, Gate, PlatformError, PodSource, ScaleTarget};
use ebb_decide::{Periods, Pod, PodAddress, endpoints::Endpoints, route::rollout::Progress};
use ebb_proxy::Incoming;
use ebb_proxy::{
    Upstream, UpstreamLimits, WallClock, fetch,
    stream::{ChannelBody, open},
};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

/// Time limit of every wait.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A scripted platform, which reports the calls that it gets.
#[derive(Debug)]
struct Scripted {
    events: Mutex<Option<mpsc::Receiver<FleetEvent>>>,
    told: mpsc::Sender<Told>,
    /// The token that activators must present, if any.
    token: Option<&'static str>,
    /// Calls that should panic.
    panics: Arc<Mutex<Vec<Call>>>,
}

/// A call to the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Scale,
    Publish,
    Keep,
    Unanswered,
}

impl Scripted {
    fn called(&self, call: Call) {
        let mut panics = self.panics.lock();
        if let Some(n) = panics.iter().position(|of| *of == call) {
            panics.swap_remove(n);
            drop(panics);
            panic!("the platform has a bug in {call:?}");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Scale(u32),
    Publish(Endpoints),
    /// A call for another service than that of most tests, or for a route.
    PublishOther(ServiceKey, Endpoints),
    Unanswered(ServiceKey),
    /// The progress of a route's rollout.
    Keep(Option<Progress>),
    /// The answer to the question with this number.
    Confirmed(ServiceKey, u64, Applied),
}

impl PodSource for Scripted {
    type Events = ReceiverStream<FleetEvent>;

    fn watch(&self) -> Self::Events {
        self.events.lock().take().expect("watched once").into()
    }
}

impl ScaleTarget for Scripted {
    async fn scale(&self, _: &ServiceKey, pods: u32, _: &[String]) -> Result<(), PlatformError> {
        self.called(Call::Scale);
        self.told.send(Told::Scale(pods)).await.map_err(|_| PlatformError("the test is over".into()))
    }

    fn unanswered(&self, service: &ServiceKey) {
        self.called(Call::Unanswered);
        self.told.try_send(Told::Unanswered(service.clone())).expect("the test takes what is told");
    }
}

impl EndpointSink for Scripted {
    async fn publish(&self, service: &ServiceKey, endpoints: &Endpoints) -> Result<(), PlatformError> {
        self.called(Call::Publish);
        let endpoints = endpoints.clone();
        let told = if *service == key() {
            Told::Publish(endpoints)
        } else {
            Told::PublishOther(service.clone(), endpoints)
        };
        self.told.send(told).await.map_err(|_| PlatformError("the test is over".into()))
    }

    async fn keep(&self, _: &ServiceKey, progress: Option<&Progress>) -> Result<(), PlatformError> {
        self.called(Call::Keep);
        let told = Told::Keep(progress.cloned());
        self.told.send(told).await.map_err(|_| PlatformError("the test is over".into()))
    }

    fn confirmed(&self, service: &ServiceKey, ask: u64, applied: Applied) {
        let told = Told::Confirmed(service.clone(), ask, applied);
        self.told.try_send(told).expect("the test takes what is told");
    }
}

impl Gate for Scripted {
    async fn admit(&self, token: Option<&str>) -> Result<(), String> {
        if self.token.is_none() || token == self.token { Ok(()) } else { Err("no such token".into()) }
    }
}

pub(crate) fn service_event() -> FleetEvent {
    let annotations =
        [("autoscaling.knative.dev/initial-scale".to_owned(), "0".to_owned())].into_iter().collect();
    let defaults = ClusterDefaults { allow_zero_initial_scale: true, ..ClusterDefaults::default() };
    let spec = parse(&annotations, &defaults, Reachability::Reachable).unwrap().spec;
    FleetEvent::Service { key: key(), spec: Arc::new(spec), port: 30_001 }
}

pub(crate) struct World {
    pub(crate) autoscaler: Autoscaler,
    pub(crate) address: SocketAddr,
    pub(crate) fleet: mpsc::Sender<FleetEvent>,
    pub(crate) told: mpsc::Receiver<Told>,
    panics: Arc<Mutex<Vec<Call>>>,
}

pub(crate) fn key() -> ServiceKey {
    ServiceKey::new("ns", "web")
}

pub(crate) async fn world() -> World {
    world_at(Ipv4Addr::LOCALHOST).await
}

/// Returns a world whose activators connect to `address`.
pub(crate) async fn world_at(address: Ipv4Addr) -> World {
    let world = guarded_world_at(address, None).await;
    world.leads(true).await;
    world.service().await;
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    world
}

/// Returns a world whose autoscaler leads, and whose platform has reported nothing yet.
pub(crate) async fn young_world() -> World {
    let world = following_world().await;
    world.leads(true).await;
    world
}

/// Returns a world whose platform has reported nothing.
pub(crate) async fn following_world() -> World {
    guarded_world(None).await
}

/// Returns such a world, in which activators must present `token`, if any.
pub(crate) async fn guarded_world(token: Option<&'static str>) -> World {
    guarded_world_at(Ipv4Addr::LOCALHOST, token).await
}

async fn guarded_world_at(address: Ipv4Addr, token: Option<&'static str>) -> World {
    let (fleet, events) = mpsc::channel(64);
    let (tell, told) = mpsc::channel(64);
    let panics = Arc::<Mutex<Vec<Call>>>::default();
    let events = Mutex::new(Some(events));
    let platform = Arc::new(Scripted { events, told: tell, token, panics: panics.clone() });
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let autoscaler = Autoscaler::start(listener, platform, WallClock::start(), Periods::default(), |_| {});
    World { autoscaler, address, fleet, told, panics }
}

impl World {
    pub(crate) async fn leads(&self, leads: bool) {
        self.fleet.send(FleetEvent::Leadership { leads }).await.unwrap();
    }

    pub(crate) async fn service(&self) {
        self.fleet.send(service_event()).await.unwrap();
        self.pods(Vec::new(), 0, "").await;
    }

    pub(crate) async fn pods(&self, pods: Vec<Pod>, replicas: u32, trouble: &str) {
        let event = FleetEvent::Pods { key: key(), pods, replicas, trouble: trouble.to_owned() };
        self.fleet.send(event).await.unwrap();
    }

    /// Makes the next call of that kind panic.
    pub(crate) fn will_panic(&self, call: Call) {
        self.panics.lock().push(call);
    }

    pub(crate) async fn replicas(&self, addresses: &[&str]) {
        let replicas = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.fleet.send(FleetEvent::Replicas(replicas)).await.unwrap();
    }

    /// Sets the activators' pods, and which are ready.
    pub(crate) async fn activator_pods(&self, pods: &[(&str, bool)]) {
        let pods = pods.iter().map(|(ip, ready)| (ip.parse().unwrap(), *ready)).collect();
        self.fleet.send(FleetEvent::ActivatorPods(pods)).await.unwrap();
    }

    /// Announces a pod, and returns the status.
    pub(crate) async fn announce(&self, said: &Announcement) -> u16 {
        self.post(said.encode_to_vec()).await
    }

    /// Posts any bytes as an announcement, and returns the status.
    pub(crate) async fn post(&self, bytes: Vec<u8>) -> u16 {
        let request = Request::post(announce::PATH).body(Bytes::from(bytes)).unwrap();
        self.fetch(request).await.0.as_u16()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        self.fetch(Request::get(path).body(Bytes::new()).unwrap()).await
    }

    async fn fetch(&self, mut request: Request<Bytes>) -> (StatusCode, String) {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("autoscaler"));
        let upstream = Upstream::new(self.address, UpstreamLimits::default());
        let answer = fetch(&upstream, request, 1 << 20, SOON).await.unwrap();
        (answer.status(), String::from_utf8(answer.body().to_vec()).unwrap())
    }

    /// Waits until a call to the platform satisfies `wanted`.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Told) -> Option<T>) -> T {
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

    /// Waits until traffic goes only to `address`.
    pub(crate) async fn until_published(&mut self, address: &str) {
        self.until_all_published(&[address]).await;
    }

    /// Waits until traffic goes to exactly `addresses`.
    pub(crate) async fn until_all_published(&mut self, addresses: &[&str]) {
        let wanted: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let reached = |told| matches!(told, Told::Publish(endpoints) if endpoints.addresses == wanted);
        self.until(|told| reached(told).then_some(())).await;
    }
}

/// An activator's end of a stream.
pub(crate) struct Activator {
    pub(crate) up: mpsc::Sender<Bytes>,
    pub(crate) down: Incoming,
    pub(crate) frames: Frames,
}

impl Activator {
    pub(crate) async fn join(address: SocketAddr, name: &str, ip: &str) -> Self {
        let activator = Self::connect(address).await;
        activator.introduce(name, ip).await;
        activator
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address, None).await.unwrap_or_else(|status| panic!("refused: {status}"))
    }

    /// Connects, or fails with the status of the refusal.
    pub(crate) async fn try_connect(address: SocketAddr, token: Option<&str>) -> Result<Self, StatusCode> {
        let (up, body) = ChannelBody::new(16);
        let mut request = Request::post(format!("http://{address}{PATH}"));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = open(address, request.body(body).unwrap(), SOON).await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        Ok(Self { up, down: response.into_body(), frames: Frames::default() })
    }

    pub(crate) async fn introduce(&self, name: &str, ip: &str) {
        let (name, address) = (name.to_owned(), ip.to_owned());
        let hello = Hello { name, address, heartbeats: true, confirms: true };
        self.say(&Up { hello: Some(hello), ..Up::default() }).await;
    }

    pub(crate) async fn say(&self, message: &Up) {
        self.up.send(frame(message)).await.unwrap();
    }

    pub(crate) async fn listening(&self, port: u32, error: &str) {
        self.say(&Up { listening: vec![listening(port, error)], ..Up::default() }).await;
    }

    pub(crate) async fn report(&self, concurrency: f64) {
        let stat = Stat { average_concurrent_requests: concurrency, ..Stat::default() };
        let stats = WireStatMessages { messages: vec![WireStatMessage::new(&key(), stat)] };
        self.say(&Up { stats: Some(stats), ..Up::default() }).await;
    }

    pub(crate) async fn table(&mut self) -> Option<Down> {
        loop {
            if let Some(message) = self.frames.next_message().unwrap() {
                return Some(message);
            }
            let piece = timeout(SOON, self.down.frame()).await.expect("a table in time")?.ok()?;
            self.frames.push(piece.data_ref()?);
        }
    }

    /// Waits for a message that satisfies `wanted`.
    pub(crate) async fn message(&mut self, wanted: impl Fn(&Down) -> bool) -> Down {
        loop {
            let message = self.table().await.expect("the stream is open");
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Waits for a table with an entry that satisfies `wanted`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&ServiceEntry) -> bool) -> ServiceEntry {
        loop {
            let table = self.table().await.expect("the stream is open");
            if let Some(entry) = table.services.into_iter().find(&wanted) {
                return entry;
            }
        }
    }
}

pub(crate) fn listening(port: u32, error: &str) -> Listening {
    Listening { namespace: "ns".into(), name: "web".into(), port, error: error.to_owned() }
}

pub(crate) fn pod(ready: bool) -> Pod {
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
