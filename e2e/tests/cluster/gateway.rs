//! Tests of the gateway: one address for many Services.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use e2e::{App, Front, Load, Place, SOON, Scenario, eventually, get, grpc, scenario, served, websocket};
use http::StatusCode;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::{Value, json};

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Returns the address of the Service `ebb-gateway` for `port`.
pub(crate) async fn gateway(it: &Scenario, port: u16) -> SocketAddr {
    let services: Api<Service> = Api::namespaced(it.client(), "ebb-system");
    let spec = services.get("ebb-gateway").await.expect("there is a gateway").spec.unwrap_or_default();
    let ip: IpAddr = spec.cluster_ip.unwrap_or_default().parse().expect("it has an address");
    SocketAddr::new(ip, port)
}

/// Returns a host that only this scenario uses.
fn host(it: &Scenario, name: &str) -> String {
    format!("{name}.{}.test", it.namespace)
}

async fn until_known(place: &Place) {
    eventually("the gateway knows the host", SOON, async || {
        let answer = get(place.clone(), "/").await.ok()?;
        (answer.status != StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

#[tokio::test]
async fn hosts_lead_to_services_at_zero_whatever_is_spoken() {
    scenario("hosts", async |it| {
        let app = App::deployment("hello");
        it.make(app.manifest()).await;
        let hosts = format!("{}, *.{}", host(it, "hello"), host(it, "wide"));
        it.make(Front::scaled(&app).with("ebb.dev/hosts", &hosts).manifest()).await;
        let gateway = gateway(it, HTTP).await;
        let hello = Place::named(gateway, &host(it, "hello"));
        until_known(&hello).await;
        assert!(served(hello.clone(), "/").await.body.starts_with("hello from hello-"));
        assert_eq!(it.pods("hello").await.len(), 1, "it was woken");
        served(Place::named(gateway, &format!("A.b.{}:80", host(it, "wide"))), "/").await;
        for unknown in [host(it, "other"), host(it, "wide"), gateway.ip().to_string()] {
            let answer = get(Place::named(gateway, &unknown), "/").await.unwrap();
            assert_eq!((answer.status, answer.header("ebb-reason")), (StatusCode::NOT_FOUND, "no-route"));
        }
        let answer = grpc(hello.clone(), "/echo", "there and back").await.unwrap();
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "there and back"));
        let (said, socket) = websocket(hello, "/ws", "hello").await.unwrap();
        assert_eq!(said, "hello");
        drop(socket);
        it.at_zero(&app).await;
    })
    .await;
}

/// Waits until the condition `ebb.dev/InEffect` of a Service is about that number. Returns its status.
async fn in_effect(it: &Scenario, service: &str, generation: i64) -> String {
    eventually("the condition is about the number", Duration::from_secs(10), async || {
        let status = it.service(service).await.status?;
        let all = status.conditions.unwrap_or_default();
        let own = all.into_iter().find(|condition| condition.type_ == "ebb.dev/InEffect")?;
        (own.observed_generation == Some(generation)).then_some(own.status)
    })
    .await
}

#[tokio::test]
async fn once_it_is_in_effect_a_host_is_known_to_every_activator() {
    scenario("in-effect", async |it| {
        let apps = ["v1", "v2"].map(App::deployment);
        for app in &apps {
            it.make(app.clone().with_pods(1).manifest()).await;
            it.make(Front::scaled(app).with("autoscaling.knative.dev/min-scale", "1").manifest()).await;
            it.has_ready(app, 1).await;
        }
        let (gateway, name) = (gateway(it, HTTP).await, host(it, "hello"));
        let route = Front::route("hello", "v1").with("ebb.dev/hosts", &name).with("ebb.dev/generation", "1");
        it.make(route.manifest()).await;
        assert_eq!(in_effect(it, "hello", 1).await, "True");
        // Each connection may reach another activator.
        for _ in 0..20 {
            let answer = get(Place::named(gateway, &name), "/").await.unwrap();
            assert!(answer.body.starts_with("hello from v1-"), "{answer:?}");
        }
        it.annotate("hello", json!({"ebb.dev/split": "v2", "ebb.dev/generation": "2"})).await;
        assert_eq!(in_effect(it, "hello", 2).await, "True");
        for _ in 0..20 {
            let answer = get(Place::named(gateway, &name), "/").await.unwrap();
            assert!(answer.body.starts_with("hello from v2-"), "{answer:?}");
        }
        it.annotate("hello", json!({"ebb.dev/generation": null})).await;
        eventually("there is no condition any more", SOON, async || {
            let status = it.service("hello").await.status?;
            status.conditions.unwrap_or_default().is_empty().then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_host_moves_from_one_service_to_another_under_load_and_loses_nothing() {
    scenario("moving-host", async |it| {
        let apps = ["v1", "v2"].map(App::deployment);
        for app in &apps {
            it.make(app.manifest()).await;
        }
        let name = host(it, "shop");
        it.make(Front::scaled(&apps[0]).with("ebb.dev/hosts", &name).manifest()).await;
        let place = Place::named(gateway(it, HTTP).await, &name);
        until_known(&place).await;
        // Of Services created within the same second, the first by name counts as older.
        it.make(Front::scaled(&apps[1]).with("ebb.dev/hosts", &name).manifest()).await;
        let why = it.event("v2", "HostTaken").await;
        assert!(why.starts_with(&format!("host {name} belongs to Service {}/v1", it.namespace)), "{why}");
        let load = Load::of(50, place, "/").start();
        load.serves(100).await;
        it.annotate("v1", json!({"ebb.dev/hosts": null})).await;
        load.serves(200).await;
        let report = load.stop().await;
        report.assert_nothing_lost();
        assert!(report.shots.iter().any(|shot| shot.is_by("v1")));
        assert!(report.shots.iter().any(|shot| shot.is_by("v2")), "it has the host by now");
        eventually("nothing is wrong any more", SOON, async || {
            it.annotation("v2", "ebb.dev/status").await.is_none().then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_route_has_a_host_and_divides_what_comes_by_it() {
    scenario("route-host", async |it| {
        for app in ["v1", "v2"].map(App::deployment) {
            it.make(app.manifest()).await;
            it.make(Front::scaled(&app).manifest()).await;
        }
        let name = host(it, "route");
        it.make(Front::route("hello", "v1=75, v2=25").with("ebb.dev/hosts", &name).manifest()).await;
        let place = Place::named(gateway(it, HTTP).await, &name);
        until_known(&place).await;
        let load = Load::of(40, place, "/").start();
        load.serves(200).await;
        let report = load.stop().await;
        report.assert_nothing_lost();
        let second = report.shots.iter().filter(|shot| shot.is_by("v2")).count();
        // Each activator is less than one request off.
        let off = (second as f64 - report.sent() as f64 / 4.0).abs();
        assert!(off < 4.0, "{second} of {}", report.sent());
    })
    .await;
}

/// Returns a Secret with a new certificate for `host`, and that certificate.
fn secret(host: &str) -> (Value, String) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hello-tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    });
    (manifest, certificate)
}

/// Grants Ebb the right to read that Secret, and no other.
async fn let_ebb_read(it: &Scenario) {
    let (role, kind) = ("ebb-hello-tls", "rbac.authorization.k8s.io");
    it.make(json!({
        "apiVersion": format!("{kind}/v1"), "kind": "Role", "metadata": {"name": role},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["hello-tls"], "verbs": ["get"]}],
    }))
    .await;
    it.make(json!({
        "apiVersion": format!("{kind}/v1"), "kind": "RoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": kind, "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "ebb-autoscaler", "namespace": "ebb-system"}],
    }))
    .await;
}

#[tokio::test]
async fn a_certificate_is_shown_once_ebb_may_read_it_and_a_new_one_without_a_restart() {
    scenario("tls", async |it| {
        let app = App::deployment("hello");
        it.make(app.manifest()).await;
        let name = host(it, "hello");
        let front = Front::scaled(&app)
            .with("ebb.dev/hosts", &name)
            .with("ebb.dev/tls-secret", "hello-tls")
            .with("ebb.dev/https-redirect", "true");
        let (manifest, certificate) = secret(&name);
        it.apply(manifest).await;
        it.make(front.manifest()).await;
        let why = it.event("hello", "NoCertificate").await;
        assert!(why.starts_with("Ebb may not read Secret hello-tls"), "{why}");
        let_ebb_read(it).await;
        let secure = Place::named(gateway(it, HTTPS).await, &name).over_tls(&certificate);
        eventually("the certificate is shown", SOON, async || get(secure.clone(), "/").await.ok())
            .await
            .assert_ok();
        let answer = grpc(secure.clone(), "/echo", "over tls").await.unwrap();
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "over tls"));
        let (said, _socket) = websocket(secure.clone(), "/ws", "hello").await.unwrap();
        assert_eq!(said, "hello");
        let answer = get(Place::named(gateway(it, HTTP).await, &name), "/a?b").await.unwrap();
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(answer.header("location"), format!("https://{name}/a?b"));

        let (manifest, renewed) = secret(&name);
        it.apply(manifest).await;
        let secure = Place::named(gateway(it, HTTPS).await, &name).over_tls(&renewed);
        eventually("the new one is shown", SOON, async || get(secure.clone(), "/").await.ok())
            .await
            .assert_ok();
    })
    .await;
}

#[tokio::test]
async fn a_namespace_is_kept_to_its_hosts_and_a_slip_is_refused() {
    scenario("allowed-hosts", async |it| {
        let allowed = format!("*.{}", host(it, "kept"));
        it.annotate_namespace("ebb.dev/allowed-hosts", &allowed).await;
        let app = App::deployment("hello");
        it.make(app.manifest()).await;
        let (good, bad) = (format!("a.{}", host(it, "kept")), host(it, "bank"));
        it.make(Front::scaled(&app).with("ebb.dev/hosts", &format!("{good}, {bad}")).manifest()).await;
        let why = format!("host {bad} is none of those that ebb.dev/allowed-hosts allows in this namespace");
        assert_eq!(it.event("hello", "HostNotAllowed").await, why);
        let gateway = gateway(it, HTTP).await;
        served(Place::named(gateway, &good), "/").await;
        let answer = get(Place::named(gateway, &bad), "/").await.unwrap();
        assert_eq!(answer.header("ebb-reason"), "no-route");
        let other = App::deployment("other");
        let refused = it
            .try_make(Front::scaled(&other).with("ebb.dev/hosts", "A.test, 10.0.0.1").manifest())
            .await
            .unwrap_err();
        for part in ["\"A.test\" is not in lower case", "\"10.0.0.1\" is an IP address"] {
            assert!(refused.contains(part), "{part} is not in {refused}");
        }
    })
    .await;
}
