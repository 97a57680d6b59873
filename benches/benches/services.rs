//! The cost of services to the autoscaler, by their number: a whole tick, the memory of each, and how soon
//! all decisions are out if many get their first request at the same time.
//!
//! `cargo bench -p ebb-benches --bench services`

use std::{
    collections::BTreeMap, error::Error, fs, net::SocketAddr, ops::Range, process::Command, sync::Arc,
    time::Duration,
};

use autoscaler::Autoscaler;
use bytes::Bytes;
use ebb_annotations::{ClusterDefaults, Reachability, ScalingSpec, TargetBurstCapacity, parse};
use ebb_core::{
    ServiceKey, Tick,
    link::{Hello, PATH, Up, frame},
    stat::{Stat, WireStatMessage, WireStatMessages},
};
use ebb_decide::platform::{EndpointSink, FleetEvent, Gate, PlatformError, PodSource, ScaleTarget};
use ebb_decide::{
    Periods, Pod, PodAddress,
    endpoints::{Answering, Endpoints},
    sampling::Estimate,
    service::Cause,
    table::ServiceTable,
};
use ebb_proxy::{
    WallClock,
    stream::{ChannelBody, open},
};
use http::Request;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

/// The pods of a busy service.
const PODS: u8 = 3;
/// The age of services, in seconds, before anything is measured: windows and histories are full.
const LIVED: u64 = 120;
const SOON: Duration = Duration::from_secs(60);
/// The prefix of the name of a life whose memory is to be measured.
const MEMORY: &str = "--memory";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != MEMORY);
    if let Some(life) = arguments.nth(1).and_then(|name| Life::named(&name)) {
        println!("{}", memory(life)?);
        return Ok(());
    }
    println!("the decisions of one tick: 2 s of reports recorded, and each service that is due decided on");
    println!("{:>9} {:>9} {:>12} {:>14}", "services", "busy", "a tick, ms", "of a core, %");
    for services in [1_000, 10_000, 100_000] {
        for busy in [0, services / 10] {
            ticks(services, busy);
        }
    }
    println!("\nmemory of one service, bytes resident");
    for life in [Life::NeverCalled, Life::AtRest, Life::Busy] {
        // Each in its own process, so that none reuses what another left to the allocator.
        let measured = Command::new(std::env::current_exe()?).args([MEMORY, life.name()]).output()?;
        println!("{:>28} {:>8}", life.name(), String::from_utf8(measured.stdout)?.trim());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!(
        "\na whole autoscaler, activators report each busy service each second, no pod is asked: of a core, %"
    );
    for (services, busy) in [(10_000, 1_000), (100_000, 10_000)] {
        let share = runtime.block_on(whole(services, busy))?;
        println!("{services:>9} {busy:>9} {:>12.1}", share * 100.0);
    }
    println!(
        "\nfirst requests of many services in one report: from its first byte to the last scale written, ms"
    );
    for services in [100, 1_000, 10_000] {
        let took = runtime.block_on(first_requests(services))?;
        println!("{services:>9} services {:>8.1}", took.as_secs_f64() * 1e3);
    }
    Ok(())
}

fn spec() -> Arc<ScalingSpec> {
    let annotations: BTreeMap<String, String> =
        [("autoscaling.knative.dev/initial-scale".to_owned(), "0".to_owned())].into();
    let defaults = ClusterDefaults { allow_zero_initial_scale: true, ..ClusterDefaults::default() };
    let parsed = parse(&annotations, &defaults, Reachability::Reachable);
    Arc::new(parsed.expect("annotations without a fault").spec)
}

fn key(n: usize) -> ServiceKey {
    ServiceKey::new(format!("team-{}", n % 100), format!("service-{n}"))
}

fn load(in_flight: f64) -> Stat {
    Stat { average_concurrent_requests: in_flight, request_count: in_flight * 10.0, ..Stat::default() }
}

fn pods(n: usize, now: Tick) -> Vec<Pod> {
    let [.., high, low] = n.to_be_bytes();
    let address = |pod: u8, port| SocketAddr::from(([10, pod, high, low], port));
    (0..PODS)
        .map(|pod| Pod {
            name: format!("service-{n}-6c9f8d7b5-{pod}xyz"),
            address: Some(PodAddress { serving: address(pod, 8012), stats: address(pod, 9090) }),
            direct: false,
            nonce: "0123456789abcdef0123456789abcdef".to_owned(),
            ready: true,
            started_at: now,
        })
        .collect()
}

/// Returns a load that changes each second, so that no decision repeats the last.
fn moving(second: u64) -> f64 {
    90.0 + (second % 60) as f64
}

/// The history of a service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    NeverCalled,
    AtRest,
    Busy,
}

impl Life {
    const fn name(self) -> &'static str {
        match self {
            Self::NeverCalled => "never called",
            Self::AtRest => "at rest, called before",
            Self::Busy => "busy, 3 pods",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::NeverCalled, Self::AtRest, Self::Busy].into_iter().find(|life| life.name() == name)
    }
}

/// Many services, some of which have traffic, and the current time.
struct World {
    services: ServiceTable,
    now: Tick,
}

