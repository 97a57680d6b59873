//! How a Revision is scaled and served, as annotations of its Service.

use std::collections::BTreeMap;

use ebb_annotations::{
    Reachability,
    keys::{self as ebb, Key, SCALING_PREFIX},
    parse,
};
use ebb_core::LateResponse;
use kube::ResourceExt;

use super::{cluster, labels::Texts};
use crate::{api::Revision, config::Config, keys, names::child};

/// What the name of a Revision's Deployment ends with.
const DEPLOYMENT: &str = "-deployment";
/// The routing state of a Revision to which no Route sends requests.
const RESERVE: &str = "reserve";

/// Annotations of a template that its Service gets as they are, beside all for scaling.
const PASSED: [Key; 18] = [
    ebb::PROGRESS_DEADLINE,
    ebb::QUEUE_DEPTH,
    ebb::ACTIVATION_DEADLINE,
    ebb::MAX_CONNECTION_AGE,
    ebb::TUNNEL_IDLE_TIMEOUT,
    ebb::LATE_RESPONSE,
    ebb::READINESS_PATH,
    ebb::APP_PROTOCOL,
    ebb::COMPATIBILITY,
    ebb::STARTUP_AWARE,
    ebb::MAX_STARTING_PODS,
    ebb::IDLE_FIRST,
    ebb::TARGET_CONCURRENCY,
    ebb::TARGET_RPS,
    ebb::SCHEDULE,
    ebb::SIDECAR,
    ebb::MOUNT_TOKEN,
    ebb::RESTART,
];
/// Annotations that are made from fields of the Revision.
const WRITTEN: [Key; 5] = [
    ebb::SCALE_TARGET,
    ebb::CONTAINER_CONCURRENCY,
    ebb::REQUEST_TIMEOUT,
    ebb::RESPONSE_START_TIMEOUT,
    ebb::IDLE_TIMEOUT,
];
/// What keeps pods without requests.
const MINIMUMS: [Key; 3] = [ebb::MIN_SCALE, ebb::INITIAL_SCALE, ebb::SCHEDULE];

/// Returns the name of the Deployment of a Revision.
pub(crate) fn deployment_name(revision: &Revision) -> String {
    child(&revision.name_any(), DEPLOYMENT)
}

/// Returns whether no Route sends requests to the Revision any more.
pub(super) fn is_in_reserve(revision: &Revision) -> bool {
    revision.labels().get(keys::ROUTING_STATE).is_some_and(|state| state == RESERVE)
}

/// Returns the annotations of the Revision's Service. A Revision to which no Route sends requests has no minimum.
pub fn annotations(revision: &Revision, config: &Config) -> BTreeMap<String, String> {
    let mut annotations = while_reached(revision, config);
    if is_in_reserve(revision) {
        annotations.retain(|key, _| !is_one_of(&MINIMUMS, key));
    }
    annotations
}

/// Returns whether the Service has an annotation only if it is written here.
pub(super) fn is_ours(key: &str) -> bool {
    key.starts_with(SCALING_PREFIX) || is_one_of(&PASSED, key) || is_one_of(&WRITTEN, key)
}

/// Returns the number of pods that a new Revision needs before requests are sent to it.
pub(super) fn initial_pods(revision: &Revision, config: &Config) -> i32 {
    let defaults = &config.autoscaler;
    let pods = match parse(&while_reached(revision, config), defaults, Reachability::Reachable) {
        Ok(parsed) => parsed.spec.active_threshold(false),
        // Ebb refuses the annotations too, so that no pod starts.
        Err(_) => defaults.initial_scale,
    };
    i32::try_from(pods).unwrap_or(i32::MAX)
}

fn while_reached(revision: &Revision, config: &Config) -> Texts {
    let passed = revision.annotations().iter();
    let passed = passed.filter(|(key, _)| key.starts_with(SCALING_PREFIX) || is_one_of(&PASSED, key));
    let mut annotations: Texts = passed.map(|(key, value)| (key.clone(), value.clone())).collect();
    cluster::complete(&mut annotations, &revision.spec, config);
    annotations.extend(from_fields(revision, config).map(|(key, value)| (key.name.to_owned(), value)));
    annotations
}

fn from_fields(revision: &Revision, config: &Config) -> impl Iterator<Item = (Key, String)> {
    let spec = &revision.spec;
    let timeout = timeout_seconds(revision, config);
    // The reference accepts anything here. A limit that could never be reached is none.
    let within = |seconds: Option<i64>| seconds.filter(|seconds| (1..timeout).contains(seconds));
    let limit = spec.container_concurrency.filter(|limit| *limit > 0);
    let seconds = |seconds: i64| format!("{seconds}s");
    // The API promises that a response that has begun ends with 200 when its time is over.
    let is_said = revision.annotations().contains_key(ebb::LATE_RESPONSE.name);
    [
        (ebb::SCALE_TARGET, Some(format!("Deployment/{}", deployment_name(revision)))),
        (ebb::CONTAINER_CONCURRENCY, limit.map(|limit| limit.to_string())),
        (ebb::REQUEST_TIMEOUT, Some(seconds(timeout))),
        (ebb::RESPONSE_START_TIMEOUT, within(spec.response_start_timeout_seconds).map(seconds)),
        (ebb::IDLE_TIMEOUT, within(spec.idle_timeout_seconds).map(seconds)),
        (ebb::LATE_RESPONSE, (!is_said).then(|| LateResponse::End.word().to_owned())),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
}

/// Returns how long a request to the Revision may take, in seconds.
pub(super) fn timeout_seconds(revision: &Revision, config: &Config) -> i64 {
    let own = revision.spec.timeout_seconds.filter(|seconds| *seconds > 0);
    own.unwrap_or(config.defaults.timeout_seconds).max(1)
}

fn is_one_of(keys: &[Key], key: &str) -> bool {
    keys.iter().flat_map(Key::spellings).any(|spelling| spelling == key)
}
