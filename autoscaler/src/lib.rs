//! autoscaler

pub mod decider;
pub mod sampling;
pub mod windows;
pub mod zero;
