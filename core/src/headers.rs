//! Headers that the programs send to each other. Headers from outside that only Ebb may set ([`FOR_EBB_ALONE`]) are
//! removed at the edge.

use http::{HeaderMap, HeaderName};

/// Asks a component to prove that it is in the path; the value names the component.
pub const PROBE: HeaderName = HeaderName::from_static("k-network-probe");
/// A text that an ingress expects back with its probe.
pub const PROBE_HASH: HeaderName = HeaderName::from_static("k-network-hash");
/// The value of [`PROBE`] that a queue-proxy answers to.
pub const PROBE_QUEUE: &str = "queue";
/// The value of [`PROBE`] that an activator answers to.
pub const PROBE_ACTIVATOR: &str = "activator";
/// Prefix of the kubelet's user agent.
pub const KUBE_PROBE_AGENT: &str = "kube-probe/";
/// User agent of the activator's probes.
pub const ACTIVATOR_PROBE_AGENT: &str = "Knative-Activator-Probe";
/// User agent of the autoscaler's probes.
pub const AUTOSCALER_PROBE_AGENT: &str = "Knative-Autoscaling-Probe";
/// On a probe of a queue-proxy: milliseconds to hold the answer until the app is ready (a held probe).
pub const PROBE_HOLD_MS: HeaderName = HeaderName::from_static("ebb-probe-hold-ms");
/// On every answer to a probe: a queue-proxy answered, whatever the status.
pub const PROBED_BY: HeaderName = HeaderName::from_static("ebb-probed");
/// Marks a kubelet's probe that was rewritten.
pub const KUBELET_PROBE: HeaderName = HeaderName::from_static("k-kubelet-probe");
/// Names the proxy that a request came through.
pub const PROXY_REQUEST: HeaderName = HeaderName::from_static("k-proxy-request");
/// The value of [`PROXY_REQUEST`] that the activator sets.
pub const PROXY_ACTIVATOR: &str = "activator";
/// The secret of one pod; a sender that knows it is trusted as Ebb.
pub const POD_NONCE: HeaderName = HeaderName::from_static("ebb-pod-nonce");
/// The client's `Host`, if a proxy replaced it.
pub const ORIGINAL_HOST: HeaderName = HeaderName::from_static("k-original-host");
/// The revision that a request is for (the reference's ports only).
pub const REVISION: HeaderName = HeaderName::from_static("knative-serving-revision");
/// The namespace of [`REVISION`].
pub const NAMESPACE: HeaderName = HeaderName::from_static("knative-serving-namespace");
/// On an error reply made by Ebb: the rule that caused it, in one word.
pub const REASON: HeaderName = HeaderName::from_static("ebb-reason");
/// On an error reply of a queue-proxy: what happened to the request ([`crate::fate::Fate`]). An activator decides by
/// it whether the request may be sent elsewhere.
pub const FATE: HeaderName = HeaderName::from_static("ebb-fate");

/// Headers that only Ebb's own programs may set.
pub static FOR_EBB_ALONE: [HeaderName; 9] = [
    PROBE,
    PROBE_HASH,
    PROBE_HOLD_MS,
    KUBELET_PROBE,
    PROXY_REQUEST,
    POD_NONCE,
    ORIGINAL_HOST,
    REVISION,
    NAMESPACE,
];

/// Returns whether `fields` has any of `names`. It searches `fields`, because most requests have few headers and none
/// of `names`.
pub fn has_any(fields: &HeaderMap, names: &[HeaderName]) -> bool {
    fields.keys().any(|name| names.contains(name))
}

/// Removes all of `names` from `fields`.
pub fn remove_all(fields: &mut HeaderMap, names: &[HeaderName]) {
    if has_any(fields, names) {
        for name in names {
            fields.remove(name);
        }
    }
}
