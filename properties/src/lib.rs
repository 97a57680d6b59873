//! What holds of every input that strangers write: annotations, and reports of load.
//!
//! Each property is one function, which panics where the property does not hold. The property tests of
//! `ebb-core` call it with inputs that are nearly valid, the targets in `fuzz/` with whatever reaches code
//! that was not reached before. Nothing else says what must hold.

pub mod annotations;
pub mod stats;
