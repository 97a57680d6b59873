//! Holds requests for services that have no pod to take them, and forwards each as soon as a pod can.
//!
//! Each service has its own port, which identifies the service of a request. So does each route (`route`),
//! which chooses a service for each request. The activator keeps a stream to each autoscaler (`link`), of
//! which one leads: services and pods come down, reports of requests in flight go up. [`throttler`] decides
//! the order of held requests and their pods; it reads no clock and opens no socket.
//!
//! Read first: [`throttler::Throttler`], then `handler.rs`.

pub mod config;
mod errors;
mod gateway;
mod handler;
mod kind;
mod link;
mod memory;
mod metrics;
mod pod;
pub mod reporter;
mod route;
mod running;
mod service;
mod table;
pub mod throttler;

pub use config::{Config, GatewayConfig};
pub use gateway::{HostTable, Trusted};
pub use running::Activator;
pub use service::{HeldDispatch, Load};
