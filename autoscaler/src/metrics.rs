use std::sync::Arc;

use ebb_core::ServiceKey;
use ebb_proxy::metrics::registered;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::service::View;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    service: String,
}

impl From<&ServiceKey> for Labels {
    fn from(key: &ServiceKey) -> Self {
        Self { namespace: key.namespace.clone(), service: key.name.clone() }
    }
}

type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// What the autoscaler tells of itself. Series of a service go when the service goes.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    desired: Family<Labels, Gauge>,
    ready: Family<Labels, Gauge>,
    stable: Family<Labels, FloatGauge>,
    panic: Family<Labels, FloatGauge>,
    panicking: Family<Labels, Gauge>,
    no_data: Family<Labels, Gauge>,
    scrape_failures: Family<Labels, Counter>,
    write_failures: Family<Labels, Counter>,
    pub(crate) insane_reports: Counter,
    pub(crate) activators: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("ebb_autoscaler");
        Arc::new(Self {
            desired: registered(&mut registry, "desired_pods", "Pods that were decided, within the bounds"),
            ready: registered(&mut registry, "ready_pods", "Pods that take traffic"),
            stable: registered(&mut registry, "stable_load", "The metric averaged over the stable window"),
            panic: registered(&mut registry, "panic_load", "The metric averaged over the panic window"),
            panicking: registered(&mut registry, "panicking", "Whether the panic average rules"),
            no_data: registered(
                &mut registry,
                "no_data",
                "Whether a service has no fresh data: while it is 1, its pods stay as they are",
            ),
            scrape_failures: registered(
                &mut registry,
                "scrape_failures",
                "Rounds in which too few pods answered; a rise means pods are overloaded or cannot be reached",
            ),
            write_failures: registered(
                &mut registry,
                "write_failures",
                "Times that a scale target or endpoints could not be written; they are written again",
            ),
            insane_reports: registered(
                &mut registry,
                "insane_reports",
                "Reports with numbers that cannot be; a pod is faulty or hostile",
            ),
            activators: registered(&mut registry, "activators", "Activators whose stream is open"),
            registry,
        })
    }

    pub(crate) fn service(self: &Arc<Self>, key: &ServiceKey) -> ServiceMetrics {
        let labels = Labels::from(key);
        ServiceMetrics {
            desired: self.desired.get_or_create_owned(&labels),
            ready: self.ready.get_or_create_owned(&labels),
            stable: self.stable.get_or_create_owned(&labels),
            panic: self.panic.get_or_create_owned(&labels),
            panicking: self.panicking.get_or_create_owned(&labels),
            no_data: self.no_data.get_or_create_owned(&labels),
            scrape_failures: self.scrape_failures.get_or_create_owned(&labels),
            write_failures: self.write_failures.get_or_create_owned(&labels),
            metrics: self.clone(),
            labels,
        }
    }
}

/// One service's series, resolved once.
#[derive(Debug)]
pub(crate) struct ServiceMetrics {
    desired: Gauge,
    ready: Gauge,
    stable: FloatGauge,
    panic: FloatGauge,
    panicking: Gauge,
    no_data: Gauge,
    pub(crate) scrape_failures: Counter,
    pub(crate) write_failures: Counter,
    metrics: Arc<Metrics>,
    labels: Labels,
}

impl ServiceMetrics {
    pub(crate) fn show(&self, view: &View) {
        self.desired.set(i64::from(view.desired_pods));
        self.ready.set(i64::from(view.ready_pods));
        self.stable.set(view.stable.unwrap_or(0.0));
        self.panic.set(view.panic.unwrap_or(0.0));
        self.panicking.set(i64::from(view.panicking));
        self.no_data.set(i64::from(view.stable.is_none()));
    }
}

impl Drop for ServiceMetrics {
    fn drop(&mut self) {
        let Self { metrics, labels, .. } = self;
        metrics.desired.remove(labels);
        metrics.ready.remove(labels);
        metrics.stable.remove(labels);
        metrics.panic.remove(labels);
        metrics.panicking.remove(labels);
        metrics.no_data.remove(labels);
        metrics.scrape_failures.remove(labels);
        metrics.write_failures.remove(labels);
    }
}
