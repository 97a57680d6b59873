//! The condition `ebb.dev/InEffect` of a Service: whether activators have applied what its owner numbered with
//! `ebb.dev/generation`.
//!
//! [`decide`] is a pure function. Once the condition is true for a number, it stays true while activators and leaders
//! come and go; only what is wrong with the Service itself ends that.

use ebb_core::Tick;
use ebb_decide::platform::Applied;
use k8s_openapi::{
    api::core::v1::ServiceStatus,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use serde_json::{Value, json};

/// The condition's type.
pub(crate) const TYPE: &str = "ebb.dev/InEffect";

/// Maximum length of a condition's message in the API, in bytes.
const MAX_MESSAGE: usize = 32_768;

/// What is known about what a Service asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State<'a> {
    /// The owner's number; `None` if it wants no condition.
    pub(crate) generation: Option<i64>,
    /// The condition that the Service has.
    pub(crate) shown: Option<&'a Condition>,
    /// What is wrong with it, with the reason in one word.
    pub(crate) wrong: Option<&'a (&'static str, String)>,
    /// What must be known before activators can apply it.
    pub(crate) lacks: Option<&'a str>,
    /// How far activators have applied it; `None` before they were asked.
    pub(crate) applied: Option<&'a Applied>,
}

/// What the condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    generation: i64,
    status: &'static str,
    reason: &'static str,
    message: String,
}

/// What to do with the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is as it should be.
    Keep,
    /// Remove it.
    Remove,
    /// Write this.
    Show(Finding),
    /// Write this unless it is over soon.
    ShowIfItLasts(Finding),
}

/// Decides what to do with the condition.
pub(crate) fn decide(state: State<'_>) -> Decision {
    let Some(generation) = state.generation else {
        return if state.shown.is_some() { Decision::Remove } else { Decision::Keep };
    };
    let finding = |status, reason, message: &str| {
        let message = beginning(message).to_owned();
        Finding { generation, status, reason, message }
    };
    if let Some((reason, text)) = state.wrong {
        return show(state.shown, finding("False", reason, text));
    }
    if state.shown.is_some_and(|shown| is_true_for(shown, generation)) {
        return Decision::Keep;
    }
    let is_false =
        |shown: &Condition| shown.status == "False" && shown.observed_generation == Some(generation);
    if state.lacks.is_some() && state.shown.is_some_and(is_false) {
        // What was wrong may be known only after a while, as to a leader that has just begun.
        return Decision::Keep;
    }
    let pending = |why: &str| finding("Unknown", "Pending", why);
    let unknown = match (state.lacks, state.applied) {
        (Some(why), _) => pending(why),
        (None, None) => pending("activators are being told"),
        (None, Some(Applied::Everywhere)) => {
            return show(state.shown, finding("True", "InEffect", "all activators have applied it"));
        }
        (None, Some(Applied::Pending(name))) => pending(&format!("activator {name} has not applied it yet")),
        (None, Some(Applied::Unbound)) => pending("no activator can listen on its port"),
        (None, Some(Applied::Untold(name))) => finding(
            "Unknown",
            "OlderActivator",
            &format!("activator {name} is of an older version, which does not say what it has applied"),
        ),
        (None, Some(Applied::Nowhere)) => finding("Unknown", "NoActivator", "no activator is connected"),
    };
    match show(state.shown, unknown) {
        Decision::Show(finding) => Decision::ShowIfItLasts(finding),
        other => other,
    }
}

/// Returns whether the condition is true for that number, so that activators need not be asked again.
pub(crate) fn is_true_for(shown: &Condition, generation: i64) -> bool {
    shown.status == "True" && shown.observed_generation == Some(generation)
}

fn show(shown: Option<&Condition>, finding: Finding) -> Decision {
    let is_shown = shown.is_some_and(|shown| {
        (shown.status.as_str(), shown.reason.as_str(), &shown.message)
            == (finding.status, finding.reason, &finding.message)
            && shown.observed_generation == Some(finding.generation)
    });
    if is_shown { Decision::Keep } else { Decision::Show(finding) }
}

/// Returns as much of a message as the API accepts.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_MESSAGE)]
}