impl World {
    fn new() -> Self {
        Self { services: ServiceTable::new(Periods::default()), now: Tick::from_secs(1_000_000) }
    }

    /// Adds services without pods.
    fn add(&mut self, services: Range<usize>) {
        for n in services {
            self.services.set_spec(key(n), spec(), 30_000, self.now);
            let now = self.now;
            self.service(n)
                .state
                .set_activators(Answering::heard(vec![SocketAddr::from(([10, 200, 0, 1], 30_000))]), now);
            self.set_pods(n, Vec::new());
        }
    }

    fn set_pods(&mut self, n: usize, pods: Vec<Pod>) {
        let (now, replicas) = (self.now, u32::try_from(pods.len()).unwrap_or(0));
        self.service(n).state.set_pods(pods, replicas, now);
        // The second pass follows the first, because endpoints were published by it.
        for _ in 0..2 {
            self.services.evaluate(&key(n), now, Cause::Change);
        }
    }

    fn service(&mut self, n: usize) -> &mut ebb_decide::table::Service {
        self.services.get_mut(&key(n)).expect("a service that was made")
    }

    /// Plays one second: each busy service's pods have answered, and its activator has reported, half of the
    /// load each.
    fn report(&mut self, keys: &[ServiceKey], in_flight: impl Fn(u64) -> f64) {
        self.now = self.now.after(Duration::from_secs(1));
        let now = self.now;
        for key in keys {
            let Some(service) = self.services.get_mut(key) else { continue };
            let half = load(in_flight(now.as_secs()) / 2.0);
            service.state.scraped(now, Ok(Some(Estimate { stat: half.clone(), fresh: true })));
            service.state.report(now, &half);
        }
    }

    /// Makes all decisions that are due. Pods stay as they are: the actions are not executed.
    fn decide(&mut self) -> usize {
        let mut decided = 0;
        while let Some(key) = self.services.due(self.now) {
            self.services.evaluate(&key, self.now, Cause::Tick);
            decided += 1;
        }
        while self.services.due_to_be_asked(self.now).is_some() {}
        decided
    }

    /// Gives these services pods and traffic until windows and histories are full.
    fn live(&mut self, services: Range<usize>) {
        let keys: Vec<ServiceKey> = services.clone().map(key).collect();
        for n in services {
            self.set_pods(n, pods(n, self.now));
        }
        for _ in 0..LIVED {
            self.report(&keys, moving);
            self.decide();
        }
    }

    /// Stops the traffic of these services, so that they rest.
    fn rest(&mut self, services: Range<usize>) {
        let keys: Vec<ServiceKey> = services.clone().map(key).collect();
        for fleet in [PODS, 1, 0] {
            for n in services.clone() {
                let pods = pods(n, self.now).into_iter().take(usize::from(fleet)).collect();
                self.set_pods(n, pods);
            }
            for _ in 0..LIVED {
                self.report(&keys, |_| 0.0);
                self.decide();
            }
        }
        assert_eq!(self.services.next_due(), None, "nothing is to be done about a service that rests");
    }
}

fn ticks(count: usize, busy: usize) {
    let mut world = World::new();
    world.add(0..count);
    world.live(0..busy);
    let keys: Vec<ServiceKey> = (0..busy).map(key).collect();
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..15 {
        let started = Instant::now();
        world.report(&keys, moving);
        let first = world.decide();
        world.report(&keys, moving);
        let decided = first + world.decide();
        took.push(started.elapsed());
        assert_eq!(decided, busy, "each busy service is decided on once in two seconds, and no other");
    }
    took.sort_unstable();
    let tick = took[took.len() / 2].as_secs_f64();
    println!("{count:>9} {busy:>9} {:>12.3} {:>14.3}", tick * 1e3, tick / 2.0 * 100.0);
}

fn memory(life: Life) -> Result<usize, Box<dyn Error>> {
    const COUNT: usize = 20_000;
    let mut world = World::new();
    let before = resident()?;
    match life {
        Life::NeverCalled => world.add(0..COUNT),
        Life::Busy => {
            world.add(0..COUNT);
            world.live(0..COUNT);
        }
        // A few at a time: each reuses what the last one released, so that only what they keep adds up.
        Life::AtRest => {
            for first in (0..COUNT).step_by(20) {
                world.add(first..first + 20);
                world.live(first..first + 20);
                world.rest(first..first + 20);
            }
        }
    }
    Ok((resident()?.saturating_sub(before)) / COUNT)
}

/// Returns the resident bytes of this process.
fn resident() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<usize>()? * 1024)
}

/// A platform that records when it was told to scale.
#[derive(Debug)]
struct Noting {
    events: Mutex<Option<mpsc::Receiver<FleetEvent>>>,
    scaled: mpsc::Sender<Instant>,
}

impl PodSource for Noting {
    type Events = ReceiverStream<FleetEvent>;

    fn watch(&self) -> Self::Events {
        self.events.lock().take().expect("watched once").into()
    }
}

