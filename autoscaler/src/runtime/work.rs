//! What takes time is done beside the one task, for each service one thing of a kind at a time: what is
//! wanted meanwhile replaces what was wanted before.

use ebb_core::{ServiceKey, scaling::TargetBurstCapacity, stat::Stat};

use super::{Runtime, Service};
use crate::{
    endpoints::Endpoints,
    platform::{EndpointSink, PlatformError, ScaleTarget},
    sampling::SampleError,
};

/// Something that was done.
pub(super) enum Done {
    Scaled(ServiceKey, u32, Result<(), PlatformError>),
    Published(ServiceKey, Result<(), PlatformError>),
    Scraped(ServiceKey, Result<Option<Stat>, SampleError>),
}

/// What is wanted for a service and what is under way.
#[derive(Debug, Default)]
pub(super) struct Pending {
    scale: Option<u32>,
    scaling: Option<u32>,
    publish: Option<Endpoints>,
    publishing: bool,
    scraping: bool,
}

impl Pending {
    pub(super) fn want_scale(&mut self, pods: u32) {
        self.scale = (self.scaling != Some(pods)).then_some(pods);
    }

    pub(super) fn want_published(&mut self, endpoints: Endpoints) {
        self.publish = Some(endpoints);
    }

    fn next_scale(&mut self) -> Option<u32> {
        if self.scaling.is_none() {
            self.scaling = self.scale.take();
            return self.scaling;
        }
        None
    }

    fn next_publish(&mut self) -> Option<Endpoints> {
        let next = if self.publishing { None } else { self.publish.take() };
        self.publishing |= next.is_some();
        next
    }
}

impl Service {
    /// Whether its pods are to be asked: not where the activator sees everything, and not twice at once.
    pub(super) fn wants_scrape(&self) -> bool {
        !self.pending.scraping
            && self.state.spec().target_burst_capacity != TargetBurstCapacity::Unlimited
            && self.state.pods().iter().any(|pod| pod.ready)
    }
}

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    pub(super) fn do_pending(&mut self, key: &ServiceKey) {
        let Some(service) = self.services.get_mut(key) else { return };
        // Endpoints before pods: traffic has left by the time that its pods do.
        if let Some(endpoints) = service.pending.next_publish() {
            let (platform, key) = (self.platform.clone(), key.clone());
            self.work.spawn(async move {
                let result = platform.publish(&key, &endpoints).await;
                Done::Published(key, result)
            });
        }
        if let Some(pods) = service.pending.next_scale() {
            let (platform, key) = (self.platform.clone(), key.clone());
            self.work.spawn(async move {
                let result = platform.scale(&key, pods).await;
                Done::Scaled(key, pods, result)
            });
        }
    }

    pub(super) fn scrape(&mut self, key: &ServiceKey) {
        let Some(service) = self.services.get_mut(key) else { return };
        service.pending.scraping = true;
        let pods = service.state.pods().to_vec();
        let window = service.state.spec().stable_window;
        let (collector, key, now) = (self.collector.clone(), key.clone(), self.clock.now());
        self.work.spawn(async move {
            let result = collector.scrape(&pods, window, now).await;
            Done::Scraped(key, result)
        });
    }

    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Scaled(key, pods, result) => {
                let Some(service) = self.services.get_mut(&key) else { return };
                service.pending.scaling = None;
                match result {
                    Ok(()) => service.state.scaled(pods),
                    Err(error) => {
                        service.metrics.write_failures.inc();
                        tracing::warn!(service = %key, pods, %error, "cannot scale; trying again");
                    }
                }
                self.do_pending(&key);
            }
            Done::Published(key, result) => {
                let Some(service) = self.services.get_mut(&key) else { return };
                service.pending.publishing = false;
                if let Err(error) = result {
                    service.state.publish_failed();
                    service.metrics.write_failures.inc();
                    tracing::warn!(service = %key, %error, "cannot publish endpoints; trying again");
                }
                self.do_pending(&key);
            }
            Done::Scraped(key, result) => {
                let Some(service) = self.services.get_mut(&key) else { return };
                service.pending.scraping = false;
                match result {
                    Ok(Some(stat)) => self.record(&key, &stat, self.clock.now()),
                    Ok(None) => {}
                    Err(error) => {
                        service.metrics.scrape_failures.inc();
                        tracing::debug!(service = %key, %error, "scrape failed");
                    }
                }
            }
        }
    }
}
