use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use ebb_core::Tick;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use json_patch::{AddOperation, Patch, PatchOperation, jsonptr::PointerBuf};
use k8s_openapi::api::core::v1::Pod;
use kube::core::{DynamicObject, admission::AdmissionRequest};
use prometheus_client::{encoding::text, registry::Registry};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use ebb_proxy::net::tls::provider;

use super::{certificate::Material, review::MAX_QUESTION_BYTES, *};

const NAME: &str = "ebb-autoscaler.ebb-system.svc";

/// Labels pods, except those with a label.
struct Labels;

#[derive(Clone, Copy, Debug)]
struct LabelPods;

impl Hook for LabelPods {
    const ALL: &'static [Self] = &[Self];

    fn path(self) -> &'static str {
        "/label/pods"
    }
}

impl Admission for Labels {
    type Hook = LabelPods;

    fn answer(
        &self,
        LabelPods: LabelPods,
        request: &AdmissionRequest<DynamicObject>,
    ) -> Result<Answer, Unreadable> {
        let Some(pod) = read::<Pod>(request.object.as_ref())? else { return Ok(Answer::default()) };
        let refuse = |refusal: fn(String) -> Refusal, why: &str| {
            Ok(Answer { refused: Some(refusal(why.to_owned())), ..Answer::default() })
        };
        if pod.metadata.labels.is_some() {
            return refuse(Refusal::invalid, "it has labels");
        }
        if pod.metadata.annotations.is_some() {
            return refuse(Refusal::bad_request, "it has annotations");
        }
        let path = PointerBuf::from_tokens(["metadata", "labels"]);
        let add = PatchOperation::Add(AddOperation { path, value: json!({}) });
        Ok(Answer { patch: Patch(vec![add]), warnings: vec!["labelled".to_owned()], ..Answer::default() })
    }
}

struct Server {
    address: SocketAddr,
    served: Served,
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
        let (served, drain) = (Served::default(), Drain::default());
        let reviewer = Arc::new(Reviewer { admission: Labels, metrics });
        tokio::spawn(serve_over(
            Tls::new(Arc::new(served.clone())),
            listener,
            reviewer,
            drain.clone(),
            Limits::default(),
        ));
        Self { address, served, registry, drain }
    }

    async fn with_certificate() -> (Self, Material) {
        let server = Self::start().await;
        let material = material();
        server.served.show(material.certified_key().unwrap());
        (server, material)
    }

    /// Returns how often a webhook had that outcome.
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
    // The client's rustls uses the machine's clock.
    let now = ebb_proxy::WallClock::start().now();
    assert!(now > Tick::ZERO);
    Material::generate(&[NAME.to_owned()], now).unwrap()
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(path).header(header::HOST, NAME);
    request.body(Full::new(body.into())).unwrap()
}

/// Returns the API server's request about an object.
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

fn pod(metadata: &Value) -> Value {
    json!({"metadata": metadata, "spec": {"containers": []}})
}

#[tokio::test]
async fn a_question_is_answered_over_tls() {
    let (server, material) = Server::with_certificate().await;
    let ask = question("CREATE", &Value::Null, &pod(&json!({"name": "hello"})));
    let answer = server.ask(&material, "/label/pods", &ask).await;
    assert_eq!(
        (&answer["allowed"], &answer["patchType"], &answer["warnings"]),
        (&json!(true), &json!("JSONPatch"), &json!(["labelled"]))
    );
    let ask = question("CREATE", &Value::Null, &pod(&json!({"labels": {}})));
    let answer = server.ask(&material, "/label/pods", &ask).await;
    let refusal = json!({"status": "Failure", "reason": "Invalid", "code": 422, "message": "it has labels"});
    assert_eq!((&answer["allowed"], &answer["status"]), (&json!(false), &refusal));
    let ask = question("CREATE", &Value::Null, &pod(&json!({"annotations": {}})));
    let answer = server.ask(&material, "/label/pods", &ask).await;
    assert_eq!(
        answer["status"],
        json!({"status": "Failure", "reason": "BadRequest", "code": 400, "message": "it has annotations"})
    );
    let ask = question("DELETE", &pod(&json!({"name": "hello"})), &Value::Null);
    assert_eq!(server.ask(&material, "/label/pods", &ask).await["allowed"], true);
    let counts = ["changed", "refused", "allowed"].map(|outcome| server.count("label-pods", outcome));
    assert_eq!(counts, [1, 2, 1]);
}

#[tokio::test]
async fn what_cannot_be_read_is_let_through_with_the_reason() {
    let (server, material) = Server::with_certificate().await;
    let mut unreadable = pod(&json!({"name": "hello"}));
    unreadable["spec"]["containers"] = json!("many");
    for object in [unreadable, json!({"spec": {}})] {
        let answer = server.ask(&material, "/label/pods", &question("CREATE", &Value::Null, &object)).await;
        assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None));
        assert!(answer["warnings"][0].as_str().unwrap().contains("not checked"), "{answer}");
    }
    assert_eq!(server.count("label-pods", "undone"), 2);
}

#[tokio::test]
async fn the_api_server_may_speak_http2() {
    let (server, material) = Server::with_certificate().await;
    let stream = server.connect(&material, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = question("CREATE", &Value::Null, &pod(&json!({}))).to_string();
    let uri = format!("https://{NAME}/label/pods");
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
async fn what_is_no_question_is_refused_as_such() {
    let (server, material) = Server::with_certificate().await;
    let without_request = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).to_string();
    for (request, status) in [
        (post("/label/pods", "{"), StatusCode::BAD_REQUEST),
        (post("/label/pods", "{}"), StatusCode::BAD_REQUEST),
        (post("/label/pods", without_request), StatusCode::BAD_REQUEST),
        (post("/label/pods", vec![b' '; MAX_QUESTION_BYTES + 1]), StatusCode::PAYLOAD_TOO_LARGE),
        (post("/mutate/nodes", "{}"), StatusCode::NOT_FOUND),
        (
            Request::get("/label/pods").header(header::HOST, NAME).body(Full::default()).unwrap(),
            StatusCode::METHOD_NOT_ALLOWED,
        ),
    ] {
        assert_eq!(server.send(&material, request).await.0, status);
    }
    assert_eq!(server.count("label-pods", "malformed"), 4);
}
