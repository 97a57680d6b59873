//! Which revisions get a Service's requests.

use ebb_serving::api::TrafficTarget;

/// The share of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Share<'a> {
    percent: i64,
    /// Its tags, by which it is reached alone.
    pub(super) tags: Vec<&'a str>,
}

impl Share<'_> {
    /// Returns whether any requests reach the revision.
    pub(super) fn is_used(&self) -> bool {
        self.percent > 0 || !self.tags.is_empty()
    }
}

/// Returns the share of each revision, of which the last one is the latest.
///
/// # Errors
///
/// Returns every target that means no revision.
pub(super) fn resolve<'a>(
    targets: &'a [TrafficTarget],
    revisions: &[&str],
) -> Result<Vec<Share<'a>>, Vec<String>> {
    let mut shares = vec![Share::default(); revisions.len()];
    let mut problems = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let named = target.revision_name.as_deref().filter(|name| !name.is_empty());
        let share = match named {
            Some(name) => {
                revisions.iter().position(|revision| *revision == name).and_then(|at| shares.get_mut(at))
            }
            None => shares.last_mut(),
        };
        let Some(share) = share else {
            problems.push(format!(
                "spec.traffic[{index}].revisionName: {:?} is not there; want latestRevision: true, or {}. Put the \
                 Service as it was then before this one to have that revision too",
                named.unwrap_or_default(),
                revisions.join(", ")
            ));
            continue;
        };
        share.percent = share.percent.saturating_add(target.percent.unwrap_or(0));
        share.tags.extend(target.tag.as_deref().filter(|tag| !tag.is_empty()));
    }
    if problems.is_empty() { Ok(shares) } else { Err(problems) }
}

/// Returns the shares as Ebb's annotation has them.
pub(super) fn split(shares: &[Share<'_>], revisions: &[&str]) -> String {
    let shares = shares.iter().zip(revisions).filter(|(share, _)| share.percent > 0);
    shares.map(|(share, revision)| format!("{revision}={}", share.percent)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: &str = "";

    fn target(revision: &str, percent: Option<i64>, tag: &str) -> TrafficTarget {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        TrafficTarget { revision_name: text(revision), percent, tag: text(tag), ..TrafficTarget::default() }
    }

    #[test]
    fn the_latest_revision_is_the_last_and_shares_of_one_revision_add_up() {
        let targets = [
            target(LATEST, Some(20), "new"),
            target("a", Some(70), ""),
            target("b", Some(10), "same"),
            target("a", None, "old"),
        ];
        let shares = resolve(&targets, &["a", "b"]).unwrap();
        let all: Vec<(i64, &[&str])> = shares.iter().map(|share| (share.percent, &share.tags[..])).collect();
        assert_eq!(all, [(70, &["old"][..]), (30, &["new", "same"])]);
        assert_eq!(split(&shares, &["a", "b"]), "a=70, b=30");
    }

    #[test]
    fn a_revision_without_requests_is_not_used_but_one_with_a_tag_is() {
        let targets = [target(LATEST, Some(100), ""), target("b", Some(0), "b"), target("a", Some(0), "")];
        let shares = resolve(&targets, &["a", "b", "c"]).unwrap();
        let used: Vec<bool> = shares.iter().map(Share::is_used).collect();
        assert_eq!(used, [false, true, true]);
        assert_eq!(split(&shares, &["a", "b", "c"]), "c=100");
    }

    #[test]
    fn revisions_that_are_not_there_are_refused_with_those_that_are() {
        let targets = [target("x", Some(50), ""), target(LATEST, Some(50), ""), target("y", None, "t")];
        let problems = resolve(&targets, &["a", "b"]).unwrap_err();
        let starts = ["spec.traffic[0].revisionName: \"x\"", "spec.traffic[2].revisionName: \"y\""];
        assert_eq!(problems.len(), starts.len());
        for (problem, start) in problems.iter().zip(starts) {
            assert!(
                problem.starts_with(start) && problem.contains("latestRevision: true, or a, b."),
                "{problem}"
            );
        }
    }
}
