//! Gathers stats, has what decides decide ([`ebb_decide`]), and carries out what that says.
//!
//! One task does it for all services (`runtime`): a service costs no task, and an idle one no time. What differs between
//! platforms is behind the traits of [`ebb_decide::platform`].
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
