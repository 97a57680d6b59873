//! Formats the autoscaler's answer about a route's rollout.

use std::time::Duration;

use ebb_annotations::GoDuration;
use serde_json::Value;

/// Formats `rollout`, which is `null` if none is under way.
pub(crate) fn lines(rollout: &Value) -> Vec<String> {
    let text = |name: &str| rollout[name].as_str().unwrap_or_default();
    let (Some(percent), from, to) = (rollout["percent"].as_f64(), text("from"), text("to")) else {
        return Vec::new();
    };
    let left = rollout["left_seconds"].as_f64().map(whole_seconds);
    let state = match (text("state"), left) {
        ("paused", _) => "paused".to_owned(),
        ("waiting", _) => format!("waits: {}", text("why")),
        ("stopped", _) => format!("stopped: {}", text("why")),
        (_, Some(left)) => format!("{left} left if nobody has to be waited for"),
        (_, None) => "under way".to_owned(),
    };
    vec![format!("rollout from {from} to {to}: {percent:.1} % done; {state}")]
}

/// Rounds up to whole seconds: `6m30s`.
pub(crate) fn whole_seconds(seconds: f64) -> GoDuration {
    let seconds = Duration::try_from_secs_f64(seconds.max(0.0).ceil());
    GoDuration::from(seconds.unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_is_one_line_and_none_is_none() {
        assert_eq!(lines(&Value::Null), [""; 0]);
        let rollout = |state: &str| {
            json!({
                "from": "v1=100", "to": "v2=100", "before": "v1=100", "percent": 34.5, "state": state,
                "why": "v2: no image", "over_seconds": 600.0, "left_seconds": 389.2,
            })
        };
        for (state, wanted) in [
            ("moving", "6m30s left if nobody has to be waited for"),
            ("paused", "paused"),
            ("waiting", "waits: v2: no image"),
            ("stopped", "stopped: v2: no image"),
        ] {
            let line = format!("rollout from v1=100 to v2=100: 34.5 % done; {wanted}");
            assert_eq!(lines(&rollout(state)), [line]);
        }
    }
}
