//! The port for probes and metrics.

use std::net::SocketAddr;

use ebb_proxy::{Handler, Reply, RequestBody, ResponseBody, metrics};
use http::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// Serves `/metrics`, `/healthz` and `/readyz`.
#[derive(Debug)]
pub struct Health {
    /// What is measured.
    pub registry: Registry,
    /// All of these must be true for the program to be ready.
    pub ready: Vec<watch::Receiver<bool>>,
}

impl Handler for Health {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        let reply = |status, reason, text| Reply::new(status, reason, text).into_response();
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => metrics::reply(&self.registry),
            (&Method::GET, "/healthz") => Response::new(ResponseBody::own("ok\n")),
            (&Method::GET, "/readyz") if self.ready.iter().all(|ready| *ready.borrow()) => {
                Response::new(ResponseBody::own("ok\n"))
            }
            (&Method::GET, "/readyz") => reply(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-ready",
                "the cluster's objects have not all been read, or the webhooks have no certificate yet",
            ),
            _ => reply(
                StatusCode::NOT_FOUND,
                "not-found",
                "only GET /metrics, GET /healthz and GET /readyz are served here",
            ),
        }
    }
}
