//! Scrapes pods' reports over persistent connections.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use ebb_annotations::{Rules, ScalingSpec};
use ebb_core::{
    Tick, headers,
    stat::{CONTENT_TYPE, MAX_STAT_BYTES, RENEW_PATH, Stat},
};
use ebb_proxy::{Upstream, UpstreamLimits, fetch};
use http::{Request, StatusCode, header};
use parking_lot::Mutex;
use prost::Message;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use ebb_decide::{
    Pod,
    idle_first::{Candidate, idle_first},
    sampling::{Estimate, Refusal, Sample, SampleError},
};

/// Time limit for a pod's answer (the reference's client timeout).
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// The same while a scale-down waits for the order of pods.
const ORDER_WITHIN: Duration = Duration::from_millis(500);
/// Maximum number of pods that are asked for their order.
const MOST_ORDERED: usize = 1000;
/// Maximum number of pods scraped at once, over all services: enough for 1 000 services of a few pods each at 10 ms
/// per answer, and far below a process's limit of descriptors.
const ASKED_AT_ONCE: usize = 256;

/// Pauses before the attempts to ask a pod to renew connections.
const RENEW_AGAIN: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];

/// The connections to pods.
#[derive(Debug)]
pub(crate) struct Collector {
    upstreams: Mutex<HashMap<SocketAddr, Arc<Upstream>>>,
    places: Arc<Semaphore>,
}

impl Collector {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { upstreams: Mutex::default(), places: Arc::new(Semaphore::new(ASKED_AT_ONCE)) })
    }

    /// Closes the connections to pods that are gone.
    pub(crate) fn forget(&self, gone: impl Iterator<Item = SocketAddr>) {
        let mut upstreams = self.upstreams.lock();
        for address in gone {
            upstreams.remove(&address);
        }
    }

    /// Returns the load of all ready `pods` at `now`, from a sufficient sample of their answers; `None` if none is
    /// ready.
    pub(crate) async fn scrape(
        self: &Arc<Self>,
        pods: &[Pod],
        spec: &ScalingSpec,
        now: Tick,
    ) -> Result<Option<Estimate>, SampleError> {
        let ready = pods.iter().filter(|pod| pod.ready);
        let ready = ready.filter_map(|pod| Some((pod.stats()?, now.since(pod.started_at))));
        let sample = Sample::draw(ready, spec.stable_window, &mut rand::rng());
        let mut rest = sample.candidates.iter().copied();
        let mut asked: JoinSet<Result<Stat, Refusal>> = JoinSet::new();
        for address in rest.by_ref().take(sample.size) {
            asked.spawn(self.clone().ask(address, ANSWER_WITHIN));
        }
        let mut answers = Vec::with_capacity(sample.size);
        while let Some(answer) = asked.join_next().await {
            let answer = answer.unwrap_or(Err(Refusal::Other));
            // If a pod fails to answer, ask the next one.
            if let (Err(_), Some(address)) = (&answer, rest.next()) {
                asked.spawn(self.clone().ask(address, ANSWER_WITHIN));
            }
            answers.push(answer);
        }
        match spec.rules {
            Rules::Mended => sample.estimate(answers),
            Rules::Reference => Ok(sample.conclude(answers)?.map(|stat| Estimate { stat, fresh: true })),
        }
    }

    /// Returns the names of `pods` in the order in which to remove them, by their current load.
    pub(crate) async fn idle_first(self: &Arc<Self>, pods: &[Pod]) -> Vec<String> {
        let mut asked: JoinSet<(usize, Option<f64>)> = JoinSet::new();
        for (index, pod) in pods.iter().enumerate().take(MOST_ORDERED) {
            let Some(stats) = pod.stats() else { continue };
            let asking = self.clone().ask(stats, ORDER_WITHIN);
            asked.spawn(
                async move { (index, asking.await.ok().map(|stat| stat.average_concurrent_requests)) },
            );
        }
        let mut in_flight = vec![f64::INFINITY; pods.len()];
        while let Some(answer) = asked.join_next().await {
            if let Ok((index, Some(requests))) = answer {
                in_flight[index] = requests;
            }
        }
        let candidates = pods.iter().zip(in_flight).map(|(pod, in_flight)| Candidate {
            pod: pod.name.clone(),
            // A pod with requests that is not ready has taken traffic, and may be too busy to answer its readiness
            // probe.
            serves: pod.ready || (in_flight.is_finite() && in_flight > 0.0),
            in_flight,
            started_at: pod.started_at,
        });
        idle_first(candidates.collect())
    }

    /// Asks `pods` to have their clients reconnect. Those that cannot be reached are skipped.
    pub(crate) async fn renew(self: &Arc<Self>, pods: &[Pod]) {
        let mut asked = JoinSet::new();
        for pod in pods {
            if let Some(stats) = pod.stats() {
                asked.spawn(self.clone().renew_at(stats, pod.nonce.clone()));
            }
        }
        while asked.join_next().await.is_some() {}
    }

    async fn renew_at(self: Arc<Self>, address: SocketAddr, nonce: String) {
        for pause in RENEW_AGAIN {
            sleep(pause).await;
            let Ok(_place) = self.places.acquire().await else { return };
            let request = Request::post(RENEW_PATH)
                .header(header::HOST, address.to_string())
                .header(headers::POD_NONCE, &nonce)
                .body(());
            let Ok(request) = request else { return };
            match fetch(&self.upstream(address), request, MAX_STAT_BYTES, ANSWER_WITHIN).await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => {
                    tracing::debug!(%address, status = %answer.status(), "failed to have a pod renew its connections");
                }
                Err(error) => tracing::debug!(%address, %error, "failed to have a pod renew its connections"),
            }
        }
    }

    async fn ask(self: Arc<Self>, address: SocketAddr, within: Duration) -> Result<Stat, Refusal> {
        let _place = self.places.acquire().await.map_err(|_| Refusal::Other)?;
        let upstream = self.upstream(address);
        let request = Request::get("/metrics")
            .header(header::HOST, address.to_string())
            .header(header::ACCEPT, CONTENT_TYPE)
            .body(())
            .map_err(|_| Refusal::Other)?;
        let answer = fetch(&upstream, request, MAX_STAT_BYTES, within).await.map_err(|error| {
            tracing::debug!(%address, %error, "scrape failed");
            Refusal::Other
        })?;
        if matches!(answer.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) {
            return Err(Refusal::MeshLike);
        }
        let right_kind = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == CONTENT_TYPE);
        if !answer.status().is_success() || !right_kind {
            return Err(Refusal::Other);
        }
        let stat = Stat::decode(answer.into_body()).map_err(|_| Refusal::Other)?;
        if stat.is_sane() { Ok(stat) } else { Err(Refusal::Other) }
    }

    fn upstream(&self, address: SocketAddr) -> Arc<Upstream> {
        let limits = UpstreamLimits { max_idle: 1, ..UpstreamLimits::default() };
        self.upstreams.lock().entry(address).or_insert_with(|| Upstream::new(address, limits)).clone()
    }
}
