//! The pod announces itself: where it is, the moment the sidecar listens, and that it leaves, the moment it drains.
//!
//! The API server would tell the autoscaler as well, some 300 to 650 ms later. So a failure here is a slower start,
//! and never more: it is told of once and counted, and nothing waits for it.

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

/// Below the second after which TCP itself tries again: the network of a pod that is just being made may lose the
/// first packet.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// A try has failed after so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// An answer says in some words why not.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// What is announced, and to whom.
#[derive(Clone, Debug)]
pub struct Announcing {
    /// The autoscaler.
    pub autoscaler: SocketAddr,
    /// What the pod says of itself when it comes.
    pub pod: Announcement,
    /// Whether it says that it comes at all.
    pub ready_by: ReadyBy,
}

/// Who finds out that the app is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyBy {
    /// The sidecar, with the pod's own probes.
    #[default]
    Sidecar,
    /// The kubelet alone, because the pod's own probe is one that a sidecar cannot try. Such a pod takes requests when
    /// Kubernetes calls it ready; who hears of it earlier would take an open port for readiness.
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
        // No connection is kept: behind one address there are several autoscalers, and the next may know the pod.
        let limits =
            UpstreamLimits { connect_timeout: CONNECT_TIMEOUT, max_idle: 0, ..UpstreamLimits::default() };
        let upstream = Upstream::new(announcing.autoscaler, limits);
        Self { upstream, pod: announcing.pod.clone(), ready_by: announcing.ready_by, metrics }
    }

    /// Says that the pod comes, where it is for us to say; and that it leaves, once it is `leaving`.
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

    /// The status and what was said with it, or why there is none.
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
