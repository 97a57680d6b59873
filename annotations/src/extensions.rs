//! The `ebb.dev/*` annotations for decisions, which the reference has no settings for.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    ClusterDefaults, Rules, Schedule, Signal,
    annotations::Annotations,
    fault::Fault,
    keys::{self, Key},
    reading::{Reading, Texts, count},
    second_signal, strict,
    syntax::{Syntax, Unreadable},
};

/// The values of the annotations.
#[derive(Debug)]
pub(super) struct Extensions {
    pub(super) rules: Rules,
    pub(super) startup_aware: bool,
    pub(super) max_starting_pods: Option<NonZeroU32>,
    pub(super) idle_first: bool,
    pub(super) second: Option<Signal>,
    pub(super) schedule: Option<Arc<Schedule>>,
}

impl Syntax for Rules {
    const NOUN: &'static str = "a known compatibility";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text {
            "none" => Ok(Self::Mended),
            "knative" => Ok(Self::Reference),
            _ => Err(Unreadable::Malformed),
        }
    }
}

/// Reads the annotations, and adds their faults to `faults`. `shared` are the reference's annotations. Pods
/// execute at most `container_concurrency` requests at once (`None`: unlimited).
pub(super) fn read(
    texts: &Texts,
    shared: &Annotations<'_>,
    defaults: &ClusterDefaults,
    container_concurrency: Option<NonZeroU32>,
    faults: &mut Vec<Fault>,
) -> Extensions {
    let rules = rules(texts, faults);
    Extensions {
        rules,
        // The reference asks again for pods that it has already asked for; its exact numbers require the
        // same.
        startup_aware: flag(texts, &keys::STARTUP_AWARE, faults).unwrap_or(rules == Rules::Mended),
        max_starting_pods: count(texts, &keys::MAX_STARTING_PODS, (0, i32::MAX), faults),
        // The reference's numbers say how many pods go, never which.
        idle_first: flag(texts, &keys::IDLE_FIRST, faults).unwrap_or(true),
        second: second_signal::read(texts, shared, defaults, container_concurrency, rules, faults),
        schedule: schedule(texts, strict::max_in_effect(shared, defaults), faults),
    }
}

fn rules(texts: &Texts, faults: &mut Vec<Fault>) -> Rules {
    let Some(reading) = Reading::find(texts, &keys::COMPATIBILITY) else { return Rules::default() };
    faults.extend(reading.value.as_ref().err().map(|why| reading.unreadable(*why, "none or knative")));
    reading.value.unwrap_or_default()
}

fn flag(texts: &Texts, key: &Key, faults: &mut Vec<Fault>) -> Option<bool> {
    let reading = Reading::find(texts, key)?;
    faults.extend(reading.no_value());
    reading.value.ok()
}

/// Reads the schedule, in which no entry may ask for more pods than `max` (`None`: unlimited).
fn schedule(texts: &Texts, max: Option<i64>, faults: &mut Vec<Fault>) -> Option<Arc<Schedule>> {
    match Schedule::parse(texts.get(keys::SCHEDULE.name)?) {
        Ok(schedule) => {
            faults.extend(max.into_iter().flat_map(|max| schedule.faults_above(max)));
            Some(Arc::new(schedule))
        }
        Err(wrong) => {
            faults.extend(wrong);
            None
        }
    }
}

#[cfg(test)]
mod tests;
