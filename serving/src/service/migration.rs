//! Whether requests go where a Route was asked to send them.

use std::collections::BTreeMap;

use crate::api::{Configuration, Route, TrafficTarget};

/// Returns whether the status of `route` divides requests as its spec asks, with the `configuration`'s latest ready
/// revision in place of the Configuration.
///
/// Targets of the same revision and tag count as one, in the spec as in the status. Those without a tag and without
/// requests do not count.
pub(super) fn is_done(route: &Route, configuration: Option<&Configuration>) -> bool {
    let status = configuration.and_then(|configuration| configuration.status.as_ref());
    let latest = status.and_then(|status| status.latest.latest_ready_revision_name.as_deref());
    let got = route.status.as_ref().map(|status| status.traffic.as_slice()).unwrap_or_default();
    shares(&route.spec.traffic, latest) == shares(got, latest)
}

/// Returns the percentages by tag and revision.
fn shares<'a>(
    targets: &'a [TrafficTarget],
    latest: Option<&'a str>,
) -> BTreeMap<(Option<&'a str>, Option<&'a str>), i64> {
    let mut shares = BTreeMap::new();
    for target in targets {
        let tag = target.tag.as_deref().filter(|tag| !tag.is_empty());
        let named = target.revision_name.as_deref().filter(|revision| !revision.is_empty());
        let percent = target.percent.unwrap_or_default();
        if tag.is_none() && percent == 0 {
            continue;
        }
        let share: &mut i64 = shares.entry((tag, named.or(latest))).or_default();
        *share = share.saturating_add(percent);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ConfigurationSpec, ConfigurationStatus, RouteSpec, RouteStatus};

    /// Reads `TAG=REVISION*PERCENT`, with `-` for what is missing.
    fn targets(text: &str) -> Vec<TrafficTarget> {
        let field = |text: &str| Some(text.to_owned()).filter(|text| text != "-");
        let target = |text: &str| {
            let (tag, rest) = text.split_once('=').unwrap();
            let (revision, percent) = rest.split_once('*').unwrap();
            let percent = field(percent).map(|percent| percent.parse().unwrap());
            TrafficTarget {
                tag: field(tag),
                revision_name: field(revision),
                percent,
                ..TrafficTarget::default()
            }
        };
        text.split_whitespace().map(target).collect()
    }

    #[test]
    fn targets_are_compared_after_those_that_mean_the_same_became_one() {
        let table = [
            ("-=-*100", "-=r2*100", true),
            ("-=-*100", "-=r1*100", false),
            ("-=-*100", "-=r1*90 -=r2*10", false),
            ("-=r1*50 -=r1*50", "-=r1*100", true),
            ("-=r1*50 -=-*50", "-=r2*50 -=r1*50", true),
            ("-=-*50 -=r2*50", "-=r2*100", true),
            ("current=r1*100 latest=-*-", "current=r1*100 latest=r2*0", true),
            ("current=r1*100 latest=-*-", "current=r1*100 latest=r1*0", false),
            ("current=r1*100 latest=-*-", "current=r1*100", false),
            ("-=r1*100 -=r2*0", "-=r1*100", true),
            ("a=r1*100", "b=r1*100", false),
            ("-=r1*9223372036854775807 -=r1*1", "-=r1*9223372036854775807", true),
            ("-=-*100", "", false),
        ];
        let mut configuration = Configuration::new("hello", ConfigurationSpec::default());
        let mut status = ConfigurationStatus::default();
        status.latest.latest_ready_revision_name = Some("r2".to_owned());
        configuration.status = Some(status);
        for (wanted, got, is_same) in table {
            let mut route = Route::new("hello", RouteSpec { traffic: targets(wanted) });
            route.status = Some(RouteStatus { traffic: targets(got), ..RouteStatus::default() });
            assert_eq!(is_done(&route, Some(&configuration)), is_same, "{wanted} / {got}");
        }
    }

    #[test]
    fn nothing_is_migrated_to_a_configuration_without_a_ready_revision() {
        let mut route = Route::new("hello", RouteSpec { traffic: targets("-=-*100") });
        route.status = Some(RouteStatus { traffic: targets("-=r1*100"), ..RouteStatus::default() });
        assert!(!is_done(&route, None));
    }
}
