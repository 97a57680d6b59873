//! An API server for tests: it answers from a function, and records the requests.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Cluster;

/// A request: method, path with query, and the body if it was JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Value,
}

/// Returns a cluster whose API server answers with `answer`, and its recorded requests.
pub(super) fn cluster(
    answer: impl Fn(&Asked) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> (Cluster, Arc<Mutex<Vec<Asked>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let noted = log.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, noted) = (answer.clone(), noted.clone());
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
            let asked = Asked {
                method: head.method.to_string(),
                path: head.uri.to_string(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
            };
            let (status, body) = answer(&asked);
            noted.lock().push(asked);
            let mut response = Response::new(Body::from(body.to_string().into_bytes()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    (Cluster::of(Client::new(service, "default")), log)
}

/// The answer for an object that does not exist.
pub(super) fn missing() -> (u16, Value) {
    let status = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404});
    (404, status)
}
