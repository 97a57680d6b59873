//! Tests of Ebb in a real Kubernetes. They are one program, because scenarios that break something for all
//! must run alone.

mod components;
mod failing;
mod faults;
mod gateway;
mod http_routes;
mod names;
mod protocols;
mod refusals;
mod routes;
mod serving;
mod updates;
mod zero;
