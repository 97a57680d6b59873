//! The autoscaler's metrics. A service's series are computed from its view when they are read, so that they need no
//! memory of their own, and disappear with the service.

use std::{collections::HashMap, fmt, sync::Arc};

use ebb_core::ServiceKey;
use ebb_proxy::metrics::registered;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use ebb_decide::service::View;

/// The outcome of a pod's announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    Malformed,
    Forged,
    Unknown,
    Gone,
    /// Too many are pending.
    Busy,
}

impl Outcome {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::Unknown => "unknown-pod",
            Self::Gone => "gone",
            Self::Busy => "busy",
        }
    }
}

/// Work outside the main task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Scale,
    Order,
    Publish,
    Keep,
    Scrape,
    Renew,
}

impl Work {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Order => "order",
            Self::Publish => "publish",
            Self::Keep => "keep",
            Self::Scrape => "scrape",
            Self::Renew => "renew",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkLabel {
    work: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Metrics of the whole program.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) insane_reports: Counter,
    pub(crate) activators: Gauge,
    pub(crate) doubtful_activators: Gauge,
    pub(crate) leads: Gauge,
    pub(crate) refused_streams: Counter,
    announcements: Family<OutcomeLabel, Counter>,
    panics: Family<WorkLabel, Counter>,
}

impl Metrics {
    /// Creates the metrics; `more` registers others.
    pub(crate) fn new(views: &Views, more: impl FnOnce(&mut Registry)) -> Arc<Self> {
        let mut registry = Registry::with_prefix("ebb_autoscaler");
        let insane_reports = registered(
            &mut registry,
            "insane_reports",
            "Reports that were ignored because their numbers are impossible; a pod is faulty or hostile",
        );
        let activators = registered(&mut registry, "activators", "Activators whose stream is open");
        let doubtful_activators = registered(
            &mut registry,
            "doubtful_activators",
            "Connected activators that are silent or not ready: they get no connections as long as others do",
        );
        let leads = registered(
            &mut registry,
            "leads",
            "Whether this autoscaler leads; if the sum over all is not 1 for long, none or several scale",
        );
        let refused_streams = registered(
            &mut registry,
            "refused_streams",
            "Streams that were refused; a rise means activators with an invalid token, or unauthorized clients",
        );
        let announcements = registered(
            &mut registry,
            "announcements",
            "Announcements of pods, by outcome; a rise of forged means unauthorized clients, or pods with another \
             pod's nonce",
        );
        let panics = registered(
            &mut registry,
            "panics",
            "Work that panicked and was restarted: any rise is a bug in Ebb; the log says which",
        );
        registry.register_collector(Box::new(views.clone()));
        more(&mut registry);
        Arc::new(Self {
            registry,
            insane_reports,
            activators,
            doubtful_activators,
            leads,
            refused_streams,
            announcements,
            panics,
        })
    }

    pub(crate) fn panicked(&self, work: Work) {
        self.panics.get_or_create_owned(&WorkLabel { work: work.word() }).inc();
    }

    pub(crate) fn announced(&self, outcome: Outcome) {
        self.announcements.get_or_create_owned(&OutcomeLabel { outcome: outcome.word() }).inc();
    }
}

/// The values shown for each service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Views(Arc<Mutex<HashMap<Arc<ServiceKey>, Shown>>>);

/// The values shown for one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) view: View,
    scrape_failures: u64,
    write_failures: u64,
}

impl Views {
    pub(crate) fn get(&self, service: &ServiceKey) -> Option<Shown> {
        self.0.lock().get(service).copied()
    }

    pub(crate) fn show(&self, service: &Arc<ServiceKey>, view: View) {
        let mut all = self.0.lock();
        match all.get_mut(service) {
            Some(shown) => shown.view = view,
            None => drop(all.insert(service.clone(), Shown { view, scrape_failures: 0, write_failures: 0 })),
        }
    }

    pub(crate) fn count_scrape_failure(&self, service: &ServiceKey) {
        if let Some(shown) = self.0.lock().get_mut(service) {
            shown.scrape_failures += 1;
        }
    }

    pub(crate) fn count_write_failure(&self, service: &ServiceKey) {
        if let Some(shown) = self.0.lock().get_mut(service) {
            shown.write_failures += 1;
        }
    }

    pub(crate) fn remove(&self, service: &ServiceKey) {
        self.0.lock().remove(service);
    }

    /// Removes everything, because another autoscaler leads and shows it.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// A series of a service: its name, its help text, and how to compute it.
type Series<T> = (&'static str, &'static str, fn(&Shown) -> T);

const COUNTS: [Series<i64>; 6] = [
    ("desired_pods", "Pods that were decided, between minimum and maximum", |shown| {
        shown.view.desired_pods.into()
    }),
    ("ready_pods", "Pods that take traffic", |shown| shown.view.ready_pods.into()),
    (
        "excess_burst_capacity",
        "Requests that the pods could take in addition before they are full",
        |shown| shown.view.excess_burst_capacity,
    ),
    ("panicking", "Whether the panic average rules", |shown| shown.view.panicking.into()),
    ("no_data", "Whether a service has no fresh data: while it is 1, no pod of it goes", |shown| {
        (!shown.view.fresh).into()
    }),
    ("proxied", "Whether activators are in the path", |shown| {
        (shown.view.path == ebb_decide::zero::Path::Proxy).into()
    }),
];

const LOADS: [Series<f64>; 4] = [
    ("stable_load", "The metric averaged over the stable window", |shown| shown.view.stable.unwrap_or(0.0)),
    ("panic_load", "The metric averaged over the panic window", |shown| shown.view.panic.unwrap_or(0.0)),
    ("target_load", "The metric wanted per pod", |shown| shown.view.target),
    ("startup_seconds", "How long pods take to start; 0 if none was seen to", |shown| {
        shown.view.startup.unwrap_or_default().as_secs_f64()
    }),
];

const FAILURES: [Series<u64>; 2] = [
    (
        "scrape_failures",
        "Seconds in which too few pods answered; a rise means pods are overloaded or cannot be reached",
        |shown| shown.scrape_failures,
    ),
    ("write_failures", "Failed writes of scales or endpoints; they are tried again", |shown| {
        shown.write_failures
    }),
];

impl Collector for Views {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // Copied, because the main task waits for this lock.
        let all: Vec<(Arc<ServiceKey>, Shown)> =
            self.0.lock().iter().map(|(service, shown)| (service.clone(), *shown)).collect();
        for (name, help, read) in COUNTS {
            let mut series = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (service, shown) in &all {
                of(&mut series, service, |mut one| one.encode_gauge(&read(shown)))?;
            }
        }
        for (name, help, read) in LOADS {
            let mut series = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (service, shown) in &all {
                of(&mut series, service, |mut one| one.encode_gauge(&read(shown)))?;
            }
        }
        for (name, help, read) in FAILURES {
            let mut series = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (service, shown) in &all {
                of(&mut series, service, |mut one| {
                    one.encode_counter::<[(&str, &str); 0], u64, u64>(&read(shown), None)
                })?;
            }
        }
        Ok(())
    }
}

/// Writes the value of `service` to a series.
fn of(
    series: &mut MetricEncoder<'_>,
    service: &ServiceKey,
    write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    let labels = [("namespace", service.namespace.as_str()), ("service", service.name.as_str())];
    write(series.encode_family(&labels)?)
}
