//! Probes of the pod, answered by the sidecar and never shown to the app (`spec/queue-proxy.md`, section 6).

use std::time::Duration;

use ebb_core::headers;
use ebb_proxy::{Reply, ResponseBody};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::readiness::Readiness;

/// Maximum time to hold a probe, because the kubelet and proxies cut silent connections.
const MAX_HOLD: Duration = Duration::from_secs(30);

/// The kinds of probes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Probing {
    /// Asks whether the pod is ready.
    Component {
        /// How long the answer may wait for readiness; zero asks for one attempt.
        hold: Duration,
    },
    /// A component probe that is not for a sidecar.
    Misdirected(HeaderValue),
    /// An ingress asks whether the path leads here.
    Echo(Option<HeaderValue>),
}

/// Returns the kind of probe, or `None` if the request is not a probe.
pub(crate) fn classify(request: &HeaderMap) -> Option<Probing> {
    let agent = request.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    let component =
        [headers::KUBE_PROBE_AGENT, headers::ACTIVATOR_PROBE_AGENT, headers::AUTOSCALER_PROBE_AGENT]
            .iter()
            .any(|prefix| agent.starts_with(prefix.as_bytes()));
    let probe = request.get(headers::PROBE);
    if component {
        return Some(match probe {
            Some(value) if value == headers::PROBE_QUEUE => Probing::Component { hold: hold(request) },
            other => Probing::Misdirected(other.cloned().unwrap_or_else(|| HeaderValue::from_static(""))),
        });
    }
    probe
        .filter(|value| *value == "probe")
        .map(|_| Probing::Echo(request.get(headers::PROBE_HASH).filter(|hash| !hash.is_empty()).cloned()))
}

fn hold(request: &HeaderMap) -> Duration {
    request
        .get(headers::PROBE_HOLD_MS)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .map_or(Duration::ZERO, Duration::from_millis)
        .min(MAX_HOLD)
}

/// Answers a probe.
pub(crate) async fn answer<G>(
    probing: Probing,
    readiness: &Readiness,
    leaving: impl Future<Output = ()>,
) -> Response<ResponseBody<G>> {
    let mut response = tokio::select! {
        biased; // who leaves says so, ready or not
        () = leaving => {
            Reply::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "shutting down").into_response()
        }
        response = answer_in_time(probing, readiness) => response,
    };
    response.headers_mut().insert(headers::PROBED_BY, HeaderValue::from_static(headers::PROBE_QUEUE));
    response
}

async fn answer_in_time<G>(probing: Probing, readiness: &Readiness) -> Response<ResponseBody<G>> {
    match probing {
        Probing::Component { hold } => component(hold, readiness).await,
        Probing::Misdirected(value) => Reply::new(
            StatusCode::BAD_REQUEST,
            "wrong-probe",
            format!("unexpected probe header value: {value:?}"),
        )
        .into_response(),
        Probing::Echo(None) => Reply::new(
            StatusCode::BAD_REQUEST,
            "wrong-probe",
            format!("a probe must have a non-empty {} header", headers::PROBE_HASH),
        )
        .into_response(),
        Probing::Echo(Some(hash)) => {
            let mut response = Response::new(ResponseBody::own(""));
            response.headers_mut().insert(headers::PROBE_HASH, hash);
            response
        }
    }
}

async fn component<G>(hold: Duration, readiness: &Readiness) -> Response<ResponseBody<G>> {
    let ready = if hold.is_zero() { readiness.check().await } else { readiness.wait(hold).await };
    if ready {
        Response::new(ResponseBody::own(headers::PROBE_QUEUE))
    } else {
        Reply::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "").into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
            headers
        })
    }

    #[test]
    fn probes_are_told_from_requests() {
        let component = |ms| Some(Probing::Component { hold: Duration::from_millis(ms) });
        let queue = ("k-network-probe", "queue");
        let cases = [
            (request(&[]), None),
            (request(&[("user-agent", "curl/8")]), None),
            (request(&[("user-agent", "kube-probe/1.34"), queue]), component(0)),
            (request(&[("user-agent", "Knative-Activator-Probe"), queue]), component(0)),
            (
                request(&[("user-agent", "Knative-Activator-Probe"), queue, ("ebb-probe-hold-ms", "250")]),
                component(250),
            ),
            (
                request(&[("user-agent", "kube-probe/1.34"), queue, ("ebb-probe-hold-ms", "99999999")]),
                component(30_000),
            ),
            (
                request(&[("user-agent", "kube-probe/1.34")]),
                Some(Probing::Misdirected(HeaderValue::from_static(""))),
            ),
            (
                request(&[("user-agent", "Knative-Autoscaling-Probe"), ("k-network-probe", "activator")]),
                Some(Probing::Misdirected(HeaderValue::from_static("activator"))),
            ),
            (request(&[queue]), None),
            (request(&[("k-kubelet-probe", "x")]), None),
            (request(&[("k-network-probe", "probe")]), Some(Probing::Echo(None))),
            (
                request(&[("k-network-probe", "probe"), ("k-network-hash", "h")]),
                Some(Probing::Echo(Some(HeaderValue::from_static("h")))),
            ),
        ];
        for (headers, want) in cases {
            assert_eq!(classify(&headers), want, "{headers:?}");
        }
    }
}
