//! One attempt of a probe, as the kubelet would make it: on its own connection.

use std::{io, net::SocketAddr};

use ebb_proxy::{
    BodyError, ForwardError,
    net::{Liveness, connect},
};
use http::StatusCode;
use thiserror::Error;
use tokio::time::Instant;

use super::{
    grpc, http_get,
    probe::{Probe, ProbeKind},
};

/// Why the app does not count as ready.
#[derive(Debug, Error)]
pub(super) enum NotReady {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no answer to the probe: {0}")]
    NoAnswer(#[from] ForwardError),
    #[error("the answer to the probe broke off: {0}")]
    BrokeOff(#[from] BodyError),
    #[error("the probe was answered with {0}")]
    Status(StatusCode),
    #[error("the probe was sent on more than {0} times")]
    Redirects(usize),
    #[error("the health check was answered with grpc-status {0}")]
    GrpcStatus(String),
    #[error("the health check was answered with {0:?}")]
    Health(grpc::ServingStatus),
    #[error("the answer to the health check is invalid")]
    NoHealth,
    #[error("the probe is not a valid request: {0}")]
    Invalid(#[from] http::Error),
}

/// Tries the app at `address` once.
pub(super) async fn attempt(probe: &Probe, address: SocketAddr) -> Result<(), NotReady> {
    let deadline = Instant::now() + probe.timeout;
    match &probe.kind {
        ProbeKind::Tcp => {
            connect(address, probe.timeout, Liveness::POD).await?;
            Ok(())
        }
        ProbeKind::Http { path, headers } => http_get::attempt(address, path, headers, deadline).await,
        ProbeKind::Grpc { service } => grpc::attempt(address, service, deadline).await,
    }
}
