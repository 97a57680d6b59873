//! Holds the requests of services that have no pod to take them, and hands each to a pod as soon as one can.
//!
//! Each service has a port of its own here, so that the port tells whom a request is for; so has each route (`route`),
//! which chooses a service for each request. Which services
//! and pods there are comes down streams from the autoscalers (`link`), of which one leads; up the same streams
//! goes what is in flight. Who waits, who is next and which pod takes it is decided in [`throttler`], which reads no
//! clock and opens no socket.
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
