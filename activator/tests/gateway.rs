//! The gateway: one port for all services, told apart by the host that a request names.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use activator::{GatewayConfig, Trusted};
use bytes::Bytes;
use ebb_core::{
    ServiceKey,
    link::{Down, HostsEntry, RouteEntry, ServiceEntry, SplitKey, SplitTarget},
};
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use support::{
    World,
    client::{Answer, ask, begin, connect, connect_http2, get, raw, whole},
    entries, named,
    pod::Pod,
    service_with, soon, until,
};
use tokio::io::AsyncReadExt;

/// An activator that is the gateway, and where that is.
async fn world() -> (World, SocketAddr) {
    world_that_trusts("").await
}

async fn world_that_trusts(networks: &str) -> (World, SocketAddr) {
    let trusted: Trusted = networks.parse().unwrap();
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let world =
        World::with(|config| config.gateway = Some(GatewayConfig { http, https: None, trusted })).await;
    let gateway = world.activator.gateway().expect("it is the gateway");
    (world, gateway)
}

fn hosts(name: &str, hosts: &[&str]) -> HostsEntry {
    let hosts = hosts.iter().map(ToString::to_string).collect();
    HostsEntry { namespace: "default".into(), name: name.into(), hosts, ..HostsEntry::default() }
}

/// Says that the names are all there are.
async fn tell_all(world: &World, services: &[ServiceEntry], hosts: Vec<HostsEntry>) {
    let down = Down { services: services.to_vec(), hosts, complete: true, ..Down::default() };
    world.autoscaler.tell(down).await;
}

async fn tell(world: &World, hosts: Vec<HostsEntry>) {
    world.autoscaler.tell(Down { hosts, ..Down::default() }).await;
}

fn to(host: &str) -> Request<Full<Bytes>> {
    let mut request = get("/");
    request.headers_mut().insert("host", host.parse().unwrap());
    request
}

async fn asked(gateway: SocketAddr, host: &str) -> Answer {
    ask(gateway, to(host)).answer().await
}

async fn until_answered(gateway: SocketAddr, host: &str, status: StatusCode) {
    soon("the change", async { while asked(gateway, host).await.status != status {} }).await;
}

