//! One machine as a cluster: a pod is a process with `PORT` in its environment and its own queue-proxy.
//!
//! The activator, the autoscaler and the queue-proxies here are the libraries that run in a Kubernetes
//! cluster, and they communicate over the same HTTP, on loopback. Only the counterparts of Kubernetes are
//! local: `fleet` scales pods, `front` is a Service's address, and [`process`] is the kubelet.
//!
//! Read first: [`Cluster`], then `pod/mod.rs`.

mod cluster;
pub mod cold_start;
pub mod config;
pub mod container;
mod fleet;
mod front;
mod pod;
pub mod process;

pub use cluster::{Api, Cluster, DEFAULT_API, Options, ServiceStatus, StartError};
pub use cold_start::{ColdStart, Phases};
pub use pod::{PodPhase, PodStatus};
pub use process::{Line, Stream};
