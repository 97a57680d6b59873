//! The progress of a rollout, as it is written down for the next leader to continue.

use ebb_annotations::{Share, read_split, split_text};
use serde_json::{Value, json};

use super::weights::{WHOLE, rollout};

/// The most characters kept of the reason why a rollout stopped.
const MOST_OF_WHY: usize = 300;

/// The current split, or the target of the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The split.
    pub to: Vec<Share>,
    /// The rollout under way; `None` if the split holds.
    pub under_way: Option<UnderWay>,
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// The split when it began.
    pub from: Vec<Share>,
    /// The last split that held. The rollout began there, or had another target before this one.
    pub before: Vec<Share>,
    /// How much of the way is done: less than [`WHOLE`].
    pub done: u16,
    /// Why it stopped; empty unless a growing service has failed.
    pub stopped: String,
}

impl Progress {
    /// Returns the current split.
    pub fn weights(&self) -> Vec<Share> {
        match &self.under_way {
            Some(way) => rollout(&way.from, &self.to, way.done),
            None => self.to.clone(),
        }
    }

    /// Formats it for an annotation, to be read by [`Self::read`].
    pub fn text(&self) -> String {
        let to = split_text(&self.to);
        let value = match &self.under_way {
            None => json!({ "to": to }),
            Some(way) => {
                let mut value = json!({
                    "from": split_text(&way.from),
                    "to": to,
                    "before": split_text(&way.before),
                    "done": way.done,
                });
                if !way.stopped.is_empty() {
                    value["stopped"] = way.stopped.chars().take(MOST_OF_WHY).collect::<String>().into();
                }
                value
            }
        };
        value.to_string()
    }

    /// Reads what [`Self::text`] wrote; returns `None` if the text has another format.
    pub fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let split = |name: &str| value.get(name).and_then(Value::as_str).and_then(read_split);
        let to = split("to")?;
        if value.get("from").is_none() {
            return Some(Self { to, under_way: None });
        }
        let done = value.get("done").and_then(Value::as_u64).and_then(|done| u16::try_from(done).ok());
        let stopped = value.get("stopped").and_then(Value::as_str).unwrap_or_default();
        let way = UnderWay {
            from: split("from")?,
            before: split("before")?,
            done: done.filter(|done| *done < WHOLE)?,
            stopped: stopped.chars().take(MOST_OF_WHY).collect(),
        };
        Some(Self { to, under_way: Some(way) })
    }

    /// Returns whether it is the same rollout as `other`, at any progress.
    pub(in crate::route) fn is_same_way(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (&self.under_way, &other.under_way) else { return false };
        (&self.to, &own.from, &own.before) == (&other.to, &others.from, &others.before)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<Share> {
        read_split(text).unwrap()
    }

    fn under_way(stopped: &str) -> Progress {
        let way =
            UnderWay { from: split("v1=1"), before: split("v1=1"), done: 340, stopped: stopped.to_owned() };
        Progress { to: split("v1=0, v2=100"), under_way: Some(way) }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = r#"{"before":"v1=1","done":340,"from":"v1=1","to":"v1=0, v2=100"}"#;
        assert_eq!(under_way("").text(), text);
        for progress in [
            under_way(""),
            under_way("pod \"x\": no\nimage"),
            Progress { to: split("v1=1"), under_way: None },
        ] {
            assert_eq!(Progress::read(&progress.text()), Some(progress));
        }
        let long = Progress::read(&under_way(&"ä".repeat(1000)).text()).unwrap();
        assert_eq!(long, under_way(&"ä".repeat(MOST_OF_WHY)));
    }

    #[test]
    fn what_is_none_of_ours_is_not_taken() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"to":"V1=1"}"#,
            r#"{"to":1}"#,
            r#"{"to":"v1=1","from":"v2=1","done":1}"#,
            r#"{"to":"v1=1","from":"v2=1","before":"v2=1","done":1000}"#,
            r#"{"to":"v1=1","from":"v2=1","before":"v2=1","done":-1}"#,
            r#"{"to":"v1=1","from":"v2=0","before":"v2=1","done":1}"#,
        ] {
            assert_eq!(Progress::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[{}\[\]":,a-z0-9=-]*"#) {
            if let Some(progress) = Progress::read(&text) {
                prop_assert_eq!(Progress::read(&progress.text()), Some(progress));
            }
        }
    }
}
