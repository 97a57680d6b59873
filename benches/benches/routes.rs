//! The cost of a route to an activator compared with the service that it leads to, in microseconds of one
//! core per request; and how exactly two activators together split requests by 90 and 10.
//!
//! `cargo build --profile dist -p activator && EBB_ACTIVATOR=target/dist/activator cargo bench -p ebb-benches
//! --bench routes`

#[path = "cores/mod.rs"]
mod cores;

use std::{
    collections::HashMap,
    env,
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Child,
    sync::Arc,
    time::Duration,
};

use autoscaler::Autoscaler;
use ebb_annotations::{ClusterDefaults, Reachability, SplitBy, parse};
use ebb_core::{ServiceKey, Tick};
use ebb_decide::{
    Periods, Pod, PodAddress,
    endpoints::Endpoints,
    platform::{EndpointSink, FleetEvent, Gate, PlatformError, PodSource, ScaleTarget},
    route::{Split, Target, rollout::Pace},
};
use ebb_proxy::WallClock;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;

use cores::{alone_on_the_first, used};

/// Requests at once, each on a persistent connection.
const CONCURRENCY: usize = 32;
const REQUESTS: usize = 64_000;
/// How often each of the two is measured, in turn.
const ROUNDS: usize = 6;
/// Requests to the two activators together.
const DIVIDED: usize = 10_000;
const REQUEST: &[u8] =
    b"GET /orders?id=17 HTTP/1.1\r\nHost: hello.default\r\nAccept: */*\r\nUser-Agent: curl/8.5.0\r\n\r\n";
const SOON: Duration = Duration::from_secs(20);
const V1: &str = "v1";
const ROUTE: &str = "hello";

/// The endpoints of each Service, by its name.
type Published = HashMap<String, Vec<SocketAddr>>;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    if !cores::leave_the_first() {
        return Ok(());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let mut apps = JoinSet::new();
    let [v1, v2] = [app(b'1', &mut apps).await?, app(b'2', &mut apps).await?];
    let (events, told) = mpsc::channel(16);
    tell(&events, [v1, v2]);
    let (published, mut seen) = watch::channel(HashMap::new());
    let platform = Arc::new(Fixed { events: Mutex::new(Some(told)), published });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let autoscaler_address = listener.local_addr()?;
    let _autoscaler = Autoscaler::start(listener, platform, WallClock::start(), Periods::default(), |_| {});
    let activators = [activator(2, autoscaler_address)?, activator(3, autoscaler_address)?];
    let both =
        |all: &Published| [V1, ROUTE].iter().all(|name| all.get(*name).is_some_and(|at| at.len() == 2));
    let all = timeout(SOON, seen.wait_for(both)).await??.clone();
    let first = &activators[0];
    let at = |name: &str, activator: &Activator| {
        let found = all.get(name).and_then(|all| all.iter().find(|at| at.ip() == activator.ip));
        found.copied().ok_or("an activator does not answer")
    };
    let (service, route) = (at(V1, first)?, at(ROUTE, first)?);
    for address in [service, route] {
        ask(address, REQUESTS / 8).await?;
    }
    println!("{:>6} {:>9} {:>9}   µs a request, of one core", "round", "service", "route");
    let mut sums = [0.0; 2];
    for round in 1..=ROUNDS {
        let mut row = [0.0; 2];
        for (cell, address) in row.iter_mut().zip([service, route]) {
            let before = used(&first.child)?;
            ask(address, REQUESTS).await?;
            *cell = used(&first.child)?.saturating_sub(before).as_secs_f64() * 1e6 / REQUESTS as f64;
        }
        println!("{round:>6} {:>9.2} {:>9.2}", row[0], row[1]);
        sums = [sums[0] + row[0], sums[1] + row[1]];
    }
    println!("a route costs {:.2} µs a request", (sums[1] - sums[0]) / ROUNDS as f64);

    let mut seconds = 0;
    for activator in &activators {
        seconds += ask(at(ROUTE, activator)?, DIVIDED / activators.len()).await?;
    }
    println!("of {DIVIDED} requests through two activators, 90 to 10: {} and {seconds}", DIVIDED - seconds);
    Ok(())
}

