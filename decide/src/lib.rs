//! What decides: how many pods each service has, and where its traffic goes.
//!
//! Nothing here reads a clock, opens a socket or waits: `now` and the facts come as arguments, and what is to be done is
//! the answer. [`windows`], [`decider`], [`zero`], [`sampling`], [`endpoints`] and [`idle_first`] are put together for one
//! service in [`service`], and for all of them in [`table`]; those that divide requests between
//! services are in [`route`]; [`scheduler`] says when whose turn is. What carries it out,
//! and says what there is, is behind the traits of [`platform`].
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
