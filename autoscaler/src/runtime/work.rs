//! Runs slow work outside the main task, one item of each kind at a time for each service. Every item reports its
//! end; one that panics counts as failed.

use std::sync::Arc;

use ebb_core::{ServiceKey, Tick};
use ebb_proxy::program::caught;
use tokio::task::JoinSet;

use super::Runtime;
use crate::metrics::{Metrics, Work};
use ebb_decide::platform::{EndpointSink, PlatformError, ScaleTarget};
use ebb_decide::{
    endpoints::Endpoints,
    pending::NextScale,
    route::Keep,
    sampling::{Estimate, SampleError},
    service::Cause,
};

/// The result of a piece of work.
#[derive(Debug)]
pub(super) enum Done {
    Scaled(Arc<ServiceKey>, u32, Result<(), PlatformError>),
    Ordered(Arc<ServiceKey>, Vec<String>),
    Published(Arc<ServiceKey>, Result<(), PlatformError>),
    Kept(Arc<ServiceKey>, Result<(), PlatformError>),
    Scraped(Arc<ServiceKey>, Tick, Result<Option<Estimate>, SampleError>),
    Renewed,
}

/// Runs `doing` outside the main task. If it panics, its result is `failed`.
fn start(
    all: &mut JoinSet<Done>,
    metrics: &Arc<Metrics>,
    work: Work,
    doing: impl Future<Output = Done> + Send + 'static,
    failed: impl FnOnce(PlatformError) -> Done + Send + 'static,
) {
    let metrics = metrics.clone();
    all.spawn(async move {
        caught(doing).await.unwrap_or_else(|panicked| {
            metrics.panicked(work);
            tracing::error!(work = work.word(), %panicked, "beginning it anew");
            failed(PlatformError(panicked.to_string()))
        })
    });
}

