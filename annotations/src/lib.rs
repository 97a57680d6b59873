//! Turns annotations into a [`ScalingSpec`], once and completely: [`parse`] reports all faults at the same
//! time, and no other code reads annotations.
//!
//! `admission` decides what the reference accepts, and `effective` computes its values; both are tested
//! against the reference case by case ([`compat`]). In addition, Ebb refuses what the reference accepts but
//! cannot honor (`strict`): numbers that are not finite, bounds that contradict the cluster's, and two
//! spellings of a key with different values.

mod admission;
mod annotations;
mod binding;
pub mod compat;
mod defaults;
mod duration;
mod effective;
mod exposure;
mod extensions;
mod fault;
#[cfg(test)]
mod fixtures;
mod hex_float;
mod hint;
pub mod keys;
mod number;
mod parse;
mod reading;
mod route;
mod schedule;
mod second_signal;
mod serving;
mod settings;
mod spec;
mod strict;
mod syntax;

pub use binding::{Binding, ScaleTarget, Sidecar, read_generation};
pub use defaults::ClusterDefaults;
pub use duration::GoDuration;
pub use effective::{Effective, Reachability};
pub use exposure::{Exposure, parse_allowed_hosts, usable_hosts};
pub use fault::{Fault, FaultKind, Hint, Warning};
pub use hint::closest;
pub use keys::full_key;
pub use parse::{Parsed, parse};
pub use route::{
    MOST_TARGETS, ParsedRoute, RouteSpec, Share, SplitBy, is_route, parse_route, read_split, split_text,
};
pub use schedule::{Schedule, Scheduled};
pub use spec::{Aggregation, Metric, Rules, ScalingSpec, ServingSpec, Signal, TargetBurstCapacity};
pub use syntax::{Unreadable, boolean};
