//! What Ebb puts into pods and Services as they are made: the sidecar, and the selector's place.

mod certificate;
mod claims;
#[cfg(test)]
mod fixtures;
pub(crate) mod pod;
mod service;
mod tls;
mod validate;

pub use claims::Claims;
pub use pod::{PullPolicy, Settings};
