//! Pods go while requests come.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::support::{
    address,
    client::{KeepAlive, get, get_request, post_request},
    ready_pods, service, start, until_service,
};
use ebb_decide::zero::Path;
use ebb_local::ServiceStatus;
use http::StatusCode;
use tokio::task::JoinHandle;

/// Connections of a client; odd, so that each is used for both kinds of requests.
const CONNECTIONS: usize = 5;

/// Clients that send one request after another until they are told to stop.
struct Hammer {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Hammer {
    fn start(address: SocketAddr, clients: usize) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let clients =
            (0..clients).map(|_| tokio::spawn(hammer(address, stop.clone(), answers.clone()))).collect();
        Self { stop, answers, clients }
    }

    /// Whether all connections were used.
    fn has_answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed) >= 2 * CONNECTIONS * self.clients.len()
    }

    /// How many requests were answered; panics if one was not.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        self.answers.load(Ordering::Relaxed)
    }
}

/// One request at a time, on one connection after the other: while one is used the others are idle, and must
/// not be closed over the request that comes next.
async fn hammer(address: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    let mut connections = [(); CONNECTIONS].map(|()| KeepAlive::new(address));
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let uploads = sent % 2 == 1;
        let request =
            if uploads { post_request("/upload", vec![b'x'; 20_000]) } else { get_request("/?ms=40") };
        let answer = connections[sent % CONNECTIONS].send(request).await;
        let answer = answer.unwrap_or_else(|error| panic!("request {sent} was lost: {error:?}"));
        assert_eq!(answer.status, StatusCode::OK, "request {sent}: {answer:?}");
        if uploads {
            assert_eq!(answer.body, "20000\n");
        }
        sent += 1;
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Many clients make a fleet; a few that came to it see it go.
async fn no_request_is_lost(name: &str, target_burst_capacity: &str, path: Path) {
    let scale = [("target", "4"), ("max-scale", "5"), ("target-burst-capacity", target_burst_capacity)];
    let cluster = start(vec![service(name, &scale, &[])]).await;
    let address = address(&cluster, name);
    get(address, "/").await.assert_ok();
    // Connections stay where they are: they are opened when that is where this test wants them.
    let reached = |status: &ServiceStatus| status.view.is_some_and(|view| view.path == path);
    until_service(&cluster, name, reached, "pods are reached by that path").await;
    let flood = Hammer::start(address, 30);
    let fleet = |status: &ServiceStatus| ready_pods(status) >= 4 && reached(status);
    until_service(&cluster, name, fleet, "a fleet").await;
    let trickle = Hammer::start(address, 2);
    until_service(&cluster, name, |_| trickle.has_answers(), "its connections are open").await;
    flood.stop().await;
    until_service(&cluster, name, |status| status.pods.len() == 1, "one pod is left").await;
    let answered = trickle.stop().await;
    assert!(answered > 20, "{answered} requests are no load");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_is_reached_directly_shrinks_without_losing_a_request() {
    no_request_is_lost("direct", "0", Path::Serve).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_behind_the_activator_shrinks_without_losing_a_request() {
    no_request_is_lost("proxied", "-1", Path::Proxy).await;
}
