//! The resource requests and limits of the sidecar.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::quantity::thousandths;

/// The prefix of the reference's pod annotations for the sidecar's resources.
const PREFIX: &str = "queue.sidecar.serving.knative.dev/";
const PERCENTAGE: &str = "resource-percentage";
const PERCENTAGE_ALIAS: &str = "resourcePercentage";

/// A resource, its default request and limit, and the bounds of a share of the app's amount.
struct Resource {
    name: &'static str,
    /// Its name in annotations.
    spelled: &'static str,
    request: Amount,
    limit: Amount,
    /// The unit of a share, in thousandths, and its suffix.
    unit: (u64, &'static str),
}

struct Amount {
    default: Option<&'static str>,
    /// The bounds of a share, in thousandths; `None` if no share is taken.
    share: Option<(u64, u64)>,
}

const fn mebibytes(count: u64) -> u64 {
    count * 1024 * 1024 * 1000
}

/// The reference's bounds.
///
/// * CPU has no limit: throttling a sidecar delays every request (76 ms at the 95th percentile instead of 3, in a
///   report from the field), and its usage is bounded by the requests that the app takes.
/// * The memory request is the measured usage with a margin (3.1 MB idle, 6.4 MB after 600 000 requests). A limit
///   protects the node from a leak; it is far above the usage of some ten thousand connections, because killing the
///   sidecar loses the pod's requests.
const RESOURCES: [Resource; 3] = [
    Resource {
        name: "cpu",
        spelled: "cpu",
        request: Amount { default: Some("25m"), share: Some((25, 100)) },
        limit: Amount { default: None, share: Some((40, 500)) },
        unit: (1, "m"),
    },
    Resource {
        name: "memory",
        spelled: "memory",
        request: Amount { default: Some("16Mi"), share: Some((mebibytes(50), mebibytes(200))) },
        limit: Amount { default: Some("256Mi"), share: Some((mebibytes(200), mebibytes(500))) },
        unit: (1000, ""),
    },
    Resource {
        name: "ephemeral-storage",
        spelled: "ephemeral-storage",
        request: Amount { default: None, share: None },
        limit: Amount { default: None, share: None },
        unit: (1000, ""),
    },
];

type Annotations = BTreeMap<String, String>;
type Quantities = BTreeMap<String, Quantity>;

/// Where an amount comes from; an explicit one takes precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Default,
    Share,
    Said,
}

type Found = Option<(Source, String)>;

/// What the sidecar's resources are derived from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Beside<'a> {
    /// The resources of the app's container.
    App(Option<&'a ResourceRequirements>),
    /// The resources of the pod as a whole. Containers may not request more than the pod has, so the sidecar gets
    /// only explicit amounts: otherwise the pod could be refused.
    Pod,
}

/// Returns the sidecar's resources in a pod with `annotations`. Invalid annotations are ignored and reported in
/// `warnings`.
pub(super) fn resources(
    annotations: &Annotations,
    beside: Beside<'_>,
    warnings: &mut Vec<String>,
) -> ResourceRequirements {
    let (app, has_defaults) = match beside {
        Beside::App(app) => (app, true),
        Beside::Pod => (None, false),
    };
    let percentage = percentage(annotations, warnings);
    let (mut requests, mut limits) = (Quantities::new(), Quantities::new());
    for resource in &RESOURCES {
        let mut find = |which: &str, amount: &Amount, of_app: Option<&Quantities>| {
            let said = said(annotations, &format!("{}-resource-{which}", resource.spelled), warnings);
            let share = || {
                let app = thousandths(&of_app?.get(resource.name)?.0)?;
                Some((Source::Share, share(app, percentage?, amount.share?, resource.unit)))
            };
            let default =
                amount.default.filter(|_| has_defaults).map(|text| (Source::Default, text.to_owned()));
            said.or_else(share).or(default)
        };
        let request = find("request", &resource.request, app.and_then(|app| app.requests.as_ref()));
        let limit = find("limit", &resource.limit, app.and_then(|app| app.limits.as_ref()));
        let (request, limit) = agreeing(resource.name, request, limit, warnings);
        requests.extend(request.map(|(_, text)| (resource.name.to_owned(), Quantity(text))));
        limits.extend(limit.map(|(_, text)| (resource.name.to_owned(), Quantity(text))));
    }
    ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        ..ResourceRequirements::default()
    }
}

/// Parses an annotation with an amount.
fn said(annotations: &Annotations, key: &str, warnings: &mut Vec<String>) -> Found {
    let text = annotations.get(&format!("{PREFIX}{key}"))?;
    if thousandths(text).is_none() {
        warnings.push(format!("{PREFIX}{key}: {text:?} is not a quantity; want one like 100m or 64Mi"));
        return None;
    }
    Some((Source::Said, text.clone()))
}

fn percentage(annotations: &Annotations, warnings: &mut Vec<String>) -> Option<f64> {
    let find = |key| annotations.get(&format!("{PREFIX}{key}"));
    let text = find(PERCENTAGE).or_else(|| find(PERCENTAGE_ALIAS))?;
    match text.parse() {
        Ok(percentage) if (0.1..=100.0).contains(&percentage) => {
            warnings.push(format!(
                "{PREFIX}{PERCENTAGE}: deprecated; use {PREFIX}cpu-resource-request and the like"
            ));
            Some(percentage)
        }
        _ => {
            warnings.push(format!("{PREFIX}{PERCENTAGE}: {text:?} has no effect; want 0.1 to 100"));
            None
        }
    }
}

