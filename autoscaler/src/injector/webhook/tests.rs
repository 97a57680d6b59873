use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use ebb_core::Tick;
use ebb_proxy::{Drain, Limits, serve_over};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::ByteString;
use prometheus_client::{encoding::text, registry::Registry};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::injector::{
    certificate::Material,
    fixtures::{claim, service},
    tls::{Served, Tls, provider},
};

const NAME: &str = "ebb-autoscaler.ebb-system.svc";
const POD: &str = include_str!("pod.json");

struct Server {
    address: SocketAddr,
    served: Served,
    claims: Claims,
    registry: Registry,
    drain: Drain,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut registry = Registry::with_prefix("ebb_autoscaler");
        let metrics = AdmissionMetrics::default();
        metrics.register(&mut registry);
        let (served, claims, drain) = (Served::default(), Claims::default(), Drain::default());
        let webhook = Webhook {
            claims: claims.clone(),
            settings: Arc::new(ArcSwap::from_pointee(Settings {
                image: "q:1".to_owned(),
                pull_policy: None,
                announce: None,
            })),
            defaults: Arc::default(),
            namespace: "ebb-system".to_owned(),
            metrics: metrics.clone(),
        };
        let tls = Tls::new(served.clone());
        tokio::spawn(serve_over(tls, listener, Arc::new(webhook), drain.clone(), Limits::default()));
        Self { address, served, claims, registry, drain }
    }

    async fn with_certificate() -> (Self, Material) {
        let server = Self::start().await;
        let material = material();
        server.served.show(material.certified_key().unwrap());
        (server, material)
    }

    /// How often a webhook answered so.
    fn count(&self, webhook: &str, outcome: &str) -> u64 {
        let mut all = String::new();
        text::encode(&mut all, &self.registry).unwrap();
        let series =
            format!("ebb_autoscaler_admissions_total{{webhook=\"{webhook}\",outcome=\"{outcome}\"}} ");
        all.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
    }

    async fn connect(&self, believing: &Material, alpn: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(believing.bundle().as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(NAME.try_into().unwrap(), stream).await
    }

    async fn send(&self, believing: &Material, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
        let stream = self.connect(believing, b"http/1.1").await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        (response.status(), response.into_body().collect().await.unwrap().to_bytes())
    }

    async fn ask(&self, believing: &Material, path: &str, question: &Value) -> Value {
        let (status, answer) = self.send(believing, post(path, question.to_string())).await;
        assert_eq!(status, StatusCode::OK, "{answer:?}");
        let review: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(
            (&review["apiVersion"], &review["kind"]),
            (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
        );
        assert_eq!(review["response"]["uid"], question["request"]["uid"]);
        review["response"].clone()
    }
}

fn material() -> Material {
    // The clock of the client's rustls is the machine's.
    let now = ebb_proxy::WallClock::start().now();
    assert!(now > Tick::ZERO);
    Material::generate(&[NAME.to_owned()], now).unwrap()
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(path).header(header::HOST, NAME);
    request.body(Full::new(body.into())).unwrap()
}

/// The question that the API server asks about an object.
fn question(operation: &str, old: &Value, object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "", "namespace": "shop", "operation": operation,
            "userInfo": {"username": "alice"}, "object": object, "oldObject": old, "dryRun": false,
        },
    })
}

fn pod() -> Value {
    serde_json::from_str(POD).unwrap()
}

fn object(service: &Service) -> Value {
    let mut object = serde_json::to_value(service).unwrap();
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Service");
    object
}

fn patched(object: &Value, answer: &Value) -> Value {
    assert_eq!((&answer["allowed"], &answer["patchType"]), (&json!(true), &json!("JSONPatch")));
    let ByteString(patch) = serde_json::from_value(answer["patch"].clone()).unwrap();
    let patch: Patch = serde_json::from_slice(&patch).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}

#[tokio::test]
async fn a_pod_of_a_service_of_ebbs_gets_its_sidecar_over_tls() {
    let (server, material) = Server::with_certificate().await;
    let ask = question("CREATE", &Value::Null, &pod());
    let answer = server.ask(&material, "/mutate/pods", &ask).await;
    assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None), "no Service selects it");

    server.claims.put(claim("shop", "hello", &json!({}), &json!({})));
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let after = patched(&pod(), &server.ask(&material, "/mutate/pods", &ask).await);
        let sidecar = &after["spec"]["containers"][1];
        assert_eq!(sidecar["name"], "queue-proxy");
        let env = sidecar["env"].as_array().unwrap();
        nonces.push(env.iter().find(|var| var["name"] == "EBB_POD_NONCE").unwrap()["value"].clone());
    }
    assert_ne!(nonces[0], nonces[1], "each pod has a nonce of its own");
    assert_eq!(nonces[0].as_str().map(str::len), Some(32));
    assert_eq!((server.count("mutate-pods", "allowed"), server.count("mutate-pods", "changed")), (1, 2));
}

