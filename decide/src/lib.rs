//! Decides how many pods each service has, and where its traffic goes.
//!
//! Nothing here reads a clock, opens a socket or waits: `now` and the facts are arguments, and the actions
//! are return values. [`service`] combines [`windows`], [`decider`], [`zero`], [`sampling`], [`endpoints`]
//! and [`idle_first`] for one service, and [`table`] holds all services. [`route`] contains the routes, which
//! split requests between services; [`scheduler`] determines when each is due. The traits of [`platform`]
//! execute the actions and report the facts.
//!
//! Read first: [`service::ServiceState::evaluate`].

pub mod decider;
pub mod endpoints;
pub mod idle_first;
pub mod pending;
pub mod platform;
mod pod;
pub mod route;
pub mod sampling;
pub mod scheduler;
pub mod service;
pub mod table;
pub mod windows;
pub mod zero;

pub use pod::{Pod, PodAddress};
pub use table::Periods;
