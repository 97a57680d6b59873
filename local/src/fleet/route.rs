use std::sync::Arc;

use ebb_annotations::RouteSpec;
use ebb_core::ServiceKey;
use ebb_decide::{platform::FleetEvent, route::Split};
use parking_lot::Mutex;

use crate::front::Front;

/// A route in its current state.
#[derive(Debug)]
pub(super) struct Route {
    split: Mutex<Arc<Split>>,
    pub(super) front: Mutex<Option<Front>>,
}

impl Route {
    pub(super) fn new(spec: &RouteSpec, front: Front) -> Self {
        Self { split: Mutex::new(split(spec)), front: Mutex::new(Some(front)) }
    }

    pub(super) fn divide(&self, spec: &RouteSpec) {
        *self.split.lock() = split(spec);
    }

    /// Returns the complete state for the autoscaler.
    pub(super) fn event(&self, key: &ServiceKey) -> FleetEvent {
        FleetEvent::Route { key: key.clone(), split: self.split.lock().clone(), port: 0 }
    }
}

/// All services of a machine are known before it starts, so no target has trouble of that kind.
fn split(spec: &RouteSpec) -> Arc<Split> {
    Arc::new(Split::new(spec, |_| String::new()))
}
