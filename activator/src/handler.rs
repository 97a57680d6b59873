//! The life of a request at the activator: counted, held until a pod can take it, forwarded, and held again
//! if the pod could not be reached.

use std::{borrow::Borrow, net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::{AppProtocol, LateResponse, fate::Fate, headers};
use ebb_proxy::{
    Attempts, ConnectionLimits, ForwardError, Forwarded, Handler, Hop, Reply, RequestBody, Reserved,
    ResponseBody, Speaks, Timeouts, forward, speak,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, request};
use tokio::time::Instant;

use crate::{
    errors::Refused,
    service::{InFlight, Place, Service, Settings},
};

/// The longest time that a request is held, however often its route changes: the longest activation deadline.
const HELD_AT_MOST: Duration = Duration::from_secs(3600);
/// The pod's own time-outs fire first, because its answer says which one it was.
const AFTER_THE_POD: Duration = Duration::from_secs(1);

/// How long to wait for the successor of a removed service. The same table names it, if there is one, so it
/// is known within microseconds.
pub(crate) const SUCCESSOR_WITHIN: Duration = Duration::from_secs(2);

/// A reply by the activator itself.
pub(crate) type Answer = Box<Response<ResponseBody<Guard>>>;

/// An entrance: one port and the services that its requests are for.
pub(crate) trait Entrance: Send + Sync + 'static {
    /// What is known of a request before a service is chosen for it.
    type Asked: Send + Sync;
    /// What was chosen to take a request.
    type Chosen: Borrow<Arc<Service>> + Send + Sync;

    /// The protocol for apps that declare none; `None` means the version in which the request came.
    const UNDECLARED: Option<AppProtocol> = None;

    /// Reads what the choice for `request` of `peer` depends on, and prepares its head for forwarding:
    /// headers that clients must not set are removed.
    ///
    /// # Errors
    ///
    /// Returns the reply to a request that needs no service.
    fn receive(&self, request: &mut Request<RequestBody>, peer: SocketAddr) -> Result<Self::Asked, Answer>;

    /// Chooses a service for the request.
    fn choose(&self, asked: &Self::Asked) -> Result<Self::Chosen, Refused>;

    /// Resolves once `chosen` takes no more requests: a request that no pod has yet needs another choice.
    fn withdrawn(&self, chosen: &Self::Chosen) -> impl Future<Output = ()> + Send;

    /// Chooses a replacement for `chosen`, which is gone and has released the request before a pod had it.
    /// Returns `None` if there is no replacement.
    fn instead(
        &self,
        chosen: &Self::Chosen,
        asked: &Self::Asked,
    ) -> impl Future<Output = Option<Result<Self::Chosen, Refused>>> + Send;

    /// Records that a request for `chosen` was answered with `status` after the given time.
    fn answered(&self, chosen: &Self::Chosen, status: StatusCode, after: Duration);

    /// Returns how long client connections may stay open.
    fn connection_limits(&self) -> ConnectionLimits;
}

/// A service's own port: all its requests are for that service.
impl Entrance for Arc<Service> {
    type Asked = ();
    type Chosen = Self;

    fn receive(&self, request: &mut Request<RequestBody>, _: SocketAddr) -> Result<(), Answer> {
        within_the_cluster(request)
    }

    fn choose(&self, (): &()) -> Result<Self, Refused> {
        Ok(self.clone())
    }

    fn withdrawn(&self, _: &Self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    async fn instead(&self, _: &Self, (): &()) -> Option<Result<Self, Refused>> {
        None
    }

    fn answered(&self, _: &Self, _: StatusCode, _: Duration) {}

    fn connection_limits(&self) -> ConnectionLimits {
        Service::connection_limits(self)
    }
}

/// Handles the requests of an entrance.
#[derive(Debug)]
pub(crate) struct RequestHandler<E>(pub(crate) E);

/// Released when the request ends: its place at the pod first, then its count.
#[derive(Debug)]
pub(crate) struct Guard {
    #[expect(dead_code, reason = "held for its drop alone")]
    place: Place,
    #[expect(dead_code, reason = "held for its drop alone")]
    in_flight: InFlight,
    #[expect(dead_code, reason = "held for its drop alone")]
    memory: Reserved,
}

impl<E: Entrance> Handler for RequestHandler<E> {
    type Guard = Guard;

