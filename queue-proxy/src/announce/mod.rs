//! Announces the pod: where it is, as soon as the sidecar listens, and that it leaves, as soon as it drains.
//!
//! The API server also tells the autoscaler, some 300 to 650 ms later. A failure to announce therefore only makes the
//! start slower: it is logged once and counted, and nothing waits for it.

mod policy;

use std::{net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use ebb_core::announce::{Announcement, CONTENT_TYPE, PATH};
use ebb_proxy::{Upstream, UpstreamLimits, fetch};
use http::{Request, StatusCode, header};
use hyper::body::Bytes;
use prost::Message;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::metrics::Metrics;
use policy::{COMING, LEAVING, Next, Patience};

/// Less than the second after which TCP retries: the network of a pod that is just being created may lose the first
/// packet.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// Time limit for one attempt.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Maximum size of an answer, which says in some words why an announcement was refused.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// What to announce, and to which autoscaler.
#[derive(Clone, Debug)]
pub struct Announcing {
    /// The autoscaler.
    pub autoscaler: SocketAddr,
    /// What the pod announces when it comes.
    pub pod: Announcement,
    /// Whether the pod announces that it comes.
    pub ready_by: ReadyBy,
}

/// Who finds out that the app is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyBy {
    /// The sidecar, with the pod's own probes.
    #[default]
    Sidecar,
    /// Only the kubelet, because a sidecar cannot try the pod's own probe. Such a pod takes requests when Kubernetes
    /// considers it ready. An earlier announcement would treat an open port as readiness.
    Kubelet,
}

impl FromStr for ReadyBy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "kubelet" { Ok(Self::Kubelet) } else { Err(()) }
    }
}

/// Announces one pod.
#[derive(Debug)]
pub(crate) struct Announcer {
    upstream: Arc<Upstream>,
    pod: Announcement,
    ready_by: ReadyBy,
    metrics: Arc<Metrics>,
}

impl Announcer {
    pub(crate) fn new(announcing: &Announcing, metrics: Arc<Metrics>) -> Self {
        // Connections are not kept: there are several autoscalers behind one address, and the next one may know the
        // pod.
        let limits =
            UpstreamLimits { connect_timeout: CONNECT_TIMEOUT, max_idle: 0, ..UpstreamLimits::default() };
        let upstream = Upstream::new(announcing.autoscaler, limits);
        Self { upstream, pod: announcing.pod.clone(), ready_by: announcing.ready_by, metrics }
    }

    /// Announces that the pod comes, unless only the kubelet can tell when it is ready; and, once `leaving` resolves,
    /// that it leaves.
    pub(crate) async fn run(self, leaving: impl Future<Output = ()>) {
        let coming = async {
            if self.ready_by == ReadyBy::Sidecar {
                self.say(&self.pod, COMING, "coming").await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased; // who leaves does not say any more that it comes
            () = leaving => {}
            () = coming => {}
        }
        let pod = Announcement { draining: true, ..self.pod.clone() };
        self.say(&pod, LEAVING, "leaving").await;
    }

    async fn say(&self, pod: &Announcement, patience: Patience, what: &'static str) {
        let body = Bytes::from(pod.encode_to_vec());
        let began = Instant::now();
        let mut tries = 0;
        let (outcome, answer) = loop {
            tries += 1;
            let answer = self.try_once(body.clone()).await;
            let status = answer.as_ref().ok().map(|(status, _)| *status);
            match patience.next(status, tries, began.elapsed()) {
                Next::Taken => {
                    debug!(what, tries, took = ?began.elapsed(), "announced");
                    return self.metrics.announced(what, "taken");
                }
                Next::Refused => break ("refused", answer),
                Next::GivenUp => break ("given-up", answer),
                Next::Again(pause) => sleep(pause).await,
            }
        };
        self.metrics.announced(what, outcome);
        let why = answer.map_or_else(|error| error, |(status, text)| format!("{status}: {}", text.trim()));
        warn!(
            autoscaler = %self.upstream.address(), what, outcome, tries, why,
            "failed to announce the pod; it will be found through the API server later"
        );
    }

    /// Returns the status and text of the answer, or why there is none.
    async fn try_once(&self, body: Bytes) -> Result<(StatusCode, String), String> {
        let request = Request::post(PATH)
            .header(header::HOST, self.upstream.address().to_string())
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .body(body)
            .map_err(|error| error.to_string())?;
        let answer = fetch(&self.upstream, request, MAX_ANSWER_BYTES, ANSWER_WITHIN)
            .await
            .map_err(|error| error.to_string())?;
        Ok((answer.status(), String::from_utf8_lossy(answer.body()).into_owned()))
    }
}
