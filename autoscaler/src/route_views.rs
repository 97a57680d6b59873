//! Metrics of routes, computed when they are read, like those of services.

use std::{collections::HashMap, fmt, sync::Arc};

use ebb_core::ServiceKey;
use ebb_decide::route::{
    Split,
    rollout::{Hold, Rollout},
};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

/// The values shown for each route. A split names few services, so there are few series per route.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteViews(Arc<Mutex<HashMap<Arc<ServiceKey>, Shown>>>);

/// The values shown for one route.
#[derive(Clone, Debug)]
struct Shown {
    split: Arc<Split>,
    /// Whether its rollout has stopped; `None` if none is under way.
    stopped: Option<bool>,
}

impl RouteViews {
    /// Shows how a route divides its requests, and the progress of its rollout.
    pub(crate) fn show(&self, route: &Arc<ServiceKey>, split: &Arc<Split>, rollout: Option<&Rollout>) {
        let under_way = rollout.filter(|rollout| rollout.progress().under_way.is_some());
        let stopped = under_way.map(|rollout| matches!(rollout.hold(), Some(Hold::Stopped(_))));
        self.0.lock().insert(route.clone(), Shown { split: split.clone(), stopped });
    }

    pub(crate) fn remove(&self, route: &ServiceKey) {
        self.0.lock().remove(route);
    }

    /// Removes everything, because another autoscaler leads and shows it.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

impl Collector for RouteViews {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // Copied, because the main task waits for this lock.
        let all: Vec<(Arc<ServiceKey>, Shown)> =
            self.0.lock().iter().map(|(route, shown)| (route.clone(), shown.clone())).collect();
        let help = "The part of a route's requests that a service gets, from 0 to 1";
        let mut series = encoder.encode_descriptor("route_share", help, None, MetricType::Gauge)?;
        for (route, shown) in &all {
            let sum: f64 = shown.split.targets.iter().map(|target| f64::from(target.weight)).sum();
            for target in &shown.split.targets {
                let labels = [
                    ("namespace", route.namespace.as_str()),
                    ("route", route.name.as_str()),
                    ("service", target.service.as_str()),
                ];
                let share = ConstGauge::new(f64::from(target.weight) / sum.max(1.0));
                share.encode(series.encode_family(&labels)?)?;
            }
        }
        let help = "Whether a rollout that is under way has stopped because a service has failed";
        let mut series = encoder.encode_descriptor("rollout_stopped", help, None, MetricType::Gauge)?;
        for (route, stopped) in all.iter().filter_map(|(route, shown)| Some((route, shown.stopped?))) {
            let labels = [("namespace", route.namespace.as_str()), ("route", route.name.as_str())];
            ConstGauge::new(i64::from(stopped)).encode(series.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
