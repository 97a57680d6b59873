use std::sync::Arc;

use ebb_core::ServiceKey;
use parking_lot::Mutex;
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
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
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
        let metrics =
            Self { registry: Mutex::new(Registry::with_prefix("ebb_autoscaler")), ..Self::default() };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&self) {
        let mut registry = self.registry.lock();
        registry.register("desired_pods", "Pods that were decided, within the bounds", self.desired.clone());
        registry.register("ready_pods", "Pods that take traffic", self.ready.clone());
        registry.register("stable_load", "The metric averaged over the stable window", self.stable.clone());
        registry.register("panic_load", "The metric averaged over the panic window", self.panic.clone());
        registry.register("panicking", "Whether the panic average rules", self.panicking.clone());
        registry.register(
            "no_data",
            "Whether a service has no fresh data: while it is 1, its pods stay as they are",
            self.no_data.clone(),
        );
        registry.register(
            "scrape_failures",
            "Rounds in which too few pods answered; a rise means pods are overloaded or cannot be reached",
            self.scrape_failures.clone(),
        );
        registry.register(
            "write_failures",
            "Times that a scale target or endpoints could not be written; they are written again",
            self.write_failures.clone(),
        );
        registry.register(
            "insane_reports",
            "Reports with numbers that cannot be; a pod is faulty or hostile",
            self.insane_reports.clone(),
        );
        registry.register("activators", "Activators whose stream is open", self.activators.clone());
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

    /// The text that Prometheus reads.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry.lock());
        text
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
