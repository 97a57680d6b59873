use std::sync::{Arc, atomic::AtomicU64};

use ebb_proxy::metrics::registered;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::breaker::Occupancy;

/// Why a request did not get a response from the app: one of a fixed set of words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The kind of an announcement, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnnounceLabels {
    what: &'static str,
    outcome: &'static str,
}

/// The metrics of the sidecar.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Counter,
    refused: Family<Reason, Counter>,
    announced: Family<AnnounceLabels, Counter>,
    pending: Gauge,
    executing: Gauge,
    in_flight: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("ebb_queue_proxy");
        Arc::new(Self {
            requests: registered(&mut registry, "requests", "Requests that arrived, excluding probes"),
            refused: registered(
                &mut registry,
                "refused_requests",
                "Requests that did not get a response from the app; a rise of queue-full means too few or too slow \
                 pods, of app-refused that the app is down",
            ),
            announced: registered(
                &mut registry,
                "announcements",
                "Announcements to the autoscaler that the pod comes or leaves, by outcome; if not taken, the \
                 autoscaler learns it from the API server later",
            ),
            pending: registered(&mut registry, "pending_requests", "Requests that wait for a slot"),
            executing: registered(&mut registry, "executing_requests", "Requests that hold a slot"),
            in_flight: registered(
                &mut registry,
                "in_flight_requests",
                "Requests that arrived and have not ended",
            ),
            registry,
        })
    }

    pub(crate) fn request(&self) {
        self.requests.inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create_owned(&Reason { reason }).inc();
    }

    pub(crate) fn announced(&self, what: &'static str, outcome: &'static str) {
        self.announced.get_or_create_owned(&AnnounceLabels { what, outcome }).inc();
    }

    /// Returns the reply to a scrape. Gauges are read from their source at this moment.
    pub(crate) fn scraped(&self, occupancy: Occupancy, in_flight: f64) -> &Registry {
        self.pending.set(i64::try_from(occupancy.pending).unwrap_or(i64::MAX));
        self.executing.set(i64::try_from(occupancy.executing).unwrap_or(i64::MAX));
        self.in_flight.set(in_flight);
        &self.registry
    }
}
