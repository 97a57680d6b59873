//! Events about the rollouts of a route.

use std::time::Duration;

use ebb_annotations::{GoDuration, split_text};
use ebb_decide::route::rollout::Progress;

/// Whether it is a warning, the Event's reason in one word, and its text.
type News = (bool, &'static str, String);

/// Returns why a rollout has stopped; `None` if it has not.
pub(super) fn stopped(progress: &Progress) -> Option<String> {
    let way = progress.under_way.as_ref().filter(|way| !way.stopped.is_empty())?;
    let percent = f64::from(way.done) / 10.0;
    Some(format!(
        "the rollout to {} has stopped at {percent:.1} %: {}",
        split_text(&progress.to),
        way.stopped
    ))
}

/// Returns the news since `before` for a route that approaches its split in `over`.
pub(super) fn news(before: Option<&Progress>, now: Option<&Progress>, over: Option<Duration>) -> Vec<News> {
    let under_way =
        |progress: Option<&Progress>| progress.is_some_and(|progress| progress.under_way.is_some());
    let goes_on = under_way(before) && before.map(|before| &before.to) == now.map(|now| &now.to);
    let mut news = Vec::new();
    match now.and_then(|now| now.under_way.as_ref().map(|way| (now, way))) {
        Some((now, way)) if !goes_on => {
            let over = GoDuration::from(over.unwrap_or_default());
            let (from, to) = (split_text(&way.from), split_text(&now.to));
            news.push((false, "RolloutStarted", format!("from {from} to {to} in {over}")));
        }
        None if under_way(before) => {
            let text = match now {
                Some(now) => format!("the split {} holds", split_text(&now.to)),
                None => "the split holds: ebb.dev/split-duration is off".to_owned(),
            };
            news.push((false, "RolloutDone", text));
        }
        _ => {}
    }
    let is_told = |text: &String| before.and_then(stopped).is_some_and(|told| why(&told) == why(text));
    news.extend(
        now.and_then(stopped).filter(|text| !is_told(text)).map(|text| (true, "RolloutStopped", text)),
    );
    news
}

/// Returns the cause in the text: a stop with another cause is a new one.
fn why(text: &str) -> Option<&str> {
    text.split_once(" %: ").map(|(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(text: &str) -> Progress {
        Progress::read(text).unwrap()
    }

    fn told(before: Option<&str>, now: Option<&str>) -> Vec<(&'static str, String)> {
        let (before, now) = (before.map(progress), now.map(progress));
        let news = news(before.as_ref(), now.as_ref(), Some(Duration::from_secs(600)));
        news.into_iter().map(|(_, reason, text)| (reason, text)).collect()
    }

    #[test]
    fn each_thing_is_told_once() {
        let settled = r#"{"to":"v1=1"}"#;
        let begun = r#"{"from":"v1=1","to":"v2=1","before":"v1=1","done":10}"#;
        let further = r#"{"from":"v1=1","to":"v2=1","before":"v1=1","done":345}"#;
        let stopped = r#"{"from":"v1=1","to":"v2=1","before":"v1=1","done":345,"stopped":"v2: no image"}"#;
        let elsewhere = r#"{"from":"v1=6, v2=3","to":"v3=1","before":"v1=1","done":0}"#;
        let started = || ("RolloutStarted", "from v1=1 to v2=1 in 10m".to_owned());
        let failed = ("RolloutStopped", "the rollout to v2=1 has stopped at 34.5 %: v2: no image".to_owned());
        assert_eq!(told(None, Some(settled)), []);
        assert_eq!(told(Some(settled), Some(begun)), [started()]);
        assert_eq!(told(None, Some(stopped)), [started(), failed.clone()]);
        assert_eq!(told(Some(begun), Some(further)), []);
        assert_eq!(told(Some(further), Some(stopped)), [failed]);
        assert_eq!(told(Some(stopped), Some(stopped)), []);
        assert_eq!(told(Some(stopped), Some(further)), []);
        let started = ("RolloutStarted", "from v1=6, v2=3 to v3=1 in 10m".to_owned());
        assert_eq!(told(Some(further), Some(elsewhere)), [started]);
        assert_eq!(told(Some(stopped), Some(settled)), [("RolloutDone", "the split v1=1 holds".to_owned())]);
        assert_eq!(told(Some(further), None).len(), 1);
        assert_eq!(told(Some(settled), None), []);
    }
}
