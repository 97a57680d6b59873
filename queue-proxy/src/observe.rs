//! The port for scrapes and for commands of the autoscaler.

use std::{net::SocketAddr, sync::Arc};

use ebb_core::{
    headers,
    stat::{self, Stat},
};
use ebb_proxy::{Handler, Reply, RequestBody, ResponseBody, metrics};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use prost::Message;

use crate::{handler::Sidecar, hooks::knows_secret};

/// Answers scrapes.
#[derive(Debug)]
pub(crate) struct StatsHandler {
    pub(crate) sidecar: Arc<Sidecar>,
}

impl Handler for StatsHandler {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        if request.uri().path() == stat::RENEW_PATH && request.method() == Method::POST {
            return self.renew(request.headers());
        }
        if let Some(wrong) = wrong_target(&request, &["/metrics"]) {
            return wrong;
        }
        if wants_text(request.headers()) {
            let in_flight = self.sidecar.stats.lock().in_flight();
            return metrics::reply(self.sidecar.metrics.scraped(self.sidecar.occupancy(), in_flight));
        }
        let mut response = Response::new(ResponseBody::own(self.sidecar.stat().encode_to_vec()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(stat::CONTENT_TYPE));
        response
    }
}

impl StatsHandler {
    /// Asks all clients to reconnect, if the sender speaks for Ebb.
    fn renew(&self, given: &HeaderMap) -> Response<ResponseBody<()>> {
        if !knows_secret(given, self.sidecar.config.nonce.as_deref()) {
            let text = format!("want {} with the pod's own", headers::POD_NONCE);
            return Reply::new(StatusCode::FORBIDDEN, "stranger", text).into_response();
        }
        self.sidecar.renewal.renew();
        let mut response = Response::new(ResponseBody::own(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

impl Sidecar {
    /// Returns the report about the last whole second. Before there is one, it contains only the name of the pod.
    pub(crate) fn stat(&self) -> Stat {
        let now = self.clock.now();
        let Some(report) = self.stats.lock().last(now) else {
            return Stat { pod_name: self.config.pod.clone(), ..Stat::default() };
        };
        Stat {
            pod_name: self.config.pod.clone(),
            average_concurrent_requests: report.average_concurrency,
            average_proxied_concurrent_requests: report.average_proxied_concurrency,
            request_count: report.requests,
            proxied_request_count: report.proxied_requests,
            process_uptime: now.since(self.started).as_secs_f64(),
            timestamp: 0,
        }
    }
}

/// Prometheus names its text formats in `Accept`. The reference's autoscaler asks for protobuf, which is also the
/// default.
fn wants_text(request: &HeaderMap) -> bool {
    let accepts = |kind: &str| {
        request.get_all(header::ACCEPT).iter().any(|line| line.to_str().is_ok_and(|line| line.contains(kind)))
    };
    !accepts(stat::CONTENT_TYPE) && (accepts("openmetrics-text") || accepts("text/plain"))
}

/// Returns the reply to a request for anything other than one of `paths`.
pub(crate) fn wrong_target(
    request: &Request<RequestBody>,
    paths: &[&str],
) -> Option<Response<ResponseBody<()>>> {
    let reply = if !paths.contains(&request.uri().path()) {
        let text = format!("only {} is served here", paths.join(" or "));
        Reply::new(StatusCode::NOT_FOUND, "not-found", text)
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        Reply::new(StatusCode::METHOD_NOT_ALLOWED, "method", "want GET")
    } else {
        return None;
    };
    Some(reply.into_response())
}