fn publish<P: EndpointSink>(
    all: &mut JoinSet<Done>,
    metrics: &Arc<Metrics>,
    platform: &Arc<P>,
    key: Arc<ServiceKey>,
    endpoints: Endpoints,
) {
    let (platform, again) = (platform.clone(), key.clone());
    let publishing = async move {
        let result = platform.publish(&key, &endpoints).await;
        Done::Published(key, result)
    };
    let failed = |error| Done::Published(again, Err(error));
    start(all, metrics, Work::Publish, publishing, failed);
}

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    /// Publishes where a route's traffic goes, unless that is under way.
    pub(super) fn publish_route(&mut self, key: &ServiceKey) {
        let Some(route) = self.routes.get_mut(key) else { return };
        if let Some(endpoints) = route.publishing.next_publish() {
            publish(&mut self.work, &self.metrics, &self.platform, route.key.clone(), endpoints);
        }
    }

    /// Stores the progress of a route's rollout, unless that is under way.
    pub(super) fn keep_rollout(&mut self, key: &ServiceKey) {
        let Some(route) = self.routes.get_mut(key) else { return };
        let Some(Keep(progress)) = route.keeping.next_publish() else { return };
        let (platform, key, again) = (self.platform.clone(), route.key.clone(), route.key.clone());
        let keeping = async move {
            let result = platform.keep(&key, progress.as_ref()).await;
            Done::Kept(key, result)
        };
        let failed = |error| Done::Kept(again, Err(error));
        start(&mut self.work, &self.metrics, Work::Keep, keeping, failed);
    }

    fn on_kept(&mut self, key: &ServiceKey, result: &Result<(), PlatformError>) {
        let Some(route) = self.routes.get_mut(key) else { return };
        route.keeping.published();
        if let Err(error) = result {
            tracing::warn!(route = %key, %error, "cannot write down how far the rollout is; trying again");
            self.routes.keep_failed(key, self.clock.now());
        }
        self.keep_rollout(key);
    }

    /// Asks the clients of the pods of `service` to reconnect.
    pub(super) fn renew(&mut self, service: &ServiceKey) {
        let Some(service) = self.services.get(service) else { return };
        let (collector, pods) = (self.collector.clone(), service.state.pods().to_vec());
        let renewing = async move {
            collector.renew(&pods).await;
            Done::Renewed
        };
        start(&mut self.work, &self.metrics, Work::Renew, renewing, |_| Done::Renewed);
    }

    pub(super) fn do_pending(&mut self, key: &ServiceKey) {
        if !self.leads {
            return;
        }
        let Some(service) = self.services.get_mut(key) else { return };
        let (key, platform) = (service.key.clone(), &self.platform);
        // Publish before scaling, so that traffic has left pods before they are removed.
        if let Some(endpoints) = service.pending.publishing.next_publish() {
            publish(&mut self.work, &self.metrics, platform, key.clone(), endpoints);
        }
        let replicas = service.state.replicas().unwrap_or(0);
        let idle_first = service.state.spec().idle_first;
        match service.pending.next_scale(replicas, idle_first) {
            Some(NextScale::Scale(pods, first_to_go)) => {
                let (platform, again) = (platform.clone(), key.clone());
                let scaling = async move {
                    let result = platform.scale(&key, pods, &first_to_go).await;
                    Done::Scaled(key, pods, result)
                };
                let failed = move |error| Done::Scaled(again, pods, Err(error));
                start(&mut self.work, &self.metrics, Work::Scale, scaling, failed);
            }
            Some(NextScale::Ask) => {
                let (collector, pods) = (self.collector.clone(), service.state.pods().to_vec());
                let again = key.clone();
                let asking = async move {
                    let order = collector.idle_first(&pods).await;
                    Done::Ordered(key, order)
                };
                // Then the platform chooses which pods to remove.
                let failed = |_| Done::Ordered(again, Vec::new());
                start(&mut self.work, &self.metrics, Work::Order, asking, failed);
            }
            None => {}
        }
    }

    /// Scrapes the pods of a service. If the previous round is not over, this one counts as failed.
    pub(super) fn scrape(&mut self, key: &ServiceKey, now: Tick) {
        let Some(service) = self.services.get_mut(key) else { return };
        if service.pending.scraping {
            return self.on_scraped(key, now, Err(SampleError::PodsExhausted));
        }
        service.pending.scraping = true;
        let (pods, spec) = (service.state.pods().to_vec(), service.state.spec().clone());
        let (collector, key, again) = (self.collector.clone(), service.key.clone(), service.key.clone());
        let asking = async move {
            let round = collector.scrape(&pods, &spec, now).await;
            Done::Scraped(key, now, round)
        };
        let failed = move |_| Done::Scraped(again, now, Err(SampleError::PodsExhausted));
        start(&mut self.work, &self.metrics, Work::Scrape, asking, failed);
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

    fn on_published(&mut self, key: &ServiceKey, result: &Result<(), PlatformError>) {
        if let Err(error) = result {
            tracing::warn!(service = %key, %error, "cannot publish endpoints; trying again");
        }
        if let Some(service) = self.services.get_mut(key) {
            service.pending.publishing.published();
            if result.is_err() {
                service.state.publish_failed();
                self.views.count_write_failure(key);
            }
            self.do_pending(key);
        } else if let Some(route) = self.routes.get_mut(key) {
            route.publishing.published();
            match result {
                Ok(()) => self.routes.written(key, self.clock.now()),
                Err(_) => self.routes.publish_failed(key, self.clock.now()),
            }
            self.publish_route(key);
        }
    }

    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Renewed => {}
            Done::Scaled(key, pods, result) => {
                let Some(service) = self.services.get_mut(&key) else { return };
                service.pending.scaled();
                match result {
                    Ok(()) => {
                        service.state.scaled(pods, self.clock.now());
                        // The decision made meanwhile may match the previous state.
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
            Done::Published(key, result) => self.on_published(&key, &result),
            Done::Kept(key, result) => self.on_kept(&key, &result),
            Done::Scraped(key, at, round) => {
                if let Some(service) = self.services.get_mut(&key) {
                    service.pending.scraping = false;
                }
                self.on_scraped(&key, at, round);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Views;

    #[tokio::test]
    async fn work_that_panics_is_counted_and_ends_as_a_failure_would() {
        let metrics = Metrics::new(&Views::default(), |_| {});
        let (key, at) = (Arc::new(ServiceKey::new("shop", "web")), Tick::from_secs(1));
        let mut all = JoinSet::new();
        let again = key.clone();
        let failed = move |_| Done::Scraped(again, at, Err(SampleError::PodsExhausted));
        start(&mut all, &metrics, Work::Scrape, async { panic!("a bug") }, failed);
        let done = all.join_next().await.unwrap().unwrap();
        assert!(
            matches!(&done, Done::Scraped(of, when, Err(_)) if *of == key && *when == at),
            "as if no pod had answered: {done:?}"
        );
        let sound = async move { Done::Scraped(key, at, Ok(None)) };
        start(&mut all, &metrics, Work::Scrape, sound, |_| unreachable!("it does not panic"));
        assert!(matches!(all.join_next().await.unwrap().unwrap(), Done::Scraped(_, _, Ok(None))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry).unwrap();
        assert!(text.contains("ebb_autoscaler_panics_total{work=\"scrape\"} 1\n"), "{text}");
    }
}
