//! Collects stats, decides by [`ebb_decide`], and carries out the decisions.
//!
//! One task serves all services (`runtime`): a service needs no task of its own, and an idle one no time. Platforms
//! differ only behind the traits of [`ebb_decide::platform`].
//!
//! Read first: [`ebb_decide::service::ServiceState::evaluate`], then `runtime/mod.rs`.

mod asks;
mod collector;
pub mod fixed;
mod link;
mod metrics;
mod route_views;
mod runtime;

pub use runtime::Autoscaler;
