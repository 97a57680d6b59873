//! Helpers for tests with annotations: they accept short keys, and return the messages of faults.

use std::num::NonZeroU32;

use super::{ClusterDefaults, Fault, Parsed, Reachability, ScalingSpec, full_key, parse, reading::Texts};

pub(super) fn texts(pairs: &[(&str, &str)]) -> Texts {
    pairs.iter().map(|(key, value)| (full_key(key), (*value).to_owned())).collect()
}

/// Parses with the cluster's default settings.
pub(super) fn parse_stock(pairs: &[(&str, &str)]) -> Result<Parsed, Vec<Fault>> {
    parse(&texts(pairs), &ClusterDefaults::default(), Reachability::Reachable)
}

#[track_caller]
pub(super) fn spec(pairs: &[(&str, &str)]) -> ScalingSpec {
    parse_stock(pairs).unwrap().spec
}

/// Returns the messages of annotations that are refused.
#[track_caller]
pub(super) fn refusal(pairs: &[(&str, &str)]) -> String {
    refusal_under(&ClusterDefaults::default(), pairs)
}

#[track_caller]
pub(super) fn refusal_under(defaults: &ClusterDefaults, pairs: &[(&str, &str)]) -> String {
    let faults = parse(&texts(pairs), defaults, Reachability::Reachable).unwrap_err();
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

pub(super) fn capped_at(pods: u32) -> ClusterDefaults {
    ClusterDefaults { max_scale: NonZeroU32::new(pods), ..ClusterDefaults::default() }
}
