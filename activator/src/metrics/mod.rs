mod routes;

use std::{collections::HashMap, hash::Hash, sync::Arc};

use ebb_core::ServiceKey;
use ebb_proxy::metrics::registered;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

pub(crate) use routes::TargetMetrics;
use routes::{ClassLabels, RouteLabels, SECONDS};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    namespace: String,
    service: String,
    reason: &'static str,
}

/// The metrics of the activator. The series of a service are removed with the service.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    speakers: Speakers<Labels>,
    route_speakers: Speakers<RouteLabels>,
    requests: Family<Labels, Counter>,
    held: Family<Labels, Gauge>,
    pod_failures: Family<Labels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    pub(super) route_responses: Family<ClassLabels, Counter>,
    pub(super) route_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    pub(crate) gateway_hosts: Gauge,
    pub(crate) gateway_no_route: Counter,
    pub(crate) gateway_no_certificate: Counter,
    pub(crate) unbound_ports: Gauge,
    pub(crate) lost_pokes: Counter,
    pub(crate) lost_observations: Counter,
    pub(crate) link_up: Gauge,
    memory: Gauge,
    memory_limit: Gauge,
}

/// The series of one service, resolved once.
#[derive(Debug)]
pub(crate) struct ServiceMetrics {
    pub(crate) requests: Counter,
    pub(crate) held: Gauge,
    pub(crate) pod_failures: Counter,
    metrics: Arc<Metrics>,
    labels: Labels,
}

/// A port of a service that could not be bound. It counts until this is dropped.
#[derive(Debug)]
pub(crate) struct UnboundPort(Gauge);

impl Drop for UnboundPort {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts the users of each series: a service that moves to another port has a successor before it ends.
#[derive(Debug)]
pub(super) struct Speakers<L>(Mutex<HashMap<L, usize>>);

impl<L> Default for Speakers<L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<L: Clone + Eq + Hash> Speakers<L> {
    pub(super) fn begin(&self, labels: &L) {
        *self.0.lock().entry(labels.clone()).or_default() += 1;
    }

    /// Removes a user, and returns whether none is left.
    pub(super) fn end(&self, labels: &L) -> bool {
        let mut speakers = self.0.lock();
        match speakers.get_mut(labels) {
            Some(others) if *others > 1 => {
                *others -= 1;
                false
            }
            _ => {
                speakers.remove(labels);
                true
            }
        }
    }
}

/// The values that `refused` is called with, so that their series can be removed.
const REASONS: [&str; 8] = [
    "hold-queue-full",
    "memory-short",
    "activation-deadline",
    "service-gone",
    "client-gone",
    "request-timeout",
    "pod-unreachable",
    "pod-broke-off",
];

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("ebb_activator");
        Arc::new(Self {
            speakers: Speakers::default(),
            route_speakers: Speakers::default(),
            requests: registered(&mut registry, "requests", "Requests that came in"),
            held: registered(&mut registry, "held_requests", "Requests that no pod could take yet"),
            pod_failures: registered(
                &mut registry,
                "pod_failures",
                "Requests that a pod did not take, or broke off; a rise means pods vanish before they drain",
            ),
            refused: registered(
                &mut registry,
                "refused_requests",
                "Requests that were not served; activation-deadline means pods do not become ready",
            ),
            route_responses: registered(
                &mut registry,
                "route_responses",
                "Answers to requests that came by a route, by who was to answer and by class of status",
            ),
            route_seconds: {
                let seconds: Family<RouteLabels, Histogram, fn() -> Histogram> =
                    Family::new_with_constructor(|| Histogram::new(SECONDS));
                let help =
                    "Time to the head of the answer for requests that came by a route, by who was to answer";
                registry.register("route_response_seconds", help, seconds.clone());
                seconds
            },
            gateway_hosts: registered(
                &mut registry,
                "gateway_hosts",
                "Names of hosts that the gateway knows; 0 where there is no gateway",
            ),
            gateway_no_route: registered(
                &mut registry,
                "gateway_no_route_requests",
                "Requests to the gateway for a host that no service asks for; answered with 404",
            ),
            gateway_no_certificate: registered(
                &mut registry,
                "gateway_no_certificate_connections",
                "Connections to the gateway over TLS for a name without a certificate; they fail",
            ),
            unbound_ports: registered(
                &mut registry,
                "unbound_ports",
                "Services whose port could not be had here, and is tried again; above 0, another process has it",
            ),
            lost_pokes: registered(
                &mut registry,
                "lost_pokes",
                "First requests that could not be told at once, because the queue to the autoscaler was full",
            ),
            lost_observations: registered(
                &mut registry,
                "lost_observations",
                "Cold starts that nobody was told of, because who watches was too slow",
            ),
            link_up: registered(
                &mut registry,
                "autoscaler_link_up",
                "Streams to autoscalers that are open; while it is 0 nothing wakes from zero",
            ),
            memory: registered(
                &mut registry,
                "request_memory_bytes",
                "What requests keep: heads, bodies that were read ahead, places in queues; near its limit, bodies are no longer read ahead, then requests are refused",
            ),
            memory_limit: registered(
                &mut registry,
                "request_memory_limit_bytes",
                "What requests may keep: half of the memory limit of the container; the largest number there is without one",
            ),
            registry,
        })
    }

    /// Returns the registry for a scrape, with the memory gauges updated.
    pub(crate) fn scraped(&self, memory: u64, memory_limit: u64) -> &Registry {
        self.memory.set(i64::try_from(memory).unwrap_or(i64::MAX));
        self.memory_limit.set(i64::try_from(memory_limit).unwrap_or(i64::MAX));
        &self.registry
    }

    pub(crate) fn unbound_port(&self) -> UnboundPort {
        self.unbound_ports.inc();
        UnboundPort(self.unbound_ports.clone())
    }

    pub(crate) fn service(self: &Arc<Self>, key: &ServiceKey) -> ServiceMetrics {
        let labels = Labels { namespace: key.namespace.clone(), service: key.name.clone() };
        self.speakers.begin(&labels);
        ServiceMetrics {
            requests: self.requests.get_or_create_owned(&labels),
            held: self.held.get_or_create_owned(&labels),
            pod_failures: self.pod_failures.get_or_create_owned(&labels),
            metrics: self.clone(),
            labels,
        }
    }
}

impl ServiceMetrics {
    pub(crate) fn refused(&self, reason: &'static str) {
        self.metrics.refused.get_or_create_owned(&self.refused_labels(reason)).inc();
    }

    fn refused_labels(&self, reason: &'static str) -> RefusedLabels {
        let Labels { namespace, service } = self.labels.clone();
        RefusedLabels { namespace, service, reason }
    }
}

impl Drop for ServiceMetrics {
    fn drop(&mut self) {
        if !self.metrics.speakers.end(&self.labels) {
            return;
        }
        self.metrics.requests.remove(&self.labels);
        self.metrics.held.remove(&self.labels);
        self.metrics.pod_failures.remove(&self.labels);
        for reason in REASONS {
            self.metrics.refused.remove(&self.refused_labels(reason));
        }
    }
}
