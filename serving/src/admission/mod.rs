//! What happens to objects before they are stored: [`defaults`], and refusals.
//!
//! The webhook (`webhook`, of the feature `program`) reads an object, and answers the API server. Each kind has a module
//! that finds its [`fault`]s.

pub mod configuration;
pub mod defaults;
pub mod diff;
pub mod domain_mapping;
pub mod fault;
mod hosts;
mod metadata;
pub mod names;
pub mod revision;
pub mod revision_object;
pub mod route;
pub mod service;
mod template;
mod traffic;
mod warnings;
#[cfg(feature = "program")]
pub mod webhook;
