//! A cluster on this machine, whose pods are `ebb sample-app`.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod burst;
mod failures;
mod scale_down;
mod shutdown;
mod split;
mod streams;
mod support;
mod zero;
