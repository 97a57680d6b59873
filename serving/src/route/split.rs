//! How the requests of one Service of a Route are divided, and how a new division is reached.

use std::{collections::BTreeMap, time::Duration};

use ebb_annotations::{GoDuration, Share, keys as ebb, read_split, split_text};
use ebb_decide::route::rollout::Progress;
use kube::ResourceExt;

use super::{front::SOURCES, target::Target};
use crate::{api::Route, config::Config, keys, seen::Front};

/// The longest rollout that Ebb takes.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The weight of a tag's target.
const WHOLE: u32 = 100;

/// How requests are divided, as wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Division {
    /// The Revisions, sorted by name; those without a share are not in it.
    pub(super) shares: Vec<Share>,
    /// The same before targets became Revisions, as text.
    pub(super) sources: String,
}

/// How a division is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    /// The value of `ebb.dev/split-duration`; `None` if the division holds at once.
    pub(super) over: Option<String>,
    /// What holds now, while the division is being approached.
    pub(super) present: Option<Vec<Share>>,
    /// Why it is approached no further.
    pub(super) stopped: Option<String>,
}

/// Returns the divisions of a Route by tag; the empty tag is the Route itself.
pub(super) fn divisions(targets: &[Target]) -> BTreeMap<&str, Division> {
    let mut parts: BTreeMap<&str, Vec<(&Target, u32)>> = BTreeMap::new();
    for target in targets {
        if target.percent > 0 {
            parts.entry("").or_default().push((target, target.percent));
        }
        if !target.tag.is_empty() {
            parts.entry(&target.tag).or_default().push((target, WHOLE));
        }
    }
    parts.into_iter().map(|(tag, parts)| (tag, division(&parts))).collect()
}

fn division(parts: &[(&Target, u32)]) -> Division {
    let (mut shares, mut sources) = (BTreeMap::<&str, u32>::new(), BTreeMap::<String, u32>::new());
    for (target, weight) in parts {
        *shares.entry(&target.revision).or_default() += weight;
        *sources.entry(target.source()).or_default() += weight;
    }
    let share = |(revision, weight): (&str, u32)| Share { service: revision.to_owned(), weight };
    let source = |(source, weight): (String, u32)| format!("{source}={weight}");
    Division {
        shares: shares.into_iter().map(share).collect(),
        sources: sources.into_iter().map(source).collect::<Vec<_>>().join(", "),
    }
}

/// Returns how a Service reaches its division. Only a new Revision of the same targets is approached in steps: what a
/// user changes holds at once.
pub(super) fn pace(front: Option<&Front>, division: &Division, over: Option<Duration>) -> Pace {
    let Some(front) = front else { return Pace::default() };
    let text = |key: &str| front.annotations.get(key).map(String::as_str);
    let Some(before) = text(ebb::SPLIT.name).and_then(read_split) else { return Pace::default() };
    if text(SOURCES) != Some(&division.sources) {
        return Pace::default();
    }
    let kept = text(ebb::ROLLOUT.name).and_then(Progress::read);
    let over = over.map(|over| GoDuration::from(over.min(LONGEST)).to_string());
    let same = before == division.shares;
    let is_reached = |kept: &Progress| kept.under_way.is_none() && kept.to == division.shares;
    match (same, text(ebb::SPLIT_DURATION.name)) {
        (true, None) => Pace::default(),
        // Without a reason to write, it stays as it is.
        (true, Some(last)) if kept.as_ref().is_some_and(is_reached) => {
            Pace { over: Some(last.to_owned()), ..Pace::default() }
        }
        _ if over.is_none() => Pace::default(),
        _ => {
            let way = kept.as_ref().and_then(|kept| kept.under_way.as_ref());
            let stopped = way.map(|way| way.stopped.clone()).filter(|why| !why.is_empty());
            let present = kept.as_ref().map_or(before, Progress::weights);
            Pace { over, present: Some(present), stopped }
        }
    }
}

/// Returns how long a Route takes to send requests to a new Revision; `None` is at once. A duration that cannot be read
/// counts as none, because the webhook refuses it.
pub(super) fn duration(route: &Route, config: &Config) -> Option<Duration> {
    let annotations = route.annotations();
    let text =
        [keys::ROLLOUT_DURATION, keys::ROLLOUT_DURATION_OLD].iter().find_map(|key| annotations.get(*key));
    let own = text.and_then(|text| text.parse::<GoDuration>().ok()).filter(|own| own.as_nanos() > 0);
    let duration = own.map_or(config.network.rollout_duration, GoDuration::to_std);
    // Ebb takes whole steps of a second.
    (duration >= Duration::from_secs(1)).then_some(duration)
}

/// Returns the annotations of a division.
pub(super) fn annotations(division: &Division, pace: &Pace) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::from([
        (ebb::SPLIT.name, split_text(&division.shares)),
        (SOURCES, division.sources.clone()),
    ]);
    all.extend(pace.over.clone().map(|over| (ebb::SPLIT_DURATION.name, over)));
    all
}
