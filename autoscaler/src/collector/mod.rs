//! Asks pods for their reports, over kept connections.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use ebb_core::{
    Tick,
    stat::{CONTENT_TYPE, MAX_STAT_BYTES, Stat},
};
use ebb_proxy::{Upstream, UpstreamLimits, fetch};
use http::{Request, StatusCode, header};
use parking_lot::Mutex;
use prost::Message;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    platform::Pod,
    sampling::{Refusal, Sample, SampleError},
};

/// A pod must answer in so long (the reference's client time-out).
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Pods asked at once, of all services together: enough for 1 000 services of a few pods each at 10 ms an
/// answer, and far below the descriptors a process has.
const ASKED_AT_ONCE: usize = 256;

/// Connections to the pods.
#[derive(Debug)]
pub(crate) struct Collector {
    upstreams: Mutex<HashMap<SocketAddr, Arc<Upstream>>>,
    places: Arc<Semaphore>,
}

impl Collector {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { upstreams: Mutex::default(), places: Arc::new(Semaphore::new(ASKED_AT_ONCE)) })
    }

    /// Forgets the connections to pods that are gone.
    pub(crate) fn keep_only(&self, pods: &HashSet<SocketAddr>) {
        self.upstreams.lock().retain(|address, _| pods.contains(address));
    }

    /// The load of all ready `pods`, from as many of their answers as it takes; `None` if none is ready.
    pub(crate) async fn scrape(
        self: &Arc<Self>,
        pods: &[Pod],
        stable_window: Duration,
        now: Tick,
    ) -> Result<Option<Stat>, SampleError> {
        let ready = pods.iter().filter(|pod| pod.ready).map(|pod| (pod.stats, now.since(pod.started_at)));
        let sample = Sample::draw(ready, stable_window, &mut rand::rng());
        let mut rest = sample.candidates.iter().copied();
        let mut asked: JoinSet<Result<Stat, Refusal>> = JoinSet::new();
        for address in rest.by_ref().take(sample.size) {
            asked.spawn(self.clone().ask(address));
        }
        let mut answers = Vec::with_capacity(sample.size);
        while let Some(answer) = asked.join_next().await {
            let answer = answer.unwrap_or(Err(Refusal::Other));
            // For each that fails, the next one is asked.
            if let (Err(_), Some(address)) = (&answer, rest.next()) {
                asked.spawn(self.clone().ask(address));
            }
            answers.push(answer);
        }
        sample.conclude(answers)
    }

    async fn ask(self: Arc<Self>, address: SocketAddr) -> Result<Stat, Refusal> {
        let _place = self.places.acquire().await.map_err(|_| Refusal::Other)?;
        let upstream = self.upstream(address);
        let request = Request::get("/metrics")
            .header(header::HOST, address.to_string())
            .header(header::ACCEPT, CONTENT_TYPE)
            .body(())
            .map_err(|_| Refusal::Other)?;
        let answer = fetch(&upstream, request, MAX_STAT_BYTES, ANSWER_WITHIN).await.map_err(|error| {
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