#[tokio::test]
async fn the_api_server_may_speak_http2() {
    let (server, material) = Server::with_certificate().await;
    let stream = server.connect(&material, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = question("CREATE", &Value::Null, &pod()).to_string();
    let uri = format!("https://{NAME}/mutate/pods");
    let response = sender.send_request(Request::post(uri).body(Full::new(Bytes::from(ask))).unwrap()).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_connection_on() {
    let server = Server::start().await;
    let (first, second) = (material(), material());
    assert!(server.connect(&first, b"h2").await.is_err(), "there is none yet");
    for (shown, other) in [(&first, &second), (&second, &first)] {
        server.served.show(shown.certified_key().unwrap());
        assert!(server.connect(shown, b"h2").await.is_ok());
        assert!(server.connect(other, b"h2").await.is_err());
    }
}

#[tokio::test]
async fn what_gets_no_sidecar_is_let_through_with_the_reason() {
    let (server, material) = Server::with_certificate().await;
    server.claims.put(claim("shop", "hello", &json!({}), &json!({})));
    let mut of_node = pod();
    of_node["spec"]["hostNetwork"] = json!(true);
    let mut unreadable = pod();
    unreadable["spec"]["containers"] = json!("many");
    for (object, word) in [(of_node, "network"), (unreadable, "not looked at")] {
        let answer = server.ask(&material, "/mutate/pods", &question("CREATE", &Value::Null, &object)).await;
        assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None));
        assert!(answer["warnings"][0].as_str().unwrap().contains(word), "{answer}");
    }
    assert_eq!(server.count("mutate-pods", "undone"), 2);
}

#[tokio::test]
async fn what_is_no_question_is_refused_as_such() {
    let (server, material) = Server::with_certificate().await;
    let without_request = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).to_string();
    for (request, status) in [
        (post("/mutate/pods", "{"), StatusCode::BAD_REQUEST),
        (post("/mutate/pods", "{}"), StatusCode::BAD_REQUEST),
        (post("/mutate/pods", without_request), StatusCode::BAD_REQUEST),
        (post("/mutate/pods", vec![b' '; MAX_QUESTION_BYTES + 1]), StatusCode::PAYLOAD_TOO_LARGE),
        (post("/mutate/nodes", "{}"), StatusCode::NOT_FOUND),
        (
            Request::get("/mutate/pods").header(header::HOST, NAME).body(Full::default()).unwrap(),
            StatusCode::METHOD_NOT_ALLOWED,
        ),
    ] {
        assert_eq!(server.send(&material, request).await.0, status);
    }
    assert_eq!(server.count("mutate-pods", "malformed"), 4);
}

#[tokio::test]
async fn a_service_gives_its_selector_away_and_hears_of_its_faults() {
    let (server, material) = Server::with_certificate().await;
    let mut asking = object(&service(&json!({"ebb.dev/scale-target": "Deployment/hello"}), &json!({})));
    let create = question("CREATE", &Value::Null, &asking);
    let taken = patched(&asking, &server.ask(&material, "/mutate/services", &create).await);
    assert_eq!(taken["spec"].get("selector"), None);
    assert_eq!(taken["metadata"]["annotations"]["ebb.dev/selector"], "app=hello");

    asking["metadata"]["annotations"]["autoscaling.knative.dev/target"] = json!("many");
    asking["metadata"]["annotations"]["ebb.dev/sidecar"] = json!("big");
    let mut create = question("CREATE", &Value::Null, &asking);
    let answer = server.ask(&material, "/validate/services", &create).await;
    assert_eq!((&answer["allowed"], &answer["status"]["code"]), (&json!(false), &json!(422)));
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("autoscaling.knative.dev/target") && message.contains("ebb.dev/sidecar"),
        "{message}"
    );
    assert_eq!(server.count("validate-services", "refused"), 1);

    // Ebb's own writes are never refused, and those of its namespace and the system's are not looked at.
    create["request"]["userInfo"]["username"] = json!("system:serviceaccount:ebb-system:ebb-autoscaler");
    assert_eq!(server.ask(&material, "/validate/services", &create).await["allowed"], true);
    create["request"]["userInfo"]["username"] = json!("system:serviceaccount:shop:ebb-autoscaler");
    assert_eq!(server.ask(&material, "/validate/services", &create).await["allowed"], false);
    for namespace in ["ebb-system", "kube-system", "kube-node-lease"] {
        create["request"]["namespace"] = json!(namespace);
        assert_eq!(
            server.ask(&material, "/validate/services", &create).await["allowed"],
            true,
            "{namespace}"
        );
    }
}

/// The Service's annotations come back from what it was; a patch of them would have nowhere to go.
#[tokio::test]
async fn an_object_without_metadata_gets_no_patch() {
    let (server, material) = Server::with_certificate().await;
    let kept = json!({"ebb.dev/scale-target": "Deployment/hello", "ebb.dev/selector": "app=hello"});
    let old = object(&service(&kept, &json!({"selector": null})));
    let mut new = object(&service(&json!({}), &json!({})));
    new.as_object_mut().unwrap().remove("metadata");
    let answer = server.ask(&material, "/mutate/services", &question("UPDATE", &old, &new)).await;
    assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None), "{answer}");
    assert!(answer["warnings"][0].as_str().unwrap().contains("no metadata"), "{answer}");
}

#[tokio::test]
async fn only_what_is_made_gets_a_sidecar() {
    let (server, material) = Server::with_certificate().await;
    server.claims.put(claim("shop", "hello", &json!({}), &json!({})));
    for operation in ["UPDATE", "DELETE", "CONNECT"] {
        let answer = server.ask(&material, "/mutate/pods", &question(operation, &pod(), &pod())).await;
        assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None), "{operation}");
    }
    let deleted = question("DELETE", &pod(), &Value::Null);
    assert_eq!(server.ask(&material, "/mutate/services", &deleted).await["allowed"], true);
}
