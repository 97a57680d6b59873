//! Handles a request in the pod: probe or request, its origin, a slot, the app, the end.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ebb_core::{AppProtocol, fate::Fate, headers, request_stats::Origin};
use ebb_proxy::{
    Attempts, Cause, ConnectionLimits, Drain, ForwardError, Handler, Hop, RequestBody, ResponseBody,
    SendError, Speaks, Timeouts, Upstream, WallClock, forward, speak,
};
use http::{
    HeaderValue, Request, Response, Uri, Version, header, request,
    uri::{Authority, Scheme},
};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    breaker::{Breaker, Occupancy, Slot},
    config::Config,
    errors::Refused,
    metrics::Metrics,
    probes,
    readiness::Readiness,
    renewal::Renewal,
    stats::PeriodStats,
};

/// What all requests of the pod share.
#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) config: Config,
    pub(crate) clock: WallClock,
    pub(crate) started: ebb_core::Tick,
    pub(crate) stats: Mutex<PeriodStats>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
    pub(crate) renewal: Renewal,
    pub(crate) first_request: OnceLock<ebb_core::Tick>,
    /// Places for requests that wait until the app listens.
    pub(crate) early: Semaphore,
    pub(crate) breaker: Option<Arc<Breaker>>,
    pub(crate) app: Arc<Upstream>,
    /// The app was found to speak only HTTP/2. Never looked at if the configuration says what it speaks.
    pub(crate) speaks_http2: AtomicBool,
}

impl Sidecar {
    /// The version of HTTP that the app speaks, if anybody says so or it was found out.
    fn app_protocol(&self) -> Option<AppProtocol> {
        let learned = self.speaks_http2.load(Ordering::Relaxed).then_some(AppProtocol::Http2);
        self.config.app_protocol.or(learned)
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        self.breaker.as_ref().map(|breaker| breaker.occupancy()).unwrap_or_default()
    }
}

/// Handles the requests of the pod.
#[derive(Debug)]
pub(crate) struct RequestHandler {
    pub(crate) sidecar: Arc<Sidecar>,
}

/// A request in flight. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    sidecar: Arc<Sidecar>,
    origin: Origin,
    /// Dropping it hands the slot to the next pending request.
    slot: Option<Slot>,
}

impl InFlight {
    fn begin(sidecar: &Arc<Sidecar>, origin: Origin) -> Self {
        sidecar.metrics.request();
        sidecar.stats.lock().begin(sidecar.clock.now(), origin);
        Self { sidecar: sidecar.clone(), origin, slot: None }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.sidecar.stats.lock().end(self.sidecar.clock.now(), self.origin);
    }
}

impl Handler for RequestHandler {
    type Guard = InFlight;

    async fn call(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> Response<ResponseBody<InFlight>> {
        let sidecar = &self.sidecar;
        if let Some(probing) = probes::classify(request.headers()) {
            return probes::answer(probing, &sidecar.readiness, sidecar.drain.leaving()).await;
        }
        let mut request = request;
        let origin = take_origin(&mut request, sidecar.config.nonce.as_deref());
        let in_flight = InFlight::begin(sidecar, origin);
        let speaks = Speaks::of(request.headers());
        match self.relay(request, peer, in_flight).await {
            Ok(response) => response,
            Err(refused) => {
                sidecar.metrics.refused(refused.reason());
                let reply = refused.reply().speaking(speaks);
                // Only an activator needs the fate of the request, because it can send the request elsewhere.
                let told = if origin == Origin::Proxied { reply.fate(refused.fate()) } else { reply };
                told.into_response()
            }
        }
    }

    fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits { renewed_at: self.sidecar.renewal.at(), ..self.sidecar.config.connections }
    }
}

