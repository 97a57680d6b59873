//! A Kubernetes Probe as JSON, as the sidecar's environment contains it.
//!
//! The injector writes it ([`Probe::encode`]) and the sidecar reads it ([`Probe::decode`]). Either may be the
//! reference's, so both match it exactly: what it accepts, the order of keys, and which characters it escapes. serde
//! alone would refuse some texts that the reference accepts (keys in another case, a key twice, a lone surrogate), so
//! `decode` parses by hand.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use decode::{InvalidProbe, MAX_BYTES};

/// How and how often a container is probed. Zero, empty and `None` mean unset.
///
/// Kubernetes allows only one kind of action; more than one is still decoded, for the caller to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// A command that must succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// A request that must succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// A connection that must be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocket>,
    /// A health check that must return `SERVING`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
    /// The delay before the first attempt, in seconds.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub initial_delay_seconds: i32,
    /// The time limit of an attempt, in seconds.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub timeout_seconds: i32,
    /// The pause between attempts, in seconds. With 0, the reference's sidecar probes continuously.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub period_seconds: i32,
    /// The number of consecutive successes that make it ready.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub success_threshold: i32,
    /// The number of consecutive failures that make it not ready.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub failure_threshold: i32,
    /// The grace period of the pod after the probe has failed, in seconds; unlike in other fields, 0 is a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
}

/// A command to run in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exec {
    /// The program and its arguments, without a shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// A request to send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGet {
    /// Path and query.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Where to.
    pub port: Port,
    /// The host; empty means the pod's own address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// `HTTP` or `HTTPS`; empty means `HTTP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// Headers to send, in order; a name may occur more than once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_headers: Vec<Header>,
}

/// A header of an [`HttpGet`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A connection to open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpSocket {
    /// Where to.
    pub port: Port,
    /// The host; empty means the pod's own address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// A gRPC health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grpc {
    /// Where to.
    pub port: i32,
    /// The service to check; `None` means the whole server.
    pub service: Option<String>,
}

/// A port by number or by name. Numbers outside of 1 to 65535 cannot be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Port {
    /// By number; 0 is unset.
    Number(i32),
    /// By its name in the container.
    Name(String),
}

impl Default for Port {
    fn default() -> Self {
        Self::Number(0)
    }
}
