//! Gaining and losing the lead. Only the leader writes; the others are ready to take over.

use std::sync::Arc;

use ebb_core::ServiceKey;
use tokio::task::JoinSet;
use tracing::info;

use super::Runtime;
use ebb_decide::platform::{EndpointSink, ScaleTarget};
use ebb_decide::service::Cause;

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    pub(super) fn on_leadership(&mut self, leads: bool) {
        if leads == self.leads {
            return;
        }
        info!(leads, services = self.services.iter().count(), "leadership changed");
        self.leads = leads;
        self.metrics.leads.set(leads.into());
        self.activators.lead(leads);
        if leads {
            self.services.take_over(self.clock.now());
            self.routes.forget_published(self.clock.now());
            // Tell activators first: held requests should not wait for the decision below.
            self.tell_tables();
            self.number_all();
            let all: Vec<Arc<ServiceKey>> = self.services.iter().map(|service| service.key.clone()).collect();
            for key in all {
                self.evaluate(&key, Cause::Change);
            }
            let routes: Vec<Arc<ServiceKey>> = self.routes.iter().map(|route| route.key.clone()).collect();
            for key in routes {
                self.evaluate_route(&key);
            }
        } else {
            // This stops all work under way: nothing more is written, and the result of a finished write is not taken
            // for one of the next term.
            self.work = JoinSet::new();
            self.services.stand_by();
            self.confirmations.stand_by();
            self.routes.forget_published(self.clock.now());
            self.views.clear();
            self.route_views.clear();
        }
    }

    /// Sends activators all tables, if this autoscaler leads. Until the platform has reported all services,
    /// activators keep others that they know.
    pub(super) fn tell_tables(&mut self) {
        if !self.leads {
            return;
        }
        let all = self.tables();
        if self.complete || !all.services.is_empty() {
            self.activators.send(all);
        }
        for service in self.services.iter().filter(|service| service.state.sharing().len() > 1) {
            self.activators.tell(service);
        }
    }
}