/// Starts an app that answers with its digit. Returns its address.
async fn app(digit: u8, apps: &mut JoinSet<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nv".to_vec();
    answer.push(digit);
    let answer: Arc<[u8]> = answer.into();
    apps.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            connections.spawn(async move {
                let mut unread = Vec::with_capacity(4096);
                while stream.read_buf(&mut unread).await.is_ok_and(|read| read > 0) {
                    if unread.ends_with(b"\r\n\r\n") {
                        unread.clear();
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Sends the platform's events: a service for each app, and a route between them.
fn tell(events: &mpsc::Sender<FleetEvent>, apps: [SocketAddr; 2]) {
    // There is room for all.
    let tell = |event| drop(events.try_send(event));
    tell(FleetEvent::Leadership { leads: true });
    let names = [V1, "v2"];
    for (name, app) in names.iter().zip(apps) {
        let key = ServiceKey::new("default", *name);
        let Ok(parsed) = parse(&[].into(), &ClusterDefaults::default(), Reachability::Reachable) else {
            continue;
        };
        tell(FleetEvent::Service { key: key.clone(), spec: Arc::new(parsed.spec), port: 0 });
        let pod = Pod {
            name: format!("{name}-1"),
            address: Some(PodAddress { serving: app, stats: app }),
            nonce: String::new(),
            direct: true,
            ready: true,
            started_at: Tick::ZERO,
        };
        tell(FleetEvent::Pods { key, pods: vec![pod], replicas: 1, trouble: String::new() });
    }
    let target =
        |(name, weight): (&str, u32)| Target { service: name.to_owned(), weight, trouble: String::new() };
    let targets = names.into_iter().zip([90, 10]).map(target).collect();
    let split = Split {
        targets,
        by: SplitBy::Request,
        max_connection_age: None,
        tunnel_idle_timeout: None,
        pace: Pace::default(),
    };
    tell(FleetEvent::Route { key: ServiceKey::new("default", ROUTE), split: Arc::new(split), port: 0 });
    tell(FleetEvent::Complete);
}

/// A platform whose pods never change.
#[derive(Debug)]
struct Fixed {
    events: Mutex<Option<mpsc::Receiver<FleetEvent>>>,
    published: watch::Sender<Published>,
}

impl PodSource for Fixed {
    type Events = ReceiverStream<FleetEvent>;

    fn watch(&self) -> Self::Events {
        self.events.lock().take().unwrap_or_else(|| mpsc::channel(1).1).into()
    }
}

impl ScaleTarget for Fixed {
    async fn scale(&self, _: &ServiceKey, _: u32, _: &[String]) -> Result<(), PlatformError> {
        Ok(())
    }
}

impl EndpointSink for Fixed {
    async fn publish(&self, service: &ServiceKey, endpoints: &Endpoints) -> Result<(), PlatformError> {
        let (name, addresses) = (service.name.clone(), endpoints.addresses.clone());
        self.published.send_modify(|all| drop(all.insert(name, addresses)));
        Ok(())
    }
}

impl Gate for Fixed {
    async fn admit(&self, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }
}

/// An activator on the first core, at its own address.
struct Activator {
    child: Child,
    ip: IpAddr,
}

impl Drop for Activator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn activator(n: u8, autoscaler: SocketAddr) -> Result<Activator> {
    let ip = Ipv4Addr::new(127, 0, 0, n);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist/activator");
    let program = env::var_os("EBB_ACTIVATOR").map_or(built, PathBuf::from);
    if !program.exists() {
        return Err(
            format!("{} is missing: cargo build --profile dist -p activator", program.display()).into()
        );
    }
    let mut command = alone_on_the_first(&program);
    command.env_clear().envs([
        ("POD_NAME", ip.to_string()),
        ("POD_IP", ip.to_string()),
        ("EBB_AUTOSCALER", autoscaler.to_string()),
        ("EBB_METRICS_PORT", (9700 + u16::from(n)).to_string()),
    ]);
    let child = command.spawn()?;
    Ok(Activator { child, ip: ip.into() })
}

/// Sends the requests, and returns how many of them the second app answered.
async fn ask(address: SocketAddr, requests: usize) -> Result<usize> {
    let mut clients = JoinSet::new();
    for client in 0..CONCURRENCY {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let own = requests / CONCURRENCY + usize::from(client < requests % CONCURRENCY);
        clients.spawn(async move {
            let (mut answer, mut second) = (Vec::with_capacity(4096), 0);
            for _ in 0..own {
                stream.write_all(REQUEST).await?;
                answer.clear();
                while !answer.ends_with(b"\r\n\r\nv1") && !answer.ends_with(b"\r\n\r\nv2") {
                    if stream.read_buf(&mut answer).await? == 0 {
                        return Err(std::io::Error::other(answer.escape_ascii().to_string()));
                    }
                }
                second += usize::from(answer.ends_with(b"2"));
            }
            Ok(second)
        });
    }
    let mut second = 0;
    while let Some(ended) = clients.join_next().await {
        second += ended??;
    }
    Ok(second)
}