/// Returns `percentage` of the app's amount within `bounds`, as text in `unit`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts saturate, and what is negative or beyond is clamped"
)]
fn share(app: u64, percentage: f64, bounds: (u64, u64), unit: (u64, &str)) -> String {
    let share = (app as f64 * percentage / 100.0).round() as u64;
    let (least, most) = bounds;
    format!("{}{}", share.clamp(least, most).div_ceil(unit.0), unit.1)
}

/// Resolves a request above its limit, with which the API server would refuse the pod: an explicit amount takes
/// precedence, and of two explicit ones the request.
fn agreeing(name: &str, request: Found, limit: Found, warnings: &mut Vec<String>) -> (Found, Found) {
    let amount = |found: &Found| found.as_ref().and_then(|(_, text)| thousandths(text));
    if amount(&limit).is_none_or(|limit| amount(&request).unwrap_or(0) <= limit) {
        return (request, limit);
    }
    let rank = |found: &Found| found.as_ref().map(|(source, _)| *source);
    if rank(&limit) > rank(&request) {
        return (limit.clone(), limit);
    }
    if rank(&limit) == Some(Source::Said) {
        warnings.push(format!(
            "{PREFIX}{name}-resource-limit is below the request; the sidecar gets the request"
        ));
    }
    (request.clone(), request)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(annotations: &[(&str, &str)], app: Value) -> (Value, Vec<String>) {
        let annotations =
            annotations.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect();
        let app: ResourceRequirements = serde_json::from_value(app).unwrap();
        let mut warnings = Vec::new();
        let resources = resources(&annotations, Beside::App(Some(&app)), &mut warnings);
        (serde_json::to_value(resources).unwrap(), warnings)
    }

    #[test]
    fn what_nobody_says_is_small_and_cpu_has_no_limit() {
        let (resources, warnings) = with(&[], json!({"requests": {"cpu": "4", "memory": "8Gi"}}));
        assert_eq!(
            resources,
            json!({"requests": {"cpu": "25m", "memory": "16Mi"}, "limits": {"memory": "256Mi"}})
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_is_said_is_taken_as_it_is() {
        let said = [
            ("cpu-resource-request", "0.1"),
            ("cpu-resource-limit", "2"),
            ("memory-resource-request", "64Mi"),
            ("memory-resource-limit", "64Mi"),
            ("ephemeral-storage-resource-request", "1Mi"),
            ("ephemeral-storage-resource-limit", "1Gi"),
        ];
        let (resources, warnings) = with(&said, json!({}));
        assert_eq!(
            resources,
            json!({
                "requests": {"cpu": "0.1", "memory": "64Mi", "ephemeral-storage": "1Mi"},
                "limits": {"cpu": "2", "memory": "64Mi", "ephemeral-storage": "1Gi"},
            })
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_is_no_quantity_cannot_have_the_pod_refused() {
        let (resources, warnings) = with(&[("cpu-resource-request", "lots")], json!({}));
        assert_eq!(resources["requests"]["cpu"], json!("25m"));
        assert!(warnings[0].contains("cpu-resource-request") && warnings[0].contains("lots"), "{warnings:?}");
    }

    #[test]
    fn a_share_is_of_what_the_app_has_within_the_references_bounds() {
        let app = json!({
            "requests": {"cpu": "500m", "memory": "10Gi"}, "limits": {"cpu": "1", "memory": "3000Mi"},
        });
        let (resources, warnings) = with(&[("resource-percentage", "10")], app.clone());
        assert_eq!(
            resources,
            json!({
                "requests": {"cpu": "50m", "memory": (200 * 1024 * 1024).to_string()},
                "limits": {"cpu": "100m", "memory": (300 * 1024 * 1024).to_string()},
            })
        );
        assert!(warnings[0].contains("deprecated"));
        // If the app sets none, the default applies; and an explicit amount takes precedence.
        let (resources, _) = with(
            &[("resourcePercentage", "50"), ("cpu-resource-request", "1m")],
            json!({"limits": {"cpu": "1"}}),
        );
        assert_eq!(
            resources,
            json!({"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}})
        );
        for wrong in ["0", "101", "NaN", "inf", "x", ""] {
            let (resources, warnings) = with(&[("resource-percentage", wrong)], app.clone());
            assert_eq!(resources["requests"]["cpu"], json!("25m"), "{wrong}");
            assert_eq!(warnings.len(), 1, "{wrong}");
        }
    }

    #[test]
    fn beside_the_resources_of_a_whole_pod_only_what_is_said_counts() {
        let said = [("cpu-resource-limit".to_owned(), "1".to_owned())];
        let annotations = said.map(|(key, value)| (format!("{PREFIX}{key}"), value)).into();
        let resources = resources(&annotations, Beside::Pod, &mut Vec::new());
        assert_eq!(serde_json::to_value(resources).unwrap(), json!({"limits": {"cpu": "1"}}));
    }

    #[test]
    fn a_request_is_never_above_its_limit() {
        for (said, request, limit, warns) in [
            (&[("cpu-resource-limit", "10m")][..], "10m", "10m", false),
            (&[("cpu-resource-limit", "10m"), ("cpu-resource-request", "20m")], "20m", "20m", true),
        ] {
            let (resources, warnings) = with(said, json!({}));
            assert_eq!(
                (&resources["requests"]["cpu"], &resources["limits"]["cpu"]),
                (&json!(request), &json!(limit))
            );
            assert_eq!(!warnings.is_empty(), warns);
        }
        let (resources, _) = with(&[("memory-resource-request", "1Gi")], json!({}));
        assert_eq!(resources["limits"]["memory"], json!("1Gi"));
    }
}
