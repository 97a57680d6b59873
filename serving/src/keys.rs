//! The labels and annotations of the API.

/// The ksvc that an object belongs to.
pub const SERVICE: &str = "serving.knative.dev/service";
/// The uid of that ksvc.
pub const SERVICE_UID: &str = "serving.knative.dev/serviceUID";
/// The Configuration that a Revision belongs to.
pub const CONFIGURATION: &str = "serving.knative.dev/configuration";
/// The uid of that Configuration.
pub const CONFIGURATION_UID: &str = "serving.knative.dev/configurationUID";
/// The generation of the Configuration that a Revision was made from, as decimal digits.
pub const CONFIGURATION_GENERATION: &str = "serving.knative.dev/configurationGeneration";
/// The Revision that a Deployment, a Service or a pod belongs to.
pub const REVISION: &str = "serving.knative.dev/revision";
/// The uid of that Revision; pods are selected by it.
pub const REVISION_UID: &str = "serving.knative.dev/revisionUID";
/// The Route that a Service belongs to.
pub const ROUTE: &str = "serving.knative.dev/route";
/// The Routes that send requests to a Revision or to one of a Configuration's: sorted names with commas.
pub const ROUTES: &str = "serving.knative.dev/routes";
/// Whether a Route names a Revision: `pending`, `active` or `reserve`.
pub const ROUTING_STATE: &str = "serving.knative.dev/routingState";
/// When the routing state changed (RFC 3339).
pub const ROUTING_STATE_MODIFIED: &str = "serving.knative.dev/routingStateModified";
/// `"true"` keeps a Revision from garbage collection.
pub const NO_GC: &str = "serving.knative.dev/no-gc";
/// Who created an object.
pub const CREATOR: &str = "serving.knative.dev/creator";
/// Who changed an object's spec last.
pub const LAST_MODIFIER: &str = "serving.knative.dev/lastModifier";
/// How long a gradual rollout takes.
pub const ROLLOUT_DURATION: &str = "serving.knative.dev/rollout-duration";
/// An older spelling of [`ROLLOUT_DURATION`].
pub const ROLLOUT_DURATION_OLD: &str = "serving.knative.dev/rolloutDuration";
/// How long a Revision may take to become ready.
pub const PROGRESS_DEADLINE: &str = "serving.knative.dev/progress-deadline";
/// Tells a change of what a Deployment should be.
pub const DEPLOYMENT_HASH: &str = "serving.knative.dev/deployment-hash";
/// `cluster-local` keeps a Route from the gateway's public hosts.
pub const VISIBILITY: &str = "networking.knative.dev/visibility";
/// What `kubectl apply` wrote last; it is nobody else's.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
