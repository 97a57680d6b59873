//! From annotations to a [`ScalingSpec`].

mod spec;

pub use spec::{Aggregation, Metric, ScalingSpec, ServingSpec, TargetBurstCapacity};
