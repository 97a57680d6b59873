//! The three programs without a platform: a pod at a fixed address, named by a file.

use std::{net::SocketAddr, time::Duration};

use activator::Activator;
use autoscaler::{
    Autoscaler,
    fixed::{self, FixedFleet},
};
use ebb_decide::Periods;

use ebb_proxy::{ConnectionLimits, Quiet, WallClock};
use ebb_sample_app::{Options, Server};
use queue_proxy::{Listeners, QueueProxy, readiness::Probe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const SOON: Duration = Duration::from_secs(60);
const DRAIN: Quiet = Quiet { quiet: Duration::from_millis(10), limit: Duration::from_secs(5) };

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

async fn sidecar(app: SocketAddr, clock: WallClock) -> (QueueProxy, SocketAddr, SocketAddr) {
    let (serving, serving_at) = listen().await;
    let (stats, stats_at) = listen().await;
    let config = queue_proxy::Config {
        serving: serving_at,
        stats: stats_at,
        admin: stats_at,
        app,
        pod: "hello-1".to_owned(),
        container_concurrency: None,
        request_timeout: SOON,
        response_start_timeout: None,
        app_protocol: None,
        idle_timeout: None,
        late_response: ebb_core::LateResponse::Cut,
        connections: ConnectionLimits::default(),
        probes: vec![Probe::http("/healthz")],
        announce: None,
        nonce: Some("secret".to_owned()),
        drain: DRAIN,
    };
    let listeners = Listeners { serving, stats, admin: None };
    (QueueProxy::start(config, listeners, clock), serving_at, stats_at)
}

async fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the activator listens");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: hello\r\nconnection: close\r\n\r\n").await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

#[tokio::test]
async fn a_request_reaches_a_pod_that_a_file_names() {
    let clock = WallClock::start();
    let app = Server::bind(&Options::default()).await.expect("the app starts");
    let app_at = app.local_addr();
    tokio::spawn(app.run(std::future::pending()));
    let (pod, serving, stats) = sidecar(app_at, clock).await;

    // The port is free until a moment later.
    let (_, service) = listen().await;
    let file = std::env::temp_dir().join(format!("ebb-fixed-{}.yaml", std::process::id()));
    let text = format!(
        "services:\n  default/hello:\n    port: {}\n    pods:\n      - {{name: hello-1, serving: \"{serving}\", stats: \"{stats}\", nonce: secret}}\n",
        service.port()
    );
    std::fs::write(&file, text).expect("a file can be written");
    let services = fixed::read(&file).expect("the file is sound");
    std::fs::remove_file(&file).expect("it can be removed");

    let (listener, autoscaler_at) = listen().await;
    let autoscaler =
        Autoscaler::start(listener, FixedFleet::new(services), clock, Periods::default(), |_| {});
    let config = activator::Config {
        name: "activator-1".to_owned(),
        advertised: service.ip(),
        listen: service.ip(),
        autoscaler: autoscaler_at,
        token_file: None,
        request_memory: None,
        metrics: None,
        gateway: None,
        drain: DRAIN,
    };
    let activator = Activator::start(&config, clock, None).await.expect("the activator starts");

    let answer = timeout(SOON, async {
        while TcpStream::connect(service).await.is_err() {
            // Its port is bound when the table has come; each try is a round trip, not a spin.
            tokio::task::yield_now().await;
        }
        get(service).await
    })
    .await
    .expect("an answer in time");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("hello from"), "{answer}");
    assert_eq!(activator.drain(DRAIN).await, 0);
    autoscaler.shut_down().await;
    pod.drain(DRAIN).await.expect("nothing is cut");
}
