use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::{headers, link::PodEntry};
use ebb_proxy::{
    Upstream, UpstreamLimits, fetch,
    net::{Liveness, connect, liveness::PING},
};
use http::{HeaderValue, Request, StatusCode, header};
use tokio::time::sleep;
use tracing::debug;

use crate::throttler::PodId;

/// A queue-proxy is asked to hold its answer for so long; then it is asked again.
const HOLD: Duration = Duration::from_secs(20);
/// The answer to a held probe must come in so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(22);
/// Between two tries to reach a queue-proxy that is not there yet, at first and at most.
const RETRY: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// Below the second after which TCP itself tries again: a packet to a pod whose network is just being made
/// is lost, and waiting for TCP would cost that second.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// A little less than a queue-proxy keeps a connection on which nothing is asked: sparse traffic finds it there.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// A probe's answer has five bytes.
const MAX_PROBE_BYTES: usize = 1024;

/// One pod, as the activator sees it.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) id: PodId,
    pub(crate) entry: PodEntry,
    pub(crate) upstream: Arc<Upstream>,
    /// What makes the queue-proxy believe that we speak for Ebb.
    pub(crate) nonce: Option<HeaderValue>,
}

impl Pod {
    /// A pod of the table; `None` if its address is none.
    pub(crate) fn new(id: PodId, entry: PodEntry) -> Option<Self> {
        let address: SocketAddr = entry.address.parse().ok()?;
        let limits = UpstreamLimits {
            connect_timeout: CONNECT_TIMEOUT,
            max_idle: 100,
            idle_timeout: IDLE_TIMEOUT,
            liveness: Liveness::POD,
            // An app of its own may be too busy to answer; a queue-proxy never is.
            ping: (!entry.direct).then_some(PING),
        };
        let nonce = HeaderValue::try_from(&entry.nonce).ok();
        let nonce = nonce.filter(|nonce| !nonce.is_empty() && !entry.direct);
        Some(Self { id, upstream: Upstream::new(address, limits), nonce, entry })
    }

    /// Resolves when the pod's queue-proxy has said that the app is ready: a held probe, not a poll. The
    /// connection stays, for the first request. Of a pod without one it is enough that it takes connections.
    pub(crate) async fn ready(&self) {
        let mut pause = RETRY[0];
        loop {
            match self.probe().await {
                Ok(()) => return,
                Err(why) => debug!(pod = self.entry.name, %why, "not ready yet"),
            }
            sleep(pause).await;
            pause = pause.mul_f64(1.5).min(RETRY[1]);
        }
    }

    async fn probe(&self) -> Result<(), String> {
        if self.entry.direct {
            return self.connects().await;
        }
        let request = Request::get("/")
            .header(header::HOST, &self.entry.address)
            .header(header::USER_AGENT, headers::ACTIVATOR_PROBE_AGENT)
            .header(headers::PROBE, headers::PROBE_QUEUE)
            .header(headers::PROBE_HOLD_MS, HOLD.as_millis().to_string())
            .body(())
            .map_err(|error| error.to_string())?;
        let answer = fetch(&self.upstream, request, MAX_PROBE_BYTES, ANSWER_WITHIN)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status() == StatusCode::OK && answer.body() == headers::PROBE_QUEUE.as_bytes() {
            Ok(())
        } else {
            Err(format!("answered {}", answer.status()))
        }
    }

    async fn connects(&self) -> Result<(), String> {
        let connected = connect(self.upstream.address(), CONNECT_TIMEOUT, Liveness::POD).await;
        connected.map(drop).map_err(|error| error.to_string())
    }
}