    async fn call(
        &self,
        mut request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> Response<ResponseBody<Guard>> {
        let asked = match self.0.receive(&mut request, peer) {
            Ok(asked) => asked,
            Err(answer) => return *answer,
        };
        let speaks = Speaks::of(request.headers());
        let began = Instant::now();
        let mut chosen = match self.0.choose(&asked) {
            Ok(chosen) => chosen,
            Err(refused) => return refused.reply().speaking(speaks).into_response(),
        };
        let response = match self.relay(&mut chosen, &asked, request, peer).await {
            Ok(response) => response,
            Err(Lost::Refused(refused)) => {
                service(&chosen).metrics.refused(refused.reason());
                refused.reply().speaking(speaks).into_response()
            }
            // The service chosen first is gone, and nothing replaced it; the failure is not charged to it.
            Err(Lost::NotChosen(refused)) => return refused.reply().speaking(speaks).into_response(),
        };
        self.0.answered(&chosen, response.status(), began.elapsed());
        response
    }

    fn connection_limits(&self) -> ConnectionLimits {
        self.0.connection_limits()
    }
}

impl<E: Entrance> RequestHandler<E> {
    async fn relay(
        &self,
        chosen: &mut E::Chosen,
        asked: &E::Asked,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody<Guard>>, Lost> {
        let mut memory = service(chosen).memory.reserve(kept_for(&request)).ok_or(Refused::MemoryShort)?;
        let (mut in_flight, mut settings) = (service(chosen).begin(), service(chosen).settings());
        let arrived = Instant::now();
        let mut deadline = arrived + settings.activation_deadline;
        let Hop { mut head, mut body } = Hop::new(request, peer);
        let came = head.version;
        speak_to(&mut head, came, &settings, E::UNDECLARED);
        // If there is no memory to keep the body, it is sent only once, when the pod is there.
        if !memory.grow_if_plenty(body.most_kept() as u64) {
            body.keep_nothing();
        }
        let (mut attempts, mut ticket) = (Attempts::here(), None);
        loop {
            let placed = tokio::select! {
                biased; // a place granted at the last moment is taken
                place = service(chosen).place(in_flight.arrived_at, ticket.take(), &mut body, deadline) => Some(place),
                () = self.0.withdrawn(chosen) => None,
            };
            let mut place = match placed {
                Some(Ok(place)) => place,
                Some(Err(refused)) if !matches!(refused, Refused::ServiceGone) => return Err(refused.into()),
                left => {
                    let next = match left {
                        Some(_) => self.0.instead(chosen, asked).await.ok_or(Refused::ServiceGone)?,
                        None => self.0.choose(asked),
                    };
                    *chosen = next.map_err(Lost::NotChosen)?;
                    (in_flight, settings) = (service(chosen).begin(), service(chosen).settings());
                    speak_to(&mut head, came, &settings, E::UNDECLARED);
                    deadline = (arrived + HELD_AT_MOST).min(Instant::now() + settings.activation_deadline);
                    continue;
                }
            };
            mark(&mut head.headers, &place);
            let direct = place.pod.entry.direct;
            let pod = &place.pod.upstream;
            // Boxed, so that a held request reserves no space for it.
            let sending = forward(pod, &head, body.from_the_beginning(), timeouts(&settings, direct));
            let tried = Box::pin(sending).await;
            let fate = fate(&tried, direct);
            if attempts.again(fate, &head, &body) {
                let stood = if is_the_pods_fault(&tried, fate) { place.failed() } else { place.ended() };
                ticket = Some(stood.unwrap_or_else(|| service(chosen).late_ticket()));
                continue;
            }
            if is_the_pods_fault(&tried, fate) {
                place.is_failing();
            }
            return match tried {
                Ok(mut forwarded) => {
                    // The activator's client is outside Ebb.
                    forwarded.headers_mut().remove(headers::FATE);
                    Ok(forwarded.into_response(Guard { place, in_flight, memory }))
                }
                Err(error) => Err(Refused::Forward { fate: attempts.fate(fate), error }.into()),
            };
        }
    }
}

/// Why a request has no answer from a pod.
enum Lost {
    /// Refused by the chosen service.
    Refused(Refused),
    /// The chosen service is gone, and nothing replaced it.
    NotChosen(Refused),
}

impl From<Refused> for Lost {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

fn service<C: Borrow<Arc<Service>>>(chosen: &C) -> &Arc<Service> {
    chosen.borrow()
}

/// Returns the bytes that a request uses besides the body that is read ahead: its connection and task, its
/// place in the queue, its head both as received and as parsed, and the part of its body that arrives
/// unasked.
fn kept_for(request: &Request<RequestBody>) -> u64 {
    let lines = request.headers().iter();
    let fields: usize = lines.map(|(name, value)| FIELD + name.as_str().len() + value.len()).sum();
    REQUEST + 2 * fields as u64 + request.body().most_unasked() as u64
}

/// For a held request, measured in `tests/held_memory.rs`.
const REQUEST: u64 = 8 * 1024;
/// Overhead of a header field beyond its bytes.
const FIELD: usize = 64;

/// Returns the fate of a request that was sent to a pod. A `direct` answer is the app's own; a queue-proxy
/// tells what happened at the app.
fn fate(tried: &Result<Forwarded, ForwardError>, direct: bool) -> Fate {
    match tried {
        Ok(_) if direct => Fate::Answered,
        Ok(forwarded) => Fate::told(forwarded.headers()),
        Err(error) => error.fate(),
    }
}

/// Returns whether the pod must be found ready again before it gets more: it did not take a request, or its
/// connection broke. A slow app, a client that left, or an app that aborted one request do not count.
fn is_the_pods_fault(tried: &Result<Forwarded, ForwardError>, fate: Fate) -> bool {
    match tried {
        Ok(_) => matches!(fate, Fate::NeverSent | Fate::RefusedByPeer),
        Err(ForwardError::Send(error)) => !error.is_the_clients(),
        Err(ForwardError::TimedOut(_)) => false,
    }
}

/// Marks the request for the pod's queue-proxy, if there is one, as counted here, with proof.
fn mark(headers: &mut HeaderMap, place: &Place) {
    if place.pod.entry.direct {
        // The request may have been sent to another pod before.
        headers.remove(headers::PROXY_REQUEST);
    } else {
        headers.insert(headers::PROXY_REQUEST, HeaderValue::from_static(headers::PROXY_ACTIVATOR));
    }
    match &place.pod.nonce {
        Some(nonce) => headers.insert(headers::POD_NONCE, nonce.clone()),
        None => headers.remove(headers::POD_NONCE),
    };
}

/// Sets the HTTP version of the request, which `came` in another one, to what the chosen service's app
/// speaks.
fn speak_to(head: &mut request::Parts, came: Version, settings: &Settings, undeclared: Option<AppProtocol>) {
    head.version = came;
    if let Some(protocol) = settings.app_protocol.or(undeclared) {
        speak(head, protocol);
    }
}

fn timeouts(settings: &Settings, direct: bool) -> Timeouts {
    let after = if direct { Duration::ZERO } else { AFTER_THE_POD };
    let deadline = Instant::now() + settings.request_timeout + after;
    Timeouts { deadline, response_start: None, idle: None, late: LateResponse::Cut }
}

/// Prepares a request on a service's or a route's own port: answers probes, and removes headers that only Ebb
/// may set.
pub(crate) fn within_the_cluster(request: &mut Request<RequestBody>) -> Result<(), Answer> {
    if let Some(answer) = answer_probe(request.headers()) {
        return Err(Box::new(answer));
    }
    headers::remove_all(request.headers_mut(), &headers::FOR_EBB_ALONE);
    Ok(())
}

/// Answers a probe that asks whether an activator is in the path.
fn answer_probe(request: &HeaderMap) -> Option<Response<ResponseBody<Guard>>> {
    let probe = request.get(headers::PROBE)?;
    let hash = request.get(headers::PROBE_HASH).filter(|hash| !hash.is_empty());
    if probe == headers::PROBE_ACTIVATOR {
        return Some(Response::new(ResponseBody::own(headers::PROBE_ACTIVATOR)));
    }
    if let (true, Some(hash)) = (probe == "probe", hash) {
        let mut response = Response::new(ResponseBody::own(""));
        response.headers_mut().insert(headers::PROBE_HASH, hash.clone());
        return Some(response);
    }
    let text = format!("unexpected probe header value: {probe:?}");
    Some(Reply::new(StatusCode::BAD_REQUEST, "wrong-probe", text).into_response())
}
