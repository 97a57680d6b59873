//! A Kubernetes Probe as JSON, in the form in which the sidecar's environment carries it.
//!
//! Whoever makes the pod writes it ([`Probe::encode`]) and the sidecar reads it ([`Probe::decode`]); either
//! may be the reference's, so that both follow it to the letter: what it accepts, in which order it writes
//! keys, which characters it escapes. serde alone would refuse some texts that the reference accepts (keys in
//! another case, a key twice, half of a surrogate pair), hence the reading by hand in `decode`.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use decode::{InvalidProbe, MAX_BYTES};

/// How a container is asked, and how often. Zero, empty and `None` mean that nothing was said.
///
/// Kubernetes allows one way of asking; more than one is carried all the same, and is the reader's to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// A command that ends with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// A request that is answered with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// A connection that can be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocket>,
    /// A health check that is answered with `SERVING`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
    /// Before the first attempt, in seconds.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub initial_delay_seconds: i32,
    /// One attempt takes at most this long, in seconds.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub timeout_seconds: i32,
    /// Between two attempts, in seconds. 0 lets the reference's sidecar try all the time.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub period_seconds: i32,
    /// So many successes in a row make it ready.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub success_threshold: i32,
    /// So many failures in a row make it not ready.
    #[serde(skip_serializing_if = "encode::is_unset")]
    pub failure_threshold: i32,
    /// How long the pod has to end once the probe has failed, in seconds; unlike elsewhere, 0 is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
}

/// A command to run in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exec {
    /// The program and its arguments; no shell.
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
    /// Which host; empty is the pod's own address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// `HTTP` or `HTTPS`; empty is `HTTP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// Headers to send, in order; a name may come twice.
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

/// A connection to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpSocket {
    /// Where to.
    pub port: Port,
    /// Which host; empty is the pod's own address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// A health check of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grpc {
    /// Where to.
    pub port: i32,
    /// Of which service; `None` is of the whole server.
    pub service: Option<String>,
}

/// A port by number or by name. A number outside of 1 to 65535 is none that could be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Port {
    /// By number; 0 is unset.
    Number(i32),
    /// By the name that the container gives it.
    Name(String),
}

impl Default for Port {
    fn default() -> Self {
        Self::Number(0)
    }
}
