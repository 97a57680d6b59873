//! Ebb in a real Kubernetes, with real pods: what its tests (`tests/`) and the benches of cold starts need for that.
//!
//! Everything goes to the cluster of `KUBECONFIG`, from inside its network: pods and Services are reached by their
//! addresses. `e2e/run` sets such a cluster up. Nothing here knows how Ebb works inside: it sees what its users see, the
//! API, answers, metrics.
//!
//! Read [`Scenario`] first, then [`App`] and [`Front`]: what a test puts into its namespace.

mod cluster;
mod failures;
mod http;
mod load;
mod manifests;
mod place;
mod scenario;
mod system;
mod wait;

pub use cluster::{Cluster, Faults, Stopped, kubectl, run};
pub use http::{Answer, Lost, get, get_within, grpc, is_reachable, served, websocket};
pub use load::{Load, Report, Running, Shot};
pub use manifests::{ACTIVATOR_PORTS, App, Front, HTTP_PORT, SERVING_PORT};
pub use place::Place;
pub use scenario::{Endpoints, Scenario, alone, scenario};
pub use system::{Samples, System};
pub use wait::{LATE, SOON, eventually};
