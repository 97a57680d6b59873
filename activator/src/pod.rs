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

/// How long a queue-proxy is asked to hold its answer; then it is asked again.
const HOLD: Duration = Duration::from_secs(20);
/// The time within which a held probe must be answered.
const ANSWER_WITHIN: Duration = Duration::from_secs(22);
/// The first and the longest pause between attempts to reach a queue-proxy that is not there yet.
const RETRY: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// Less than the second after which TCP retransmits: a packet to a pod whose network is just being set up is
/// lost, and waiting for TCP would cost that second.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// A little less than a queue-proxy keeps an idle connection, so that sparse traffic finds it open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// A probe's answer has five bytes.
const MAX_PROBE_BYTES: usize = 1024;

/// One pod, as the activator sees it.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) id: PodId,
    pub(crate) entry: PodEntry,
    pub(crate) upstream: Arc<Upstream>,
    /// Proves to the queue-proxy that the request comes from Ebb.
    pub(crate) nonce: Option<HeaderValue>,
}

impl Pod {
    /// Creates a pod of the table; returns `None` if its address is invalid.
    pub(crate) fn new(id: PodId, entry: PodEntry) -> Option<Self> {
        let address: SocketAddr = entry.address.parse().ok()?;
        let limits = UpstreamLimits {
            connect_timeout: CONNECT_TIMEOUT,
            max_idle: 100,
            idle_timeout: IDLE_TIMEOUT,
            liveness: Liveness::POD,
            // An app itself may be too busy to answer; a queue-proxy never is.
            ping: (!entry.direct).then_some(PING),
        };
        let nonce = HeaderValue::try_from(&entry.nonce).ok();
        let nonce = nonce.filter(|nonce| !nonce.is_empty() && !entry.direct);
        Some(Self { id, upstream: Upstream::new(address, limits), nonce, entry })
    }

    /// Resolves when the pod's queue-proxy has said that the app is ready, by a held probe instead of
    /// polling. The connection is kept for the first request. A pod without a queue-proxy is ready once it
    /// accepts connections.
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
