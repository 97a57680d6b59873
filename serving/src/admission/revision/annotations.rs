//! The annotations of a template that Ebb reads, except those for scaling.

use std::collections::BTreeMap;

use ebb_annotations::GoDuration;

use super::{
    super::fault::{Faults, HERE},
    quantity::nanos,
    scaling,
};
use crate::{config::Config, keys};

/// The prefix of annotations for the network.
const NETWORKING: &str = "networking.knative.dev";
/// Those that are known.
const KNOWN_NETWORKING: [&str; 9] = [
    "networking.knative.dev/ingress-class",
    "networking.knative.dev/ingress.class",
    "networking.knative.dev/certificate-class",
    "networking.knative.dev/certificate.class",
    "networking.knative.dev/disable-external-domain-tls",
    "networking.knative.dev/disableAutoTLS",
    "networking.knative.dev/disable-auto-tls",
    "networking.knative.dev/http-protocol",
    "networking.knative.dev/httpOption",
];
/// The spellings of the sidecar's share of the app's resources, in percent.
const PERCENTAGE: [&str; 2] = [
    "queue.sidecar.serving.knative.dev/resource-percentage",
    "queue.sidecar.serving.knative.dev/resourcePercentage",
];
/// The bounds of that share.
const PERCENTAGES: (f64, f64) = (0.1, 100.0);
/// The sidecar's resources.
const QUANTITIES: [&str; 6] = [
    "queue.sidecar.serving.knative.dev/cpu-resource-request",
    "queue.sidecar.serving.knative.dev/cpu-resource-limit",
    "queue.sidecar.serving.knative.dev/memory-resource-request",
    "queue.sidecar.serving.knative.dev/memory-resource-limit",
    "queue.sidecar.serving.knative.dev/ephemeral-storage-resource-request",
    "queue.sidecar.serving.knative.dev/ephemeral-storage-resource-limit",
];

/// Annotations by key.
type Texts = BTreeMap<String, String>;

/// Returns what is wrong with the annotations, with their keys as paths.
pub(super) fn faults(annotations: &Texts, config: &Config) -> Faults {
    scaling::faults(annotations, &config.autoscaler)
        .and(networking(annotations))
        .and(percentage(annotations))
        .and(quantities(annotations))
        .and(progress_deadline(annotations))
}

fn networking(annotations: &Texts) -> Faults {
    let unknown = annotations
        .keys()
        .filter(|key| key.starts_with(NETWORKING) && !KNOWN_NETWORKING.contains(&key.as_str()));
    unknown.map(|key| Faults::invalid_key(key, HERE)).collect()
}

fn percentage(annotations: &Texts) -> Faults {
    let Some((key, text)) = PERCENTAGE.iter().find_map(|key| Some((*key, annotations.get(*key)?))) else {
        return Faults::default();
    };
    let (low, high) = PERCENTAGES;
    match text.parse::<f64>() {
        Err(_) => Faults::invalid_value(text, key),
        Ok(share) if share.is_nan() => Faults::invalid_value(text, key),
        Ok(share) if (low..=high).contains(&share) => Faults::default(),
        Ok(share) => Faults::out_of_bounds(share, low, high, key),
    }
}

fn quantities(annotations: &Texts) -> Faults {
    let given = QUANTITIES.iter().filter_map(|key| Some((*key, annotations.get(*key)?)));
    let wrong = given.filter(|(_, text)| nanos(text).is_none_or(|nanos| nanos < 0));
    wrong.map(|(key, text)| Faults::invalid_value(text, key)).collect()
}

/// Returns the fault of a deadline that is no time at all, or no whole number of seconds. Unlike the reference, 0 is
/// refused here, and not by the Deployment.
fn progress_deadline(annotations: &Texts) -> Faults {
    let key = keys::PROGRESS_DEADLINE;
    let Some(text) = annotations.get(key) else { return Faults::default() };
    match text.parse::<GoDuration>() {
        Err(_) => Faults::invalid_value(text, key),
        Ok(deadline) if !deadline.is_whole_seconds() => {
            Faults::generic(format!("progress-deadline={text} is not at second precision"), key)
        }
        Ok(deadline) if deadline <= GoDuration::ZERO => {
            Faults::generic(format!("progress-deadline={text} must be positive"), key)
        }
        Ok(_) => Faults::default(),
    }
}
