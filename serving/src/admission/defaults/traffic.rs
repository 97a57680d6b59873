//! Defaults of traffic.

use crate::api::TrafficTarget;

/// Fills in a ksvc's traffic: without any, all of it goes to the latest revision that is ready.
pub(super) fn default_service_traffic(targets: &mut Vec<TrafficTarget>) {
    if targets.is_empty() {
        targets.push(TrafficTarget {
            percent: Some(100),
            latest_revision: Some(true),
            ..TrafficTarget::default()
        });
    }
    default_targets(targets);
}

/// Fills in targets.
pub fn default_targets(targets: &mut [TrafficTarget]) {
    for target in targets {
        let is_pinned = target.revision_name.as_deref().is_some_and(|name| !name.is_empty());
        target.latest_revision = target.latest_revision.or(Some(!is_pinned));
        target.percent = target.percent.or(Some(0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn targets_say_whether_they_follow_the_latest_revision_and_their_share() {
        for (targets, wanted) in [
            (json!([]), json!([{"percent": 100, "latestRevision": true}])),
            (json!([{"tag": "a"}]), json!([{"tag": "a", "percent": 0, "latestRevision": true}])),
            (
                json!([{"revisionName": "r", "percent": 100}, {"revisionName": ""}]),
                json!([
                    {"revisionName": "r", "percent": 100, "latestRevision": false},
                    {"revisionName": "", "percent": 0, "latestRevision": true},
                ]),
            ),
            (
                json!([{"revisionName": "r", "latestRevision": true, "percent": 3}]),
                json!([{"revisionName": "r", "latestRevision": true, "percent": 3}]),
            ),
        ] {
            let mut targets: Vec<TrafficTarget> = serde_json::from_value(targets).unwrap();
            default_service_traffic(&mut targets);
            assert_eq!(serde_json::to_value(&targets).unwrap(), wanted);
        }
    }
}