/// A service that answers with its name.
async fn answering(name: &'static str) -> (ServiceEntry, Pod, tokio_util::task::AbortOnDropHandle<()>) {
    let mut pod = Pod::start(name).await;
    let entry = ServiceEntry { pods: entries(&[&pod]), ..named(name) };
    let answers = pod.serves(move |asked| asked.says(name));
    (entry, pod, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_for_whom_its_host_belongs_to() {
    let (mut world, gateway) = world().await;
    let (one, mut pod_one, _one) = answering("one").await;
    let (two, mut pod_two, _two) = answering("two").await;
    assert_eq!(asked(gateway, "one.example.com").await.refusal(), (503, Some("no-table")));
    let names = vec![hosts("one", &["one.example.com"]), hosts("two", &["*.example.com", "two.test"])];
    tell_all(&world, &[one, two], names).await;
    for _ in 0..2 {
        world.listening().await;
    }
    pod_one.becomes_ready().await;
    pod_two.becomes_ready().await;
    for (host, service) in [
        ("one.example.com", "one"),
        ("ONE.Example.com:8080", "one"),
        ("other.example.com.", "two"),
        ("two.test:80", "two"),
    ] {
        ask(gateway, to(host)).hears(service).await;
        let mut sender = connect_http2(gateway).await;
        let request = Request::get(format!("http://{host}/")).version(Version::HTTP_2);
        let request = request.body(Full::default()).unwrap();
        let response = soon("an answer", sender.send_request(request)).await.unwrap();
        assert_eq!(whole(response).await.body, service, "{host} as :authority");
    }
    for host in ["example.com", "one.example.org", "127.0.0.1", "[::1]:80", ""] {
        let answer = asked(gateway, host).await;
        assert_eq!(answer.refusal(), (404, Some("no-route")), "{host}: {answer:?}");
    }
    let answer = asked(gateway, "one.example.org").await;
    assert_eq!(answer.body, "no service asks for the host \"one.example.org\"\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_of_a_request_names_its_host_before_the_host_header_does() {
    let (mut world, gateway) = world().await;
    let (one, mut pod, _one) = answering("one").await;
    tell_all(&world, &[one], vec![hosts("one", &["one.test"])]).await;
    world.listening().await;
    pod.becomes_ready().await;
    for (line, service) in [("http://one.test/", Some("one")), ("http://other.test/", None)] {
        let request = format!("GET {line} HTTP/1.1\r\nhost: one.test\r\nconnection: close\r\n\r\n");
        let mut stream = raw(gateway, &request).await;
        let mut answer = String::new();
        soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer.starts_with("HTTP/1.1 200"), service.is_some(), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_the_gateway_is_held_until_a_pod_is_ready_and_counts_for_its_service() {
    let (mut world, gateway) = world().await;
    let mut pod = Pod::start("a").await;
    tell_all(&world, &[service_with(&[&pod])], vec![hosts("hello", &["hello.test"])]).await;
    world.listening().await;
    let waiting = ask(gateway, to("hello.test"));
    world.holds(1).await;
    assert_eq!(world.load().in_flight, 1.0);
    pod.becomes_ready().await;
    pod.request().await.says("hello");
    waiting.hears("hello").await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_moves_at_once_and_what_is_held_follows_it_when_its_service_is_gone() {
    let (mut world, gateway) = world().await;
    let (two, mut pod, _two) = answering("two").await;
    tell_all(&world, &[named("one"), two], vec![hosts("one", &["a.test"])]).await;
    for _ in 0..2 {
        world.listening().await;
    }
    pod.becomes_ready().await;
    let held = ask(gateway, to("a.test"));
    let load = |name: &str| world.activator.load(&ServiceKey::new("default", name)).unwrap_or_default();
    until("it is held", || load("one").held == 1).await;
    tell(&world, vec![hosts("one", &[]), hosts("two", &["a.test", "new.test"])]).await;
    // Both have moved then. One that asked for the other too early would be held.
    until_answered(gateway, "new.test", StatusCode::OK).await;
    ask(gateway, to("a.test")).hears("two").await;
    assert_eq!(load("one").held, 1, "its service may still take it");
    world.autoscaler.tell(Down { gone: vec!["default/one".into()], ..Down::default() }).await;
    held.hears("two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_a_whole_table_does_not_have_are_forgotten_and_others_stay() {
    let (mut world, gateway) = world().await;
    let (one, mut pod, _one) = answering("one").await;
    tell_all(&world, std::slice::from_ref(&one), vec![hosts("one", &["a.test", "b.test"])]).await;
    world.listening().await;
    pod.becomes_ready().await;
    ask(gateway, to("b.test")).hears("one").await;
    // A message about something else.
    world.tell(&one).await;
    ask(gateway, to("b.test")).hears("one").await;
    tell(&world, vec![hosts("one", &["a.test"])]).await;
    until_answered(gateway, "b.test", StatusCode::NOT_FOUND).await;
    ask(gateway, to("a.test")).hears("one").await;
    tell_all(&world, &[one], vec![]).await;
    until_answered(gateway, "a.test", StatusCode::NOT_FOUND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_whose_service_is_not_known_here_is_not_one_that_nobody_asks_for() {
    let (mut world, gateway) = world().await;
    tell_all(&world, &[], vec![hosts("one", &["a.test"])]).await;
    until_answered(gateway, "b.test", StatusCode::NOT_FOUND).await;
    assert_eq!(asked(gateway, "a.test").await.refusal(), (503, Some("service-gone")));
    let (one, mut pod, _one) = answering("one").await;
    world.serve(&one).await;
    pod.becomes_ready().await;
    ask(gateway, to("a.test")).hears("one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_divides_what_comes_by_the_gateway() {
    let (mut world, gateway) = world().await;
    let (one, mut pod_one, _one) = answering("one").await;
    let (two, mut pod_two, _two) = answering("two").await;
    let target = |service: &str| SplitTarget { service: service.into(), weight: 1, trouble: String::new() };
    let route = RouteEntry {
        namespace: "default".into(),
        name: "route".into(),
        targets: vec![target("one"), target("two")],
        by: Some(SplitKey { header: "x-user".into(), ..SplitKey::default() }),
        ..RouteEntry::default()
    };
    let down = Down {
        services: vec![one, two],
        routes: vec![route],
        hosts: vec![hosts("route", &["a.test"])],
        complete: true,
        ..Down::default()
    };
    world.autoscaler.tell(down).await;
    for _ in 0..3 {
        world.listening().await;
    }
    pod_one.becomes_ready().await;
    pod_two.becomes_ready().await;
    let mut heard = Vec::new();
    for _ in 0..10 {
        heard.push(asked(gateway, "a.test").await.body);
    }
    assert_eq!(heard.iter().filter(|answer| *answer == "two").count(), 5, "{heard:?}");
    let mut of_one_user = Vec::new();
    for _ in 0..10 {
        let mut request = to("a.test");
        request.headers_mut().insert("x-user", "7".parse().unwrap());
        of_one_user.push(ask(gateway, request).answer().await.body);
    }
    of_one_user.dedup();
    assert_eq!(of_one_user.len(), 1, "a user stays with one service");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_hears_how_its_client_came_and_nothing_that_the_client_made_up() {
    let (mut world, gateway) = world().await;
    let mut pod = Pod::start("a").await;
    tell_all(&world, &[service_with(&[&pod])], vec![hosts("hello", &["hello.test"])]).await;
    world.listening().await;
    pod.becomes_ready().await;
    let mut request = to("Hello.test:8080");
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bank.test"),
        ("forwarded", "for=10.0.0.1;host=bank.test;proto=https"),
        ("x-real-ip", "10.0.0.1"),
        ("k-network-probe", "activator"),
        ("ebb-pod-nonce", "guess"),
        ("connection", "x-forwarded-for, x-forwarded-proto, x-forwarded-host, forwarded, x-request-id"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let sent = ask(gateway, request);
    let asked = pod.request().await;
    for (name, value) in [
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("Hello.test:8080")),
        ("forwarded", Some("for=127.0.0.1;host=\"Hello.test:8080\";proto=http")),
        ("x-real-ip", None),
        ("k-network-probe", None),
        ("host", Some("Hello.test:8080")),
        ("ebb-pod-nonce", Some("nonce-of-a")),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert_eq!(asked.header("x-request-id").map(str::len), Some(36));
    asked.says("hello");
    sent.hears("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed() {
    let (mut world, gateway) = world_that_trusts("127.0.0.0/8").await;
    let mut pod = Pod::start("a").await;
    tell_all(&world, &[service_with(&[&pod])], vec![hosts("hello", &["hello.test"])]).await;
    world.listening().await;
    pod.becomes_ready().await;
    let mut request = to("hello.test");
    for (name, value) in [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let sent = ask(gateway, request);
    let asked = pod.request().await;
    assert_eq!(asked.header("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(asked.header("x-forwarded-proto"), Some("https"));
    assert_eq!(asked.header("forwarded"), Some("for=192.0.2.1, for=127.0.0.1;host=hello.test;proto=http"));
    asked.says("hello");
    sent.hears("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_ready_once_it_knows_all_hosts_and_a_drain_finishes_what_it_has() {
    let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut world = World::with(|config| {
        config.metrics = Some(metrics);
        config.gateway = Some(GatewayConfig { http, https: None, trusted: Trusted::default() });
    })
    .await;
    let gateway = world.activator.gateway().unwrap();
    let ready = || async { begin(metrics, get("/readyz")).await.status() };
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    let mut pod = Pod::start("a").await;
    tell_all(&world, &[service_with(&[&pod])], vec![hosts("hello", &["hello.test"])]).await;
    world.listening().await;
    soon("readiness", async { while ready().await != StatusCode::OK {} }).await;
    pod.becomes_ready().await;
    let mut idle = connect(gateway).await;
    soon("a turn", idle.ready()).await.unwrap();
    let sent = ask(gateway, to("hello.test"));
    let asked = pod.request().await;
    let plan = ebb_proxy::Quiet { quiet: std::time::Duration::from_millis(20), limit: support::PATIENCE };
    let drained = tokio::spawn(world.activator.drain(plan));
    asked.says("hello");
    sent.hears("hello").await;
    assert_eq!(soon("the drain", drained).await.unwrap(), 0, "nothing was cut");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_hear_the_version_that_they_speak_and_grpc_is_never_translated() {
    let (mut world, gateway) = world().await;
    let mut pod = Pod::start("a").await;
    let entry = service_with(&[&pod]);
    tell_all(&world, std::slice::from_ref(&entry), vec![hosts("hello", &["hello.test"])]).await;
    let port = {
        let listening = world.listening().await;
        SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(listening.port).unwrap()))
    };
    pod.becomes_ready().await;
    let over_http2 = |content_type: &str| {
        let request = Request::post("http://hello.test/").version(Version::HTTP_2);
        request.header("content-type", content_type).body(Full::default()).unwrap()
    };
    for (declared, address, content_type, version) in [
        ("", gateway, "text/plain", Version::HTTP_11),
        ("", gateway, "application/grpc", Version::HTTP_2),
        ("", port, "text/plain", Version::HTTP_2),
        ("h2c", gateway, "text/plain", Version::HTTP_2),
        ("http1", gateway, "application/grpc", Version::HTTP_2),
        ("http1", port, "text/plain", Version::HTTP_11),
    ] {
        world.tell(&ServiceEntry { app_protocol: declared.into(), ..entry.clone() }).await;
        let mut sender = connect_http2(address).await;
        let mut seen = None;
        // The table may come a moment after the request.
        while seen != Some(version) {
            let answer = sender.send_request(over_http2(content_type));
            let asked = async {
                let asked = pod.request().await;
                seen = Some(asked.request.version());
                asked.says("hello");
            };
            let (answer, ()) = soon("an answer", async { tokio::join!(answer, asked) }).await;
            assert_eq!(whole(answer.unwrap()).await.body, "hello", "{declared} {content_type}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_keeps_what_is_held_by_the_gateway_though_its_service_is_quiet() {
    let (mut world, gateway) = world().await;
    let mut pod = Pod::start("a").await;
    tell_all(&world, &[named("hello")], vec![hosts("hello", &["hello.test"])]).await;
    let own = u16::try_from(world.listening().await.port).unwrap();
    let held = ask(gateway, to("hello.test"));
    world.holds(1).await;
    let plan = ebb_proxy::Quiet { quiet: std::time::Duration::from_millis(10), limit: support::PATIENCE };
    let World { autoscaler, activator, dispatches: _dispatches } = world;
    let drained = tokio::spawn(activator.drain(plan));
    let is_closed = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, own)).is_err();
    until("the quiet service's own port is closed", is_closed).await;
    autoscaler.tell(Down { services: vec![service_with(&[&pod])], ..Down::default() }).await;
    pod.becomes_ready().await;
    pod.request().await.says("hello");
    held.hears("hello").await;
    assert_eq!(soon("the drain", drained).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_chooses_by_the_host_and_the_app_see_the_same_one() {
    let (mut world, gateway) = world().await;
    let (one, mut pod, _one) = answering("one").await;
    tell_all(&world, &[one], vec![hosts("one", &["one.test"])]).await;
    world.listening().await;
    pod.becomes_ready().await;
    for (target, status) in [
        ("http://other.test/<x>", "404"),
        ("http://one.test:x@other.test/", "404"),
        ("http://me@one.test/", "200"),
        ("http://one.test/x", "200"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: one.test\r\nconnection: close\r\n\r\n");
        let mut stream = raw(gateway, &request).await;
        let mut answer = String::new();
        soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_table_of_somebody_who_knows_no_hosts_takes_none_away() {
    let (mut world, gateway) = world().await;
    let (one, mut pod, _one) = answering("one").await;
    let unknown =
        Down { services: vec![one.clone()], complete: true, hosts_unknown: true, ..Down::default() };
    world.autoscaler.tell(unknown.clone()).await;
    world.listening().await;
    assert_eq!(asked(gateway, "one.test").await.refusal(), (503, Some("no-table")));
    tell_all(&world, &[one], vec![hosts("one", &["one.test"])]).await;
    pod.becomes_ready().await;
    until_answered(gateway, "one.test", StatusCode::OK).await;
    world.autoscaler.tell(unknown).await;
    world.tell(&named("other")).await;
    world.listening().await;
    ask(gateway, to("one.test")).hears("one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_is_in_use_on_the_gateway_and_on_the_port_of_its_own() {
    let (mut world, gateway) = world().await;
    let (one, mut pod_one, _one) = answering("one").await;
    let (two, mut pod_two, _two) = answering("two").await;
    tell_all(&world, &[one, two], vec![]).await;
    for _ in 0..2 {
        world.listening().await;
    }
    pod_one.becomes_ready().await;
    pod_two.becomes_ready().await;
    let mut own = None;
    for (number, target) in (1..).zip(["one", "two", "one", "two", "one", "two"]) {
        let targets = vec![SplitTarget { service: target.into(), weight: 1, trouble: String::new() }];
        let route = RouteEntry {
            namespace: "default".into(),
            name: "route".into(),
            targets,
            ..RouteEntry::default()
        };
        world.autoscaler.tell(Down { routes: vec![route], ..Down::default() }).await;
        let host = format!("{target}-{number}.test");
        tell(&world, vec![hosts("route", &[&host])]).await;
        world.autoscaler.tell(Down { number, ..Down::default() }).await;
        assert_eq!(world.autoscaler.applied().await, number);
        assert_eq!(asked(gateway, &host).await.body, target, "by the gateway");
        if own.is_none() {
            let listening = world.listening().await;
            own = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(listening.port).unwrap())));
        }
        assert_eq!(ask(own.unwrap(), get("/")).answer().await.body, target, "by its own port");
    }
}
