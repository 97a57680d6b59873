//! The annotations for scaling, in the reference's words.
//!
//! The rules are those of [`ebb_annotations`]. What only Ebb refuses says why in its details.

use std::collections::BTreeMap;

use ebb_annotations::{ClusterDefaults, Fault, FaultKind, Reachability, compat, keys, keys::Key, parse};

use super::super::fault::Faults;

/// Annotations by key.
type Texts = BTreeMap<String, String>;

/// Returns what is wrong with the annotations, with their keys as paths.
pub(super) fn faults(annotations: &Texts, defaults: &ClusterDefaults) -> Faults {
    let shared = compat::faults(annotations, defaults);
    let parsed = parse(annotations, defaults, Reachability::Reachable);
    let beyond = parsed.as_ref().err().into_iter().flatten().filter(|fault| {
        // The deadline is not only for scaling; its words are elsewhere.
        !is(fault, &keys::PROGRESS_DEADLINE) && shared.iter().all(|known| known.key != fault.key)
    });
    let beyond: Faults = beyond.map(own_words).collect();
    let without_effect = parsed.iter().flat_map(|parsed| &parsed.warnings);
    let scaling = without_effect.filter(|warning| warning.key.starts_with(keys::SCALING_PREFIX));
    let warnings: Faults = scaling
        .map(|warning| {
            let text = warning.to_string();
            let words = text.strip_prefix(&format!("{}: ", warning.key)).unwrap_or(&text);
            Faults::generic(words, &warning.key).as_warnings()
        })
        .collect();
    shared
        .iter()
        .map(|fault| words(fault, annotations, defaults))
        .collect::<Faults>()
        .and(beyond)
        .and(warnings)
}

/// Says a fault that only Ebb has.
fn own_words(fault: &Fault) -> Faults {
    let Fault { key, value, problem, want, .. } = fault;
    Faults::invalid_value(value, key).with_details(format!("{value:?} {problem}; want {want}"))
}

/// Says a fault as the reference does.
fn words(fault: &Fault, annotations: &Texts, defaults: &ClusterDefaults) -> Faults {
    let said = match fault.kind {
        FaultKind::Invalid => None,
        FaultKind::OutOfBounds => bounds(fault, defaults).map(|(low, high)| {
            let value = &fault.value;
            format!("expected {low} <= {value} <= {high}")
        }),
        FaultKind::Other => other(fault, annotations, defaults),
    };
    match said {
        Some(text) => Faults::generic(text, &fault.key),
        None if is(fault, &keys::INITIAL_SCALE) => {
            Faults::invalid_value(&fault.value, &fault.key).with_details(format!("want {}", fault.want))
        }
        None => Faults::invalid_value(&fault.value, &fault.key),
    }
}

/// Returns the bounds that a value is out of.
fn bounds(fault: &Fault, defaults: &ClusterDefaults) -> Option<(String, String)> {
    let is_number = fault.value.parse::<i32>().is_ok_and(|value| value >= 0);
    let most = i32::MAX.to_string();
    let fixed = [
        (&keys::MIN_SCALE, "0", most.as_str()),
        (&keys::MAX_SCALE, "0", most.as_str()),
        (&keys::TARGET_UTILIZATION, "1", "100"),
        (&keys::PANIC_WINDOW, "1", "100"),
        (&keys::PANIC_THRESHOLD, "110", "1000"),
        (&keys::WINDOW, "6s", "1h0m0s"),
        (&keys::SCALE_DOWN_DELAY, "0s", "1h0m0s"),
        (&keys::POD_RETENTION, "0s", "1h0m0s"),
    ];
    match defaults.max_scale_limit {
        Some(limit) if is(fault, &keys::MAX_SCALE) && is_number => Some(("1".to_owned(), limit.to_string())),
        _ => {
            let (_, low, high) = fixed.into_iter().find(|(key, ..)| is(fault, key))?;
            Some((low.to_owned(), high.to_owned()))
        }
    }
}

/// Returns what is said of a value that is right by itself.
fn other(fault: &Fault, annotations: &Texts, defaults: &ClusterDefaults) -> Option<String> {
    let (min, max) = (scale(annotations, &keys::MIN_SCALE), scale(annotations, &keys::MAX_SCALE));
    let value = &fault.value;
    if is(fault, &keys::TARGET) {
        return Some(format!("target {value} should be at least 0.01"));
    }
    if is(fault, &keys::WINDOW) || is(fault, &keys::SCALE_DOWN_DELAY) {
        return Some("must be specified with at most second precision".to_owned());
    }
    if is(fault, &keys::ACTIVATION_SCALE) {
        let activation: i32 = value.parse().ok()?;
        return Some(match activation {
            _ if min > activation => format!("min-scale={min} is greater than activation-scale={activation}"),
            _ if max != 0 && max < activation => {
                format!("max-scale={max} is less than activation-scale={activation}")
            }
            _ => format!("activation-scale={activation} must be greater than 1"),
        });
    }
    if is(fault, &keys::MAX_SCALE) && max == 0 {
        let limit = defaults.max_scale_limit?;
        return Some(format!("max-scale=0 (unlimited), must be less than {limit}"));
    }
    let is_bound = is(fault, &keys::MIN_SCALE) || is(fault, &keys::MAX_SCALE);
    is_bound.then(|| format!("max-scale={max} is less than min-scale={min}"))
}

/// Returns whether a fault is of this setting, however it is spelled.
fn is(fault: &Fault, key: &Key) -> bool {
    key.spellings().any(|spelling| spelling == fault.key)
}

/// Returns a bound as the reference compares it: one that is no number of pods is 0.
fn scale(annotations: &Texts, key: &Key) -> i32 {
    let text = key.spellings().find_map(|spelling| annotations.get(spelling));
    text.and_then(|text| text.parse().ok()).map_or(0, |value: i32| value.max(0))
}
