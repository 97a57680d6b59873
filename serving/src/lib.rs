//! Knative Serving's API as a translator to annotated Services.
//!
//! [`api`] has the kinds. What was [`seen`] of the cluster is read by one module for each kind, which returns an
//! [`outcome`]: the status that an object should have, and what to write. Nothing of that waits, or reads a clock. What
//! does is the feature `program`, which is on by default.

pub mod admission;
pub mod api;
pub mod conditions;
pub mod config;
pub mod configuration;
pub mod domain_mapping;
pub mod gc;
#[cfg(feature = "program")]
pub mod health;
pub mod image;
pub mod keys;
pub mod names;
pub mod outcome;
pub mod owned;
#[cfg(feature = "program")]
pub mod registry;
pub mod revision;
pub mod route;
pub mod seen;
pub mod service;
#[cfg(feature = "program")]
pub mod shell;
#[cfg(feature = "program")]
pub mod world;