impl RequestHandler {
    async fn relay(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
        mut in_flight: InFlight,
    ) -> Result<Response<ResponseBody<InFlight>>, Refused> {
        let sidecar = &self.sidecar;
        let timeouts = self.timeouts(Instant::now());
        let Hop { mut head, mut body } = Hop::new(request, peer);
        if let Some(protocol) = sidecar.app_protocol() {
            speak(&mut head, protocol);
        }
        if let Some(breaker) = &sidecar.breaker {
            let turn = reading_on(breaker.acquire(), &mut body);
            let slot = timeout_at(timeouts.head_due(), turn).await.unwrap_or(Err(Refused::WaitedTooLong))?;
            in_flight.slot = Some(slot?);
        }
        let patience = timeouts.head_due().min(Instant::now() + EARLY_WITHIN);
        if !sidecar.readiness.has_been_ready() {
            self.wait_for_app(patience, &mut body).await?;
        }
        let mut attempts = match in_flight.origin {
            Origin::Direct => Attempts::here(),
            Origin::Proxied => Attempts::before_another(),
        };
        loop {
            sidecar.first_request.get_or_init(|| sidecar.clock.now());
            let error = match forward(&sidecar.app, &head, body.from_the_beginning(), timeouts).await {
                Ok(mut forwarded) => {
                    // Only Ebb may send Ebb's reasons, because an activator acts on them.
                    forwarded.strip_claims();
                    return Ok(forwarded.into_response(in_flight));
                }
                Err(error) => error,
            };
            if self.learns(&error, &mut head) && body.can_be_replayed() {
                continue;
            }
            let fate = error.fate();
            if fate == Fate::NeverSent {
                sidecar.readiness.lost();
            }
            let again = attempts.again(fate, &head, &body)
                && self.is_worth_it(&error, in_flight.origin, patience, &mut body).await?;
            if !again {
                return Err(Refused::Forward { fate: attempts.fate(fate), error });
            }
        }
    }

    /// Learns from an error that the app speaks only HTTP/2. Returns whether the request can be sent so; the app has not
    /// read it.
    fn learns(&self, error: &ForwardError, head: &mut request::Parts) -> bool {
        let speaks_http2 = matches!(error, ForwardError::Send(SendError { cause: Cause::SpeaksHttp2, .. }));
        if !speaks_http2 || self.sidecar.config.app_protocol.is_some() {
            return false;
        }
        if !self.sidecar.speaks_http2.swap(true, Ordering::Relaxed) {
            tracing::info!("the app speaks only HTTP/2; sending it all requests so");
        }
        speak(head, AppProtocol::Http2);
        head.version == Version::HTTP_2
    }

    /// Returns whether another allowed attempt can succeed. It waits for the app if it may.
    async fn is_worth_it(
        &self,
        error: &ForwardError,
        origin: Origin,
        patience: Instant,
        body: &mut RequestBody,
    ) -> Result<bool, Refused> {
        match error {
            // An activator has other pods.
            _ if origin == Origin::Proxied => Ok(false),
            ForwardError::Send(failed) => match failed.fate {
                Fate::NeverSent => {
                    let may_come_back =
                        !self.sidecar.readiness.phase().is_ready() && Instant::now() < patience;
                    Ok(may_come_back && self.wait_for_app(patience, body).await?)
                }
                Fate::RefusedByPeer => Ok(true),
                // The app was just closing an old connection. If this happens on a new connection, the request itself
                // breaks it.
                Fate::MaybeSent => Ok(failed.on_used),
                Fate::Answered => Ok(false),
            },
            ForwardError::TimedOut(_) => Ok(false),
        }
    }

    /// Kubernetes sends clients to a pod without a readiness probe as soon as it runs, and to a pod whose app crashed
    /// until Kubernetes notices. Requests that arrive before the app listens wait for it, and this returns whether it
    /// does. Requests that are too many, or have waited too long, get the app's result, and so do all requests while
    /// the pod leaves.
    async fn wait_for_app(&self, until: Instant, body: &mut RequestBody) -> Result<bool, Refused> {
        let sidecar = &self.sidecar;
        let Ok(_place) = sidecar.early.try_acquire() else { return Ok(false) };
        let hold = until.saturating_duration_since(Instant::now());
        tokio::select! {
            biased;
            () = sidecar.drain.leaving() => Ok(false),
            ready = reading_on(sidecar.readiness.wait(hold), body) => ready,
        }
    }

