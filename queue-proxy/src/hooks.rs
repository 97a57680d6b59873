//! The kubelet's `preStop` hooks, which make containers stop in the right order.
//!
//! When a pod is deleted, the kubelet calls the hooks of all containers at once, and sends SIGTERM to each container
//! when its hook has returned. An ordinary sidecar has no hook, so it gets SIGTERM first. A native sidecar gets
//! SIGTERM only after all other containers have ended: its own hook calls `/drain`, which tells it in time. In both
//! cases, the other containers of the pod use `/wait-for-drain`.
//!
//! `/wait-for-drain` never starts a drain, because the kubelet also calls it when it restarts only the app, after its
//! liveness probe failed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::headers;
use ebb_proxy::{Handler, Reply, RequestBody, ResponseBody};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::time::timeout;
use tracing::warn;

use crate::{handler::Sidecar, observe::wrong_target};

/// For the app's hook.
const WAIT_FOR_DRAIN: &str = "/wait-for-drain";
/// For a native sidecar's own hook.
const DRAIN: &str = "/drain";

/// If no drain started before a container's hook was called, or within this time after it, only that container is
/// being restarted.
const RESTART_ONLY: Duration = Duration::from_secs(1);

/// Answers hooks when the drain has reached the point at which the app may stop.
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

/// Returns whether a request contains the pod's secret. The kubelet calls from its node, and every pod of the cluster
/// can reach the port, so only a secret that was given to the kubelet or to Ebb identifies them. Without a secret,
/// nobody is allowed.
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
