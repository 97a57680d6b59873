//! The life of a request at the activator: counted, held until a pod can take it, forwarded; and taken
//! back if the pod could not be reached.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::headers;
use ebb_proxy::{
    ForwardError, Forwarded, Handler, Hop, Reply, RequestBody, ResponseBody, SendError, Speaks, Timeouts,
    copy_without_body, forward, is_safe,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::{
    errors::Refused,
    service::{InFlight, Lease, Service, Settings},
};

/// The pod's own time-outs fire first: its answer says which one it was.
const AFTER_THE_POD: Duration = Duration::from_secs(1);

/// Takes the requests of one service.
#[derive(Debug)]
pub(crate) struct ServiceHandler {
    pub(crate) service: Arc<Service>,
}

/// What ends with the request: its place at the pod first, then its count.
#[derive(Debug)]
pub(crate) struct Guard {
    #[expect(dead_code, reason = "held for its drop alone")]
    lease: Lease,
    #[expect(dead_code, reason = "held for its drop alone")]
    in_flight: InFlight,
}

impl Handler for ServiceHandler {
    type Guard = Guard;

    async fn call(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<ResponseBody<Guard>> {
        if let Some(answer) = answer_probe(request.headers()) {
            return answer;
        }
        for name in headers::FOR_EBB_ALONE {
            request.headers_mut().remove(name);
        }
        let speaks = Speaks::of(request.headers());
        match self.relay(request, peer).await {
            Ok(response) => response,
            Err(refused) => {
                self.service.metrics.refused(refused.reason());
                refused.reply().speaking(speaks).into_response()
            }
        }
    }
}

impl ServiceHandler {
    async fn relay(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ResponseBody<Guard>>, Refused> {
        let service = &self.service;
        let in_flight = service.begin();
        let settings = service.settings();
        let deadline = Instant::now() + settings.activation_deadline;
        let Hop { mut request, upgrade } = Hop::new(request, peer);
        let mut attempts = Attempts::default();
        loop {
            let body = request.body_mut();
            let lease = service.lease(in_flight.arrived_at, attempts.ticket, body, deadline).await?;
            mark(request.headers_mut(), &lease);
            let copy = copy_without_body(&request);
            let direct = lease.pod.entry.direct;
            let answer = forward(&lease.pod.upstream, request, timeouts(&settings, direct)).await;
            match attempts.judge(answer, copy, direct) {
                Verdict::Answered(forwarded) => {
                    return Ok(forwarded.into_response(upgrade, Guard { lease, in_flight }, &service.drain));
                }
                Verdict::Again(again) => {
                    request = *again;
                    let stood = lease.failed();
                    attempts.ticket = Some(stood.unwrap_or_else(|| service.late_ticket()));
                }
                Verdict::Failed(error) => {
                    // A slow app is not a broken pod, and neither is one whose client broke off.
                    if matches!(error, ForwardError::Send(SendError::Unanswered { .. })) {
                        lease.failed();
                    }
                    return Err(error.into());
                }
            }
        }
    }
}

/// What was tried for one request.
#[derive(Debug, Default)]
struct Attempts {
    /// Where it stands in the queue, once it had to come back.
    ticket: Option<crate::throttler::Ticket>,
    /// Whether it was sent a second time although some of it may have been seen before.
    repeated: bool,
}

enum Verdict {
    Answered(Forwarded),
    Again(Box<Request<RequestBody>>),
    Failed(ForwardError),
}

impl Attempts {
    /// A request that the app never saw may go elsewhere as often as its deadline allows; one that the app
    /// may have seen only if it is safe to repeat, and only once: it might be what broke the pod. What comes `direct`
    /// from an app is its own.
    fn judge(
        &mut self,
        answer: Result<Forwarded, ForwardError>,
        copy: Option<Request<RequestBody>>,
        direct: bool,
    ) -> Verdict {
        match answer {
            Ok(forwarded) if direct => Verdict::Answered(forwarded),
            Ok(forwarded) => match (handed_back(forwarded.response().headers()), copy) {
                (Some(HandedBack::Unseen), Some(copy)) => Verdict::Again(Box::new(copy)),
                (Some(HandedBack::Seen), Some(copy)) if self.may_repeat(&copy) => {
                    Verdict::Again(Box::new(copy))
                }
                _ => Verdict::Answered(forwarded),
            },
            Err(ForwardError::Send(SendError::NotSent { request, .. })) => Verdict::Again(request),
            Err(error @ ForwardError::Send(SendError::Unanswered { .. })) => match copy {
                Some(copy) if self.may_repeat(&copy) => Verdict::Again(Box::new(copy)),
                _ => Verdict::Failed(error),
            },
            Err(error @ (ForwardError::TimedOut(_) | ForwardError::Send(SendError::RequestBroke { .. }))) => {
                Verdict::Failed(error)
            }
        }
    }

    fn may_repeat(&mut self, copy: &Request<RequestBody>) -> bool {
        is_safe(copy.method()) && !std::mem::replace(&mut self.repeated, true)
    }
}

/// What a queue-proxy says of a request that its app did not answer.
enum HandedBack {
    /// Not a byte of it reached the app.
    Unseen,
    /// The app broke off.
    Seen,
}

/// Only a queue-proxy can say so: it strips this header from the app's own answers.
fn handed_back(answer: &HeaderMap) -> Option<HandedBack> {
    let reason = answer.get(headers::REASON)?;
    if reason == headers::REASON_APP_REFUSED || reason == headers::REASON_QUEUE_FULL {
        Some(HandedBack::Unseen)
    } else if reason == headers::REASON_APP_BROKE_OFF {
        Some(HandedBack::Seen)
    } else {
        None
    }
}

/// Tells the pod's queue-proxy, if there is one, that this request was counted here, and proves it.
fn mark(headers: &mut HeaderMap, lease: &Lease) {
    if lease.pod.entry.direct {
        // It may have been on its way to another pod before.
        headers.remove(headers::PROXY_REQUEST);
    } else {
        headers.insert(headers::PROXY_REQUEST, HeaderValue::from_static(headers::PROXY_ACTIVATOR));
    }
    match &lease.pod.nonce {
        Some(nonce) => headers.insert(headers::POD_NONCE, nonce.clone()),
        None => headers.remove(headers::POD_NONCE),
    };
}

fn timeouts(settings: &Settings, direct: bool) -> Timeouts {
    let after = if direct { Duration::ZERO } else { AFTER_THE_POD };
    let deadline = Instant::now() + settings.request_timeout + after;
    Timeouts { deadline, response_start: None, idle: None }
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