    fn timeouts(&self, arrived: Instant) -> Timeouts {
        let config = &self.sidecar.config;
        Timeouts {
            deadline: arrived + config.request_timeout,
            response_start: config.response_start_timeout.map(|limit| arrived + limit),
            idle: config.idle_timeout,
            late: config.late_response,
        }
    }
}

/// Maximum number of requests that wait for the app to listen; each keeps what it has sent.
pub(crate) const MOST_EARLY: usize = 256;
/// Maximum time that they wait: as long as apps usually need to start.
const EARLY_WITHIN: Duration = Duration::from_secs(30);

/// Waits for `turn`, and reads the body ahead meanwhile, which is the only way to notice that the client has
/// disconnected.
async fn reading_on<T>(turn: impl Future<Output = T>, body: &mut RequestBody) -> Result<T, Refused> {
    let mut turn = pin!(turn);
    loop {
        tokio::select! {
            biased; // who has its turn reads no further
            turn = &mut turn => return Ok(turn),
            () = body.read_ahead() => {}
        }
        if body.has_failed() {
            return Err(Refused::BrokenOff);
        }
    }
}

/// Returns where a request came from, if the sender may say so, and removes headers that are reserved for Ebb.
fn take_origin<B>(request: &mut Request<B>, nonce: Option<&str>) -> Origin {
    let given = request.headers_mut();
    if !headers::has_any(given, &headers::FOR_EBB_ALONE) {
        return Origin::Direct;
    }
    let trusted = nonce.is_none_or(|nonce| given.get(headers::POD_NONCE).is_some_and(|given| given == nonce));
    let proxied = given.get(headers::PROXY_REQUEST).is_some_and(|by| by == headers::PROXY_ACTIVATOR);
    let original_host = given.get(headers::ORIGINAL_HOST).cloned();
    headers::remove_all(given, &headers::FOR_EBB_ALONE);
    if !trusted {
        return Origin::Direct;
    }
    if let Some(host) = original_host {
        restore_host(request, host);
    }
    if proxied { Origin::Proxied } else { Origin::Direct }
}

/// In HTTP/2, the host is part of the target.
fn restore_host<B>(request: &mut Request<B>, host: HeaderValue) {
    if request.version() < Version::HTTP_2 {
        request.headers_mut().insert(header::HOST, host);
        return;
    }
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(authority);
    parts.scheme = parts.scheme.or(Some(Scheme::HTTP));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        request.headers_mut().remove(header::HOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(nonce: Option<&'static str>) -> Request<()> {
        let mut request = Request::new(());
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_static("10.0.0.1:8012"));
        headers.insert(headers::PROXY_REQUEST, HeaderValue::from_static("activator"));
        headers.insert(headers::ORIGINAL_HOST, HeaderValue::from_static("shop.example"));
        headers.insert(headers::KUBELET_PROBE, HeaderValue::from_static("x"));
        if let Some(nonce) = nonce {
            headers.insert(headers::POD_NONCE, HeaderValue::from_static(nonce));
        }
        request
    }

    #[test]
    fn only_who_knows_the_nonce_speaks_for_ebb() {
        let cases = [
            (Some("secret"), Some("secret"), Origin::Proxied, "shop.example"),
            (Some("secret"), Some("guess"), Origin::Direct, "10.0.0.1:8012"),
            (Some("secret"), None, Origin::Direct, "10.0.0.1:8012"),
            // Without its own nonce, the sidecar is in the reference's cluster, and trusts as the reference does.
            (None, None, Origin::Proxied, "shop.example"),
        ];
        for (ours, given, origin, host) in cases {
            let mut request = claim(given);
            assert_eq!(take_origin(&mut request, ours), origin, "{ours:?} {given:?}");
            let headers = request.headers();
            assert_eq!(headers.len(), 1, "what speaks for Ebb is not shown to the app: {headers:?}");
            assert_eq!(headers[header::HOST], host);
        }
    }
}
