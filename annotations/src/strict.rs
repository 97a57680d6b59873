//! The rules that only Ebb has: it refuses values that the reference accepts but cannot honor.

use super::{
    admission,
    annotations::{Annotations, value_of},
    defaults::ClusterDefaults,
    duration::GoDuration,
    fault::{Fault, FaultKind},
    keys::{self, KPA_CLASS, Key},
    reading::{Reading, Texts},
};

/// Returns all faults by these rules, some of which the shared rules may also report.
pub(super) fn faults(
    texts: &Texts,
    annotations: &Annotations<'_>,
    defaults: &ClusterDefaults,
) -> impl Iterator<Item = Fault> {
    keys::KNOWN
        .iter()
        .filter_map(|key| contradictory_spellings(texts, key))
        .chain(class(annotations, defaults))
        .chain(admission::aggregation(annotations))
        .chain(not_finite(annotations))
        .chain(wide_initial_scale(annotations))
        .chain(progress_deadline(annotations))
        .chain(effective_bounds(annotations, defaults))
}

fn contradictory_spellings(texts: &Texts, key: &Key) -> Option<Fault> {
    let alias = key.alias?;
    let (value, other) = (texts.get(key.name)?, texts.get(alias)?);
    (value != other).then(|| Fault {
        key: key.name.to_owned(),
        value: value.clone(),
        kind: FaultKind::Other,
        problem: format!("contradicts {other:?} of {alias}"),
        want: "one of the two keys".to_owned(),
    })
}

fn class(annotations: &Annotations<'_>, defaults: &ClusterDefaults) -> Option<Fault> {
    let class = annotations.class_or(&defaults.class);
    (class != KPA_CLASS).then(|| class_not_offered(keys::CLASS.name, class))
}

/// Returns the fault of any class except the one that scales by requests.
pub(super) fn class_not_offered(key: &str, class: &str) -> Fault {
    Fault {
        key: key.to_owned(),
        value: class.to_owned(),
        kind: FaultKind::Invalid,
        problem: "is not offered, Ebb scales by requests".to_owned(),
        want: format!("{KPA_CLASS}, or no class at all"),
    }
}

fn not_finite(annotations: &Annotations<'_>) -> impl Iterator<Item = Fault> {
    [
        &annotations.target,
        &annotations.target_utilization,
        &annotations.target_burst_capacity,
        &annotations.panic_window,
        &annotations.panic_threshold,
    ]
    .into_iter()
    .flatten()
    .filter_map(Reading::not_finite)
}

/// The reference accepts 64 bits; then one of its programs ignores such values and another truncates them.
fn wide_initial_scale(annotations: &Annotations<'_>) -> Option<Fault> {
    annotations.initial_scale.as_ref()?.outside(0, i64::from(i32::MAX))
}

/// The reference accepts zero, which Kubernetes then refuses.
fn progress_deadline(annotations: &Annotations<'_>) -> Option<Fault> {
    annotations.progress_deadline.as_ref()?.not_whole_seconds_from(GoDuration::from_secs(1))
}

/// The reference only compares annotations with each other; here the values in effect must fit together.
/// Reachability is ignored, because what is accepted must not depend on the current state.
fn effective_bounds(annotations: &Annotations<'_>, defaults: &ClusterDefaults) -> Vec<Fault> {
    let Some(max) = max_in_effect(annotations, defaults) else { return Vec::new() };
    [
        LowerBound::new("min-scale", annotations.min_scale.as_ref(), i64::from(defaults.min_scale)),
        LowerBound::new(
            "initial-scale",
            annotations.initial_scale.as_ref(),
            i64::from(defaults.initial_scale),
        ),
        LowerBound::new("activation-scale", annotations.activation_scale.as_ref(), 0),
    ]
    .into_iter()
    .filter_map(|bound| bound.fault_above(max, annotations.max_scale.as_ref()))
    .collect()
}

/// Returns the most pods: the annotation's, or the cluster's; `None` is unlimited.
pub(super) fn max_in_effect(annotations: &Annotations<'_>, defaults: &ClusterDefaults) -> Option<i64> {
    let annotated = value_of(annotations.max_scale.as_ref()).map(i64::from);
    let max = annotated.or_else(|| defaults.max_scale.map(|max| i64::from(max.get())));
    max.filter(|max| *max > 0)
}

/// A lower bound in effect, and its source.
struct LowerBound<'a> {
    name: &'static str,
    pods: i64,
    /// The key and the text; `None` if the cluster's default is in effect.
    annotation: Option<(&'static str, &'a str)>,
}

impl<'a> LowerBound<'a> {
    fn new<T: Copy + Into<i64>>(name: &'static str, reading: Option<&Reading<'a, T>>, default: i64) -> Self {
        let annotation = reading.map(|reading| (reading.key, reading.text));
        Self { name, pods: value_of(reading).map_or(default, Into::into), annotation }
    }

    /// Returns the fault of a bound above `max`, for the annotated setting: the bound itself, or else
    /// `max_scale`.
    fn fault_above(&self, max: i64, max_scale: Option<&Reading<'_, i32>>) -> Option<Fault> {
        if self.pods <= max {
            return None;
        }
        let Some((key, text)) = self.annotation else {
            let problem = format!("is less than the cluster's {} of {}", self.name, self.pods);
            let want = format!("0 (unlimited) or at least {}", self.pods);
            return max_scale.map(|max_scale| max_scale.fault(FaultKind::Other, problem, want));
        };
        Some(Fault {
            key: key.to_owned(),
            value: text.to_owned(),
            kind: FaultKind::Other,
            problem: format!("is more than the max-scale of {max} in effect"),
            want: format!("at most {max}"),
        })
    }
}
