//! Ebb in a real Kubernetes. One program, because the scenarios that break something for all have to wait for the others.

mod components;
mod failing;
mod faults;
mod gateway;
mod http_routes;
mod names;
mod protocols;
mod refusals;
mod routes;
mod updates;
mod zero;
