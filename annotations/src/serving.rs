//! How requests are admitted and timed: the `ebb.dev/*` annotations that become a [`ServingSpec`].

use std::{num::NonZeroU32, time::Duration};

use ebb_core::{AppProtocol, LateResponse};
use http::uri::PathAndQuery;

use super::{
    ServingSpec,
    duration::GoDuration,
    fault::{Fault, FaultKind},
    keys::{self, Key},
    reading::{Reading, Texts, count},
    syntax::{Syntax, Unreadable},
};

/// The largest capacity of a pod, the reference's default limit.
const MAX_CONTAINER_CONCURRENCY: i32 = 1000;
/// Held requests cost a few kilobytes each: an activator with a gigabyte can hold about this many.
const MAX_QUEUE_DEPTH: i32 = 100_000;
/// The reference holds as many per revision.
const DEFAULT_QUEUE_DEPTH: u32 = 10_000;
/// The bounds of the activation deadline and the request timeout.
const DEADLINES: (GoDuration, GoDuration) = (GoDuration::from_secs(1), GoDuration::from_secs(3600));
/// A shorter connection is not worth its handshake.
const SHORTEST_STAY: GoDuration = GoDuration::from_secs(1);
/// Enough to pull an image; most clients have given up by then.
const DEFAULT_ACTIVATION_DEADLINE: Duration = Duration::from_secs(120);
/// The reference's default.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

impl Default for ServingSpec {
    /// Returns the spec of a service without annotations.
    fn default() -> Self {
        Self {
            container_concurrency: None,
            queue_depth: NonZeroU32::new(DEFAULT_QUEUE_DEPTH).unwrap_or(NonZeroU32::MIN),
            activation_deadline: DEFAULT_ACTIVATION_DEADLINE,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            response_start_timeout: None,
            idle_timeout: None,
            late_response: LateResponse::Cut,
            max_connection_age: None,
            tunnel_idle_timeout: None,
            readiness_path: None,
            app_protocol: None,
        }
    }
}

/// Reads the annotations, and adds their faults to `faults`.
pub(super) fn read(texts: &Texts, faults: &mut Vec<Fault>) -> ServingSpec {
    let default = ServingSpec::default();
    let request_timeout = deadline(texts, &keys::REQUEST_TIMEOUT, faults).unwrap_or(default.request_timeout);
    ServingSpec {
        container_concurrency: count(
            texts,
            &keys::CONTAINER_CONCURRENCY,
            (0, MAX_CONTAINER_CONCURRENCY),
            faults,
        ),
        queue_depth: count(texts, &keys::QUEUE_DEPTH, (1, MAX_QUEUE_DEPTH), faults)
            .unwrap_or(default.queue_depth),
        activation_deadline: deadline(texts, &keys::ACTIVATION_DEADLINE, faults)
            .unwrap_or(default.activation_deadline),
        request_timeout,
        response_start_timeout: partial_timeout(
            texts,
            &keys::RESPONSE_START_TIMEOUT,
            request_timeout,
            faults,
        ),
        idle_timeout: partial_timeout(texts, &keys::IDLE_TIMEOUT, request_timeout, faults),
        late_response: late_response(texts, faults),
        max_connection_age: connection_limit(texts, &keys::MAX_CONNECTION_AGE, faults),
        tunnel_idle_timeout: connection_limit(texts, &keys::TUNNEL_IDLE_TIMEOUT, faults),
        readiness_path: readiness_path(texts, faults),
        app_protocol: app_protocol(texts, faults),
    }
}

fn late_response(texts: &Texts, faults: &mut Vec<Fault>) -> LateResponse {
    let Some(reading) = Reading::<'_, LateResponse>::find(texts, &keys::LATE_RESPONSE) else {
        return LateResponse::default();
    };
    faults.extend(reading.value.as_ref().err().map(|why| reading.unreadable(*why, "cut or end")));
    reading.value.unwrap_or_default()
}

impl Syntax for LateResponse {
    const NOUN: &'static str = "a fate of late responses";

    fn read(text: &str) -> Result<Self, Unreadable> {
        text.parse().map_err(|_| Unreadable::Malformed)
    }
}

fn app_protocol(texts: &Texts, faults: &mut Vec<Fault>) -> Option<AppProtocol> {
    let reading: Reading<'_, AppProtocol> = Reading::find(texts, &keys::APP_PROTOCOL)?;
    faults.extend(reading.value.as_ref().err().map(|why| reading.unreadable(*why, "http1 or h2c")));
    reading.value.ok()
}

impl Syntax for AppProtocol {
    const NOUN: &'static str = "a version of HTTP";

    fn read(text: &str) -> Result<Self, Unreadable> {
        text.parse().map_err(|_| Unreadable::Malformed)
    }
}

fn deadline(texts: &Texts, key: &Key, faults: &mut Vec<Fault>) -> Option<Duration> {
    let reading: Reading<'_, GoDuration> = Reading::find(texts, key)?;
    let (shortest, longest) = DEADLINES;
    faults.extend(reading.outside(shortest, longest));
    reading.value.ok().map(GoDuration::to_std)
}

/// Reads a timeout of a part of the request, which is at most that of the whole; `None` is off.
fn partial_timeout(
    texts: &Texts,
    key: &Key,
    request_timeout: Duration,
    faults: &mut Vec<Fault>,
) -> Option<Duration> {
    let reading: Reading<'_, GoDuration> = Reading::find(texts, key)?;
    faults.extend(reading.outside(GoDuration::ZERO, request_timeout.into()));
    reading.value.ok().map(GoDuration::to_std).filter(|timeout| !timeout.is_zero())
}

/// Reads how long a connection may stay open; `None` is off.
pub(super) fn connection_limit(texts: &Texts, key: &Key, faults: &mut Vec<Fault>) -> Option<Duration> {
    let reading: Reading<'_, GoDuration> = Reading::find(texts, key)?;
    faults.extend(reading.neither_zero_nor_from(SHORTEST_STAY));
    reading.value.ok().map(GoDuration::to_std).filter(|limit| !limit.is_zero())
}

fn readiness_path(texts: &Texts, faults: &mut Vec<Fault>) -> Option<String> {
    let reading: Reading<'_, String> = Reading::find(texts, &keys::READINESS_PATH)?;
    let path = reading.text;
    if !path.starts_with('/') || path.contains('#') || path.parse::<PathAndQuery>().is_err() {
        let want = "a path that begins with /, for example /healthz";
        faults.push(reading.fault(FaultKind::Invalid, "is not an HTTP path", want));
    }
    Some(path.to_owned())
}
