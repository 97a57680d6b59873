//! The kubelet's `preStop` hooks, by which containers stop in the right order.
//!
//! The kubelet calls the hooks of all containers at once when a pod is deleted, and sends each its SIGTERM when its
//! hook has been answered. An ordinary sidecar has no hook, so that SIGTERM comes to it first of all. A native one gets
//! SIGTERM only when all others have ended: `/drain` is its own hook, and tells it in time. Containers of the pod have
//! `/wait-for-drain` for theirs, in either case.
//!
//! That one never begins a drain: the kubelet calls it just so when it restarts the app alone, because of its liveness
//! probe.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::headers;
use ebb_proxy::{Handler, Reply, RequestBody, ResponseBody};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::time::timeout;
use tracing::warn;

use crate::{handler::Sidecar, observe::wrong_target};

/// The app's.
const WAIT_FOR_DRAIN: &str = "/wait-for-drain";
/// A native sidecar's own.
const DRAIN: &str = "/drain";

/// A container's hook before which, and for so long after which, no drain began, was a restart of that container alone.
const RESTART_ONLY: Duration = Duration::from_secs(1);

/// Answers hooks when the drain has come so far that the app may stop.
#[derive(Debug)]
pub(crate) struct AdminHandler {
    pub(crate) sidecar: Arc<Sidecar>,
}

impl Handler for AdminHandler {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<ResponseBody<()>> {
        if let Some(wrong) = wrong_target(&request, &[WAIT_FOR_DRAIN, DRAIN]) {
            return wrong;
        }
        let drain = &self.sidecar.drain;
        if request.uri().path() == DRAIN {
            if !knows_secret(request.headers(), self.sidecar.config.nonce.as_deref()) {
                warn!(%peer, "refused to drain: the nonce is missing or wrong");
                let text = format!("want {} with EBB_POD_NONCE, which must be set", headers::POD_NONCE);
                return Reply::new(StatusCode::FORBIDDEN, "stranger", text).into_response();
            }
            drain.leave();
        }
        if timeout(RESTART_ONLY, drain.leaving()).await.is_ok() {
            drain.ended().await;
        }
        Response::new(ResponseBody::own(""))
    }
}

/// Whether a request brings the pod's secret. The kubelet calls from its node and every pod of the cluster can reach the
/// port: only what was said to the kubelet, or to Ebb, alone tells them from others. Without a secret there is no telling:
/// nobody may.
pub(crate) fn knows_secret(given: &HeaderMap, nonce: Option<&str>) -> bool {
    nonce.is_some_and(|nonce| given.get(headers::POD_NONCE).is_some_and(|given| given == nonce))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_pods_secret_may_drain_it() {
        for (ours, given, may) in [
            (Some("secret"), Some("secret"), true),
            (Some("secret"), Some("guess"), false),
            (Some("secret"), None, false),
            (None, Some("secret"), false),
            (None, None, false),
        ] {
            let mut request = HeaderMap::new();
            request.extend(given.map(|given| (headers::POD_NONCE, given.parse().unwrap())));
            assert_eq!(knows_secret(&request, ours), may, "{ours:?} {given:?}");
        }
    }
}
