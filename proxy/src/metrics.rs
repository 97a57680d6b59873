//! Metrics of a program: registered where they are created, and read by Prometheus.

use http::{HeaderValue, Response, header};
use prometheus_client::{
    encoding::text,
    registry::{Metric, Registry},
};

use crate::body::ResponseBody;

/// Content type of the text format that Prometheus reads.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns a new metric in `registry`. `help` says what a change of it means.
pub fn registered<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Returns the reply to a scrape: all of `registry` in the `OpenMetrics` format.
pub fn reply<G>(registry: &Registry) -> Response<ResponseBody<G>> {
    let mut encoded = String::new();
    // Writing to a String cannot fail.
    let _ = text::encode(&mut encoded, registry);
    let mut response = Response::new(ResponseBody::own(encoded));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[tokio::test]
    async fn what_was_registered_is_read_as_it_is_now() {
        let mut registry = Registry::with_prefix("ebb_test");
        let requests: Counter = registered(&mut registry, "requests", "Requests that came in");
        requests.inc();
        let response = reply::<()>(&registry);
        assert_eq!(response.headers()[header::CONTENT_TYPE], OPENMETRICS);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("\nebb_test_requests_total 1\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
