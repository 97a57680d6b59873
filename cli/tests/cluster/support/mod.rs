//! A cluster on this machine, and who looks at it from outside.

pub(crate) mod client;
pub(crate) mod processes;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ebb_annotations::full_key;
use ebb_decide::Periods;
use ebb_local::{
    Cluster, Line, Options, PodPhase, ServiceStatus,
    config::{Service, Understood, local_defaults},
};
use ebb_proxy::Quiet;
use tokio::{
    sync::mpsc,
    time::{Instant, interval},
};

/// The app of the pods, and what runs them.
const EBB: &str = env!("CARGO_BIN_EXE_ebb");
/// Whatever has not happened by then does not happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// The sample app as a service called `name`, with `annotations` by their short keys.
///
/// It begins at zero, and its window is the shortest there is.
pub(crate) fn service(name: &str, annotations: &[(&str, &str)], arguments: &[&str]) -> Understood {
    let mut all: BTreeMap<String, String> = [("initial-scale", "0"), ("window", "6s")]
        .map(|(key, value)| (full_key(key), value.to_owned()))
        .into();
    all.extend(annotations.iter().map(|(key, value)| (full_key(key), (*value).to_owned())));
    let mut command = vec![EBB.to_owned(), "sample-app".to_owned()];
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    let service = Service {
        name: name.to_owned(),
        port: 0,
        command,
        directory: None,
        environment: BTreeMap::new(),
        container: None,
        annotations: all,
    };
    let understood = service.understand(&local_defaults()).unwrap();
    assert_eq!(understood.warnings, [], "annotations of {name}");
    understood
}

/// A cluster that decides often and drains fast.
pub(crate) fn options() -> Options {
    Options {
        periods: Periods { decide: Duration::from_millis(200), ..Periods::default() },
        drain: Quiet { quiet: Duration::from_secs(1), limit: Duration::from_secs(20) },
        stop_grace: Duration::from_secs(5),
        ..Options::new(EBB.into())
    }
}

/// A cluster of `services` whose output nobody reads.
pub(crate) async fn start(services: Vec<Understood>) -> Cluster {
    start_with_lines(services).await.0
}

pub(crate) async fn start_with_lines(services: Vec<Understood>) -> (Cluster, mpsc::Receiver<Line>) {
    let names: Vec<String> = services.iter().map(|one| one.service.name.clone()).collect();
    let (cluster, lines) = Cluster::start(services, options()).await.unwrap();
    for name in &names {
        until(&cluster, |all| of(all, name).view.is_some(), "the autoscaler knows the service").await;
    }
    (cluster, lines)
}

/// Waits for a state of the cluster. The only place where a test waits for time and not for an event.
pub(crate) async fn until(cluster: &Cluster, mut reached: impl FnMut(&[ServiceStatus]) -> bool, what: &str) {
    let began = Instant::now();
    let mut looks = interval(Duration::from_millis(10));
    loop {
        looks.tick().await;
        let status = cluster.status();
        if reached(&status) {
            return;
        }
        if began.elapsed() >= DEADLINE {
            for one in &status {
                let why = client::get(cluster.api(), &format!("/explain/local/{}", one.name)).await;
                println!("why {} has its pods: {}", one.name, why.body);
            }
            panic!("not within {DEADLINE:?}: {what}; last seen: {status:#?}");
        }
    }
}

/// Waits for a state of one service.
pub(crate) async fn until_service(
    cluster: &Cluster,
    name: &str,
    mut reached: impl FnMut(&ServiceStatus) -> bool,
    what: &str,
) {
    until(cluster, |all| reached(of(all, name)), what).await;
}

pub(crate) fn of<'a>(all: &'a [ServiceStatus], name: &str) -> &'a ServiceStatus {
    all.iter().find(|status| status.name == name).unwrap()
}

pub(crate) fn address(cluster: &Cluster, name: &str) -> SocketAddr {
    of(&cluster.status(), name).address
}

pub(crate) fn ready_pods(status: &ServiceStatus) -> usize {
    status.pods.iter().filter(|pod| pod.phase == PodPhase::Ready).count()
}

/// Many sockets at once.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
