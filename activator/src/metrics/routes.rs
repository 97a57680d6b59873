//! Metrics of routes: enough to judge a canary.

use std::{sync::Arc, time::Duration};

use ebb_core::ServiceKey;
use http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, histogram::Histogram},
};

use super::Metrics;

/// Histogram buckets of response times, in seconds: from a cached answer to a cold start.
pub(super) const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// The classes of status codes, beginning with 1xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in super::super) struct RouteLabels {
    namespace: String,
    route: String,
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in super::super) struct ClassLabels {
    namespace: String,
    route: String,
    service: String,
    class: &'static str,
}

/// The series of one target of a route, resolved once.
#[derive(Debug)]
pub(crate) struct TargetMetrics {
    responses: [Counter; CLASSES.len()],
    seconds: Histogram,
    metrics: Arc<Metrics>,
    labels: RouteLabels,
}

impl TargetMetrics {
    pub(crate) fn new(metrics: &Arc<Metrics>, route: &ServiceKey, service: &str) -> Self {
        let ServiceKey { namespace, name } = route.clone();
        let labels = RouteLabels { namespace, route: name, service: service.to_owned() };
        metrics.route_speakers.begin(&labels);
        let of = |class| metrics.route_responses.get_or_create_owned(&with_class(&labels, class));
        Self {
            responses: CLASSES.map(of),
            seconds: metrics.route_seconds.get_or_create_owned(&labels),
            metrics: metrics.clone(),
            labels,
        }
    }

    /// Records a response with `status`, whose head came after the given time.
    pub(crate) fn answered(&self, status: StatusCode, after: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(responses) = self.responses.get(class) {
            responses.inc();
        }
        self.seconds.observe(after.as_secs_f64());
    }
}

fn with_class(labels: &RouteLabels, class: &'static str) -> ClassLabels {
    let RouteLabels { namespace, route, service } = labels.clone();
    ClassLabels { namespace, route, service, class }
}

impl Drop for TargetMetrics {
    fn drop(&mut self) {
        if self.metrics.route_speakers.end(&self.labels) {
            for class in CLASSES {
                self.metrics.route_responses.remove(&with_class(&self.labels, class));
            }
            self.metrics.route_seconds.remove(&self.labels);
        }
    }
}
