//! What holds of every input that strangers write: annotations, reports of load, requests, questions of an API server.
//!
//! Each property is one function, which panics where the property does not hold. The property tests of the crate that
//! it is about call it with inputs that are nearly valid, the targets in `fuzz/` with whatever reaches code
//! that was not reached before. Nothing else says what must hold.

#[cfg(feature = "admission")]
pub mod admission_review;
pub mod annotations;
#[cfg(feature = "hop")]
pub mod connection_header;
#[cfg(feature = "hop")]
pub mod hop;
pub mod stats;
