use std::{io, sync::Arc};

use ebb_proxy::{FetchError, Upstream, fetch};
use http::{HeaderValue, Request, StatusCode, header};
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

use super::probe::{Probe, ProbeKind};

/// The answer to a probe is read up to this length; only its status matters.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why the app does not count as ready.
#[derive(Debug, Error)]
pub(super) enum NotReady {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("no answer to the probe: {0}")]
    NoAnswer(#[from] FetchError),
    #[error("the probe was answered with {0}")]
    Status(StatusCode),
    #[error("the probe is no valid request: {0}")]
    Invalid(#[from] http::Error),
}

/// Tries the app once.
pub(super) async fn attempt(probe: &Probe, app: &Arc<Upstream>) -> Result<(), NotReady> {
    match &probe.kind {
        ProbeKind::Tcp => {
            timeout(probe.timeout, TcpStream::connect(app.address()))
                .await
                .map_err(|_| NotReady::ConnectTimeout)??;
            Ok(())
        }
        ProbeKind::Http { path, headers } => {
            let mut request = headers
                .iter()
                .fold(Request::get(path), |request, (name, value)| request.header(name, value))
                .body(())?;
            // The probe's own word goes first, as with the kubelet; two `Host` lines would be refused.
            let own = request.headers_mut();
            if !own.contains_key(header::HOST) {
                let host = HeaderValue::try_from(app.address().to_string());
                own.insert(header::HOST, host.map_err(http::Error::from)?);
            }
            own.entry(header::USER_AGENT).or_insert(HeaderValue::from_static("kube-probe/ebb"));
            let answer = fetch(app, request, MAX_ANSWER_BYTES, probe.timeout).await?;
            let status = answer.status();
            if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(NotReady::Status(status)) }
        }
    }
}
