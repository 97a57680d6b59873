//! What a port serves: a service, or a route that chooses a service for each request.

use std::sync::Arc;

use ebb_core::ServiceKey;
use ebb_proxy::Drain;

use crate::{route::Route, service::Service};

/// A service or a route.
#[derive(Debug)]
pub(crate) enum Kind {
    Service(Arc<Service>),
    Route(Arc<Route>),
}

impl Kind {
    pub(crate) fn key(&self) -> &ServiceKey {
        match self {
            Self::Service(service) => &service.key,
            Self::Route(route) => &route.key,
        }
    }

    pub(crate) fn service(&self) -> Option<&Arc<Service>> {
        match self {
            Self::Service(service) => Some(service),
            Self::Route(_) => None,
        }
    }

    pub(crate) fn route(&self) -> Option<&Arc<Route>> {
        match self {
            Self::Service(_) => None,
            Self::Route(route) => Some(route),
        }
    }

    /// Returns the drain of the connections to its own port.
    pub(crate) fn drain(&self) -> &Drain {
        match self {
            Self::Service(service) => &service.drain,
            Self::Route(route) => &route.drain,
        }
    }

    /// Marks it as removed, and tells the requests that wait for its pods.
    pub(crate) fn leave(&self) {
        if let Self::Service(service) = self {
            service.leave();
        }
    }

    /// Called when its last connection has ended or is about to.
    pub(crate) fn close(&self) {
        if let Self::Service(service) = self {
            service.close();
        }
    }
}