impl ScaleTarget for Noting {
    async fn scale(&self, _: &ServiceKey, _: u32, _: &[String]) -> Result<(), PlatformError> {
        // The bench may be over.
        let _ = self.scaled.send(Instant::now()).await;
        Ok(())
    }
}

impl Gate for Noting {
    async fn admit(&self, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }
}

impl EndpointSink for Noting {
    async fn publish(&self, _: &ServiceKey, _: &Endpoints) -> Result<(), PlatformError> {
        Ok(())
    }
}

/// An autoscaler that knows `count` services without pods, with one activator.
struct Running {
    autoscaler: Autoscaler,
    up: mpsc::Sender<Bytes>,
    told: mpsc::Receiver<Instant>,
    _events: mpsc::Sender<FleetEvent>,
}

impl Running {
    async fn start(count: usize, spec: impl Fn(usize) -> Arc<ScalingSpec>) -> Result<Self, Box<dyn Error>> {
        let (events, watched) = mpsc::channel(1024);
        let (scaled, told) = mpsc::channel(count);
        let platform = Arc::new(Noting { events: Mutex::new(Some(watched)), scaled });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let autoscaler =
            Autoscaler::start(listener, platform, WallClock::start(), Periods::default(), |_| {});
        events.send(FleetEvent::Leadership { leads: true }).await?;
        for n in 0..count {
            events.send(FleetEvent::Service { key: key(n), spec: spec(n), port: 30_000 }).await?;
            let (pods, trouble) = (Vec::new(), String::new());
            events.send(FleetEvent::Pods { key: key(n), pods, replicas: 0, trouble }).await?;
        }
        events.send(FleetEvent::Complete).await?;
        let (up, body) = ChannelBody::new(64);
        let request = Request::post(format!("http://{address}{PATH}")).body(body)?;
        let mut down = open(address, request, SOON).await?.into_body();
        let hello = Hello { name: "bench".into(), address: "10.0.0.1".into(), ..Hello::default() };
        up.send(frame(&Up { hello: Some(hello), ..Up::default() })).await?;
        // The tables have arrived once the last service is known.
        while autoscaler.view(&key(count - 1)).is_none() {
            sleep(Duration::from_millis(1)).await;
        }
        timeout(SOON, down.frame()).await?;
        tokio::spawn(async move { while let Some(Ok(_)) = down.frame().await {} });
        Ok(Self { autoscaler, up, told, _events: events })
    }
}

async fn first_requests(count: usize) -> Result<Duration, Box<dyn Error>> {
    let Running { autoscaler, up, mut told, _events } = Running::start(count, |_| spec()).await?;
    let messages = (0..count).map(|n| WireStatMessage::new(&key(n), load(1.0))).collect();
    let report = frame(&Up { stats: Some(WireStatMessages { messages }), ..Up::default() });
    let started = Instant::now();
    up.send(report).await?;
    let mut last = started;
    for _ in 0..count {
        last = timeout(SOON, told.recv()).await?.ok_or("the autoscaler has ended")?;
    }
    autoscaler.shut_down().await;
    Ok(last.duration_since(started))
}

/// Returns the CPU that a whole autoscaler takes, as a fraction of a core: streams, decoding, decisions,
/// metrics, writes. Activators see all traffic of the `busy` services, so no pod is scraped.
async fn whole(count: usize, busy: usize) -> Result<f64, Box<dyn Error>> {
    const SECONDS: u64 = 10;
    let unscraped = Arc::new(ScalingSpec {
        target_burst_capacity: TargetBurstCapacity::Unlimited,
        ..ScalingSpec::clone(&spec())
    });
    let running = Running::start(count, |n| if n < busy { unscraped.clone() } else { spec() }).await?;
    let Running { autoscaler, up, mut told, _events } = running;
    tokio::spawn(async move { while told.recv().await.is_some() {} });
    // Encoded before, so that only the autoscaler's side is measured.
    let reports: Vec<Vec<Bytes>> = (0..4)
        .map(|second| {
            let services: Vec<usize> = (0..busy).collect();
            let stat = |n: &usize| WireStatMessage::new(&key(*n), load(moving(second)));
            let report = |some: &[usize]| {
                let stats = WireStatMessages { messages: some.iter().map(stat).collect() };
                frame(&Up { stats: Some(stats), ..Up::default() })
            };
            services.chunks(500).map(report).collect()
        })
        .collect();
    let mut seconds = interval(Duration::from_secs(1));
    let mut before = 0.0;
    for second in 0..2 * SECONDS {
        seconds.tick().await;
        if second == SECONDS {
            before = cpu_seconds()?;
        }
        for report in &reports[usize::try_from(second)? % reports.len()] {
            up.send(report.clone()).await?;
        }
    }
    seconds.tick().await;
    let took = cpu_seconds()? - before;
    autoscaler.shut_down().await;
    Ok(took / SECONDS as f64)
}

/// Returns the CPU seconds of this process.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no fields")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let sum: u32 = ticks.collect::<Result<Vec<_>, _>>()?.into_iter().sum();
    // USER_HZ is 100 on every Linux.
    Ok(f64::from(sum) / 100.0)
}
