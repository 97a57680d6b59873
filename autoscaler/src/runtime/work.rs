//! What takes time is done beside the one task, for each service one thing of a kind at a time.

use std::sync::Arc;

use ebb_core::{ServiceKey, Tick};

use super::Runtime;
use crate::{
    pending::NextScale,
    platform::{EndpointSink, PlatformError, ScaleTarget},
    sampling::{Estimate, SampleError},
    service::Cause,
};

/// Something that was done.
pub(super) enum Done {
    Scaled(Arc<ServiceKey>, u32, Result<(), PlatformError>),
    Ordered(Arc<ServiceKey>, Vec<String>),
    Published(Arc<ServiceKey>, Result<(), PlatformError>),
    Scraped(Arc<ServiceKey>, Tick, Result<Option<Estimate>, SampleError>),
}

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    pub(super) fn do_pending(&mut self, key: &ServiceKey) {
        if !self.leads {
            return;
        }
        let Some(service) = self.services.get_mut(key) else { return };
        let (key, platform) = (service.key.clone(), &self.platform);
        // Endpoints before pods: traffic has left by the time that its pods do.
        if let Some(endpoints) = service.pending.next_publish() {
            let (platform, key) = (platform.clone(), key.clone());
            self.work.spawn(async move {
                let result = platform.publish(&key, &endpoints).await;
                Done::Published(key, result)
            });
        }
        let replicas = service.state.replicas().unwrap_or(0);
        let idle_first = service.state.spec().idle_first;
        match service.pending.next_scale(replicas, idle_first) {
            Some(NextScale::Scale(pods, first_to_go)) => {
                let platform = platform.clone();
                self.work.spawn(async move {
                    let result = platform.scale(&key, pods, &first_to_go).await;
                    Done::Scaled(key, pods, result)
                });
            }
            Some(NextScale::Ask) => {
                let (collector, pods) = (self.collector.clone(), service.state.pods().to_vec());
                self.work.spawn(async move {
                    let order = collector.idle_first(&pods).await;
                    Done::Ordered(key, order)
                });
            }
            None => {}
        }
    }

    /// Asks the pods of a service. Where the last round is not over, this second is without an answer.
    pub(super) fn scrape(&mut self, key: &ServiceKey, now: Tick) {
        let Some(service) = self.services.get_mut(key) else { return };
        if service.pending.scraping {
            return self.on_scraped(key, now, Err(SampleError::PodsExhausted));
        }
        service.pending.scraping = true;
        let (pods, spec) = (service.state.pods().to_vec(), service.state.spec().clone());
        let (collector, key) = (self.collector.clone(), service.key.clone());
        self.work.spawn(async move {
            let round = collector.scrape(&pods, &spec, now).await;
            Done::Scraped(key, now, round)
        });
    }

    fn on_scraped(&mut self, key: &ServiceKey, at: Tick, round: Result<Option<Estimate>, SampleError>) {
        let Some(service) = self.services.get_mut(key) else { return };
        let whole = !matches!(&round, Err(_) | Ok(Some(Estimate { fresh: false, .. })));
        if service.state.scraped(at, round) {
            self.evaluate(key, Cause::Poke);
        }
        if !whole {
            self.views.count_scrape_failure(key);
            tracing::debug!(service = %key, "too few pods answered");
        }
    }

    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Scaled(key, pods, result) => {
                let Some(service) = self.services.get_mut(&key) else { return };
                service.pending.scaled();
                match result {
                    Ok(()) => {
                        service.state.scaled(pods, self.clock.now());
                        // What was decided meanwhile may be what there was before.
                        self.evaluate(&key, Cause::Change);
                    }
                    Err(error) => {
                        self.views.count_write_failure(&key);
                        tracing::warn!(service = %key, pods, %error, "cannot scale; trying again");
                        self.do_pending(&key);
                    }
                }
            }
            Done::Ordered(key, first_to_go) => {
                let Some(service) = self.services.get_mut(&key) else { return };
                service.pending.order_known(first_to_go);
                self.do_pending(&key);
            }
            Done::Published(key, result) => {
                let Some(service) = self.services.get_mut(&key) else { return };
                service.pending.published();
                if let Err(error) = result {
                    service.state.publish_failed();
                    self.views.count_write_failure(&key);
                    tracing::warn!(service = %key, %error, "cannot publish endpoints; trying again");
                }
                self.do_pending(&key);
            }
            Done::Scraped(key, at, round) => {
                if let Some(service) = self.services.get_mut(&key) {
                    service.pending.scraping = false;
                }
                self.on_scraped(&key, at, round);
            }
        }
    }
}
