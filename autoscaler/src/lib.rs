//! Gathers stats into windows, decides how many pods each service has, and says where its traffic goes.
//!
//! What decides is pure and takes `now`: [`windows`], [`decider`], [`zero`], [`sampling`], [`endpoints`],
//! [`idle_first`], put together for one service in [`service`], and for all of them in [`services`]. One task
//! carries it out (`runtime`): a service costs no task, and an idle one no time. What differs between platforms is
//! behind the three traits of [`platform`].
//!
//! Read first: [`service::ServiceState::evaluate`], then `runtime/mod.rs`.

mod caught;
mod collector;
pub mod decider;
pub mod endpoints;
pub mod fixed;
pub mod idle_first;
pub mod injector;
pub mod kubernetes;
pub mod leader;
mod link;
mod metrics;
mod pending;
pub mod platform;
mod runtime;
pub mod sampling;
pub mod scheduler;
pub mod service;
pub mod services;
pub mod windows;
pub mod zero;

pub use runtime::Autoscaler;
pub use services::Periods;