impl Finding {
    /// Returns a strategic merge patch of the Service's status, which leaves the conditions of others as they are.
    pub(crate) fn patch(self, shown: Option<&Condition>, now: Tick) -> Value {
        let since =
            shown.filter(|shown| shown.status == self.status).map(|shown| shown.last_transition_time.clone());
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let since = since
            .unwrap_or_else(|| Time(jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)));
        let condition = Condition {
            type_: TYPE.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message,
            observed_generation: Some(self.generation),
            last_transition_time: since,
        };
        json!({"status": {"conditions": [condition]}})
    }
}

/// Returns a strategic merge patch that removes the condition.
pub(crate) fn removal() -> Value {
    json!({"status": {"conditions": [{"$patch": "delete", "type": TYPE}]}})
}

/// Returns the condition in a Service's status.
pub(crate) fn shown(status: Option<&ServiceStatus>) -> Option<&Condition> {
    status?.conditions.iter().flatten().find(|condition| condition.type_ == TYPE)
}

/// Returns a Service's status with nothing but the condition; `None` without it.
pub(crate) fn alone(status: ServiceStatus) -> Option<ServiceStatus> {
    let own = status.conditions?.into_iter().find(|condition| condition.type_ == TYPE)?;
    Some(ServiceStatus { conditions: Some(vec![own]), ..ServiceStatus::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(status: &str, reason: &str, generation: i64) -> Condition {
        Condition {
            type_: TYPE.into(),
            status: status.into(),
            reason: reason.into(),
            message: String::new(),
            observed_generation: Some(generation),
            last_transition_time: Time(jiff::Timestamp::from_second(5).unwrap()),
        }
    }

    /// What is done for generation 7: `keep`, `remove`, or the status and the reason, with a `~` in front if they are
    /// shown only after a while.
    fn done(state: State<'_>) -> String {
        let said = |finding: Finding| {
            assert_eq!(finding.generation, 7);
            format!("{} {}", finding.status, finding.reason)
        };
        match decide(state) {
            Decision::Keep => "keep".into(),
            Decision::Remove => "remove".into(),
            Decision::Show(finding) => said(finding),
            Decision::ShowIfItLasts(finding) => format!("~{}", said(finding)),
        }
    }

    const ASKED: State<'_> =
        State { generation: Some(7), shown: None, wrong: None, lacks: None, applied: None };

    #[test]
    fn without_a_number_there_is_no_condition() {
        let (taken, everywhere) = (("HostTaken", String::new()), Applied::Everywhere);
        let state = State { generation: None, wrong: Some(&taken), applied: Some(&everywhere), ..ASKED };
        assert_eq!(done(state), "keep");
        for status in ["True", "False", "Unknown"] {
            assert_eq!(
                done(State { shown: Some(&condition(status, "X", 7)), ..state }),
                "remove",
                "{status}"
            );
        }
    }

    #[test]
    fn it_is_true_once_all_have_applied_it_and_says_why_it_is_not() {
        let name = || "a".to_owned();
        for (applied, wanted) in [
            (None, "~Unknown Pending"),
            (Some(Applied::Everywhere), "True InEffect"),
            (Some(Applied::Pending(name())), "~Unknown Pending"),
            (Some(Applied::Unbound), "~Unknown Pending"),
            (Some(Applied::Untold(name())), "~Unknown OlderActivator"),
            (Some(Applied::Nowhere), "~Unknown NoActivator"),
        ] {
            let state = State { applied: applied.as_ref(), ..ASKED };
            assert_eq!(done(state), wanted, "{applied:?}");
            let of_others = [
                condition("True", "InEffect", 6),
                condition("False", "Refused", 7),
                condition("Unknown", "Other", 7),
            ];
            for shown in &of_others {
                assert_eq!(
                    done(State { shown: Some(shown), ..state }),
                    wanted,
                    "{applied:?} after {shown:?}"
                );
            }
            let lacking = State { lacks: Some("there is no Service v2"), ..state };
            assert_eq!(
                done(State { shown: Some(&of_others[0]), ..lacking }),
                "~Unknown Pending",
                "{applied:?}"
            );
            assert_eq!(done(State { shown: Some(&of_others[1]), ..lacking }), "keep", "{applied:?}");
            assert_eq!(done(lacking), "~Unknown Pending", "{applied:?}");
            let refused = ("Refused", "it is wrong".to_owned());
            for state in [state, lacking] {
                assert_eq!(done(State { wrong: Some(&refused), ..state }), "False Refused", "{applied:?}");
            }
        }
    }

    #[test]
    fn what_was_true_stays_true_for_the_same_number_unless_something_is_wrong() {
        let is_true = condition("True", "InEffect", 7);
        let sticky = State { shown: Some(&is_true), ..ASKED };
        let all = [
            None,
            Some(Applied::Nowhere),
            Some(Applied::Pending("a".into())),
            Some(Applied::Untold("a".into())),
        ];
        for applied in &all {
            assert_eq!(done(State { applied: applied.as_ref(), ..sticky }), "keep", "{applied:?}");
            assert_eq!(done(State { applied: applied.as_ref(), lacks: Some("x"), ..sticky }), "keep");
        }
        let taken = ("HostTaken", "host a.com belongs to another".to_owned());
        assert_eq!(done(State { wrong: Some(&taken), ..sticky }), "False HostTaken");
    }

    #[test]
    fn what_is_said_is_not_said_again() {
        let taken = ("HostTaken", "taken".to_owned());
        for state in [
            ASKED,
            State { applied: Some(&Applied::Nowhere), ..ASKED },
            State { applied: Some(&Applied::Everywhere), ..ASKED },
            State { wrong: Some(&taken), ..ASKED },
        ] {
            let (Decision::Show(finding) | Decision::ShowIfItLasts(finding)) = decide(state) else {
                panic!("{state:?} says nothing");
            };
            let patch = finding.patch(None, Tick::from_secs(60));
            let written: Condition =
                serde_json::from_value(patch["status"]["conditions"][0].clone()).unwrap();
            assert_eq!(done(State { shown: Some(&written), ..state }), "keep");
        }
    }

    #[test]
    fn the_time_is_that_of_the_last_change_of_the_status() {
        let finding =
            || Finding { generation: 7, status: "Unknown", reason: "Pending", message: "so it is".into() };
        let at = |shown: Option<&Condition>| {
            let patch = finding().patch(shown, Tick::from_millis(60_900));
            patch["status"]["conditions"][0].clone()
        };
        let wanted = json!({"type": "ebb.dev/InEffect", "status": "Unknown", "reason": "Pending", "message": "so it is",
            "observedGeneration": 7, "lastTransitionTime": "1970-01-01T00:01:00Z"});
        assert_eq!(at(None), wanted);
        assert_eq!(at(Some(&condition("True", "InEffect", 6))), wanted);
        let before = at(Some(&condition("Unknown", "NoActivator", 6)));
        assert_eq!(before["lastTransitionTime"], "1970-01-01T00:00:05Z");
    }

    #[test]
    fn a_message_that_the_api_would_refuse_is_cut_between_characters() {
        let long = ("Refused", "é".repeat(MAX_MESSAGE));
        let Decision::Show(finding) = decide(State { wrong: Some(&long), ..ASKED }) else { panic!("shown") };
        assert_eq!(finding.message.len(), MAX_MESSAGE);
        let long = ("Refused", format!("x{}", long.1));
        let Decision::Show(finding) = decide(State { wrong: Some(&long), ..ASKED }) else { panic!("shown") };
        assert_eq!(finding.message.len(), MAX_MESSAGE - 1);
    }

    #[test]
    fn of_a_status_only_the_condition_is_kept() {
        let other = Condition { type_: "example.com/Ready".into(), ..condition("True", "X", 1) };
        let status = |all: &[&Condition]| ServiceStatus {
            conditions: Some(all.iter().map(|one| (*one).clone()).collect()),
            ..ServiceStatus::default()
        };
        let own = condition("True", "InEffect", 7);
        assert_eq!(alone(status(&[&other, &own])), Some(status(&[&own])));
        assert_eq!(alone(status(&[&other])), None);
        assert_eq!(shown(Some(&status(&[&other, &own]))), Some(&own));
        assert_eq!((shown(None), shown(Some(&status(&[])))), (None, None));
    }
}
