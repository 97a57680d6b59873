//! Tests of Ebb in a real Kubernetes, with real pods: the common code of the tests (`tests/`) and the benches
//! of cold starts.
//!
//! It uses the cluster of `KUBECONFIG`, from inside its network: pods and Services are reached by their
//! addresses. `e2e/run` sets such a cluster up. Nothing here depends on how Ebb works inside: it uses what
//! users see, which is the API, answers and metrics.
//!
//! Read [`Scenario`] first, then [`App`] and [`Front`], which a test puts into its namespace.

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
