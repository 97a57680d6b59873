//! Whether what a Service asks for is in effect: asks activators, and shows the answer in the Service's condition.

use std::time::Duration;

use ebb_core::{ServiceKey, Tick};
use ebb_decide::platform::{Applied, FleetEvent};
use serde_json::Value;

use super::{World, record::Record};
use crate::{
    claim,
    condition::{self, Decision, State},
};

/// How long it may be unknown before the condition says so. Activators answer within milliseconds, and a write that
/// says only that they were asked would delay the one that matters.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known about a Service's number.
#[derive(Debug, Default)]
pub(super) struct InEffect {
    /// What activators were asked last.
    asked: Option<Asked>,
    /// The number for which it is unknown, and since when.
    unknown: Option<(i64, Tick)>,
}

#[derive(Debug)]
struct Asked {
    /// The number that the answer repeats.
    ask: u64,
    generation: i64,
    applied: Option<Applied>,
}

/// What to write of the condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Showing {
    /// Nothing, until something changes.
    Rest,
    /// Look again after this duration.
    Wait(Duration),
    /// A strategic merge patch of the status.
    Write(Value),
}

impl World {
    /// Asks activators about the Services that changed, after all other news. Returns the questions.
    pub(super) fn questions(&mut self) -> Vec<FleetEvent> {
        // Before everything is known, a host may still turn out to be somebody else's.
        if !self.complete {
            return Vec::new();
        }
        let mut questions = Vec::new();
        for key in &self.touched {
            let Some(record) = self.services.get(key) else { continue };
            let wanted = self.generation_to_ask(key, record);
            let asked = record.in_effect.asked.as_ref().map(|asked| asked.generation);
            if wanted == asked {
                continue;
            }
            let asked = wanted.map(|generation| {
                self.last_ask += 1;
                Asked { ask: self.last_ask, generation, applied: None }
            });
            questions
                .push(FleetEvent::Confirm { key: key.clone(), ask: asked.as_ref().map(|asked| asked.ask) });
            if let Some(record) = self.services.get_mut(key) {
                record.in_effect.asked = asked;
            }
        }
        questions
    }

    /// Records an answer. Answers to earlier questions are ignored.
    pub(crate) fn confirmed(&mut self, key: &ServiceKey, ask: u64, applied: Applied) {
        let asked = self.services.get_mut(key).and_then(|record| record.in_effect.asked.as_mut());
        if let Some(asked) = asked.filter(|asked| asked.ask == ask) {
            asked.applied = Some(applied);
            self.touch(key);
        }
    }

    /// Returns what to write of the Service's condition at `now`. Must not be called while such a write is under way.
    pub(crate) fn condition(&mut self, key: &ServiceKey, now: Tick) -> Showing {
        let Some(record) = self.services.get(key) else { return Showing::Rest };
        let shown = condition::shown(record.object.status.as_ref());
        let generation = self.generation(record);
        if generation.is_none() && shown.is_none() {
            return Showing::Rest;
        }
        let (wrong, lacks) = (record.wrong(), self.lacks(key, record));
        let applied = record.in_effect.asked.as_ref().and_then(|asked| asked.applied.as_ref());
        let (wrong, lacks) = (wrong.as_ref(), lacks.as_deref());
        let decision = condition::decide(State { generation, shown, wrong, lacks, applied });
        let (showing, unknown) = match decision {
            Decision::Keep => (Showing::Rest, None),
            Decision::Remove => (Showing::Write(condition::removal()), None),
            Decision::Show(finding) => (Showing::Write(finding.patch(shown, now)), None),
            Decision::ShowIfItLasts(finding) => {
                let generation = generation.unwrap_or_default();
                let same = record.in_effect.unknown.filter(|(of, _)| *of == generation);
                let since = same.map_or(now, |(_, since)| since);
                let rest = PATIENCE.saturating_sub(now.since(since));
                let showing = if rest.is_zero() {
                    Showing::Write(finding.patch(shown, now))
                } else {
                    Showing::Wait(rest)
                };
                (showing, Some((generation, since)))
            }
        };
        if let Some(record) = self.services.get_mut(key) {
            record.in_effect.unknown = unknown;
        }
        showing
    }

    /// Returns the number that the Service's condition is about; `None` if it should have none.
    fn generation(&self, record: &Record) -> Option<i64> {
        if self.releases { None } else { claim::generation(&record.object) }
    }

    /// Returns the number about which activators are to be asked; `None` if they need not be, or cannot be yet.
    fn generation_to_ask(&self, key: &ServiceKey, record: &Record) -> Option<i64> {
        let generation = self.generation(record)?;
        let shown = condition::shown(record.object.status.as_ref());
        let is_known = shown.is_some_and(|shown| condition::is_true_for(shown, generation));
        let is_possible = || record.wrong().is_none() && self.lacks(key, record).is_none();
        (!is_known && is_possible()).then_some(generation)
    }

    /// Returns what must be known before activators can apply what the Service asks for.
    fn lacks(&self, key: &ServiceKey, record: &Record) -> Option<String> {
        if record.front().is_none() {
            return Some("it is not Ebb's yet".to_owned());
        }
        if record.port.is_none() {
            return Some("activators have no port for it yet".to_owned());
        }
        let secret = self.exposed.get(key).and_then(ebb_decide::platform::Exposed::secret);
        let unread = secret.filter(|secret| !self.secrets_read.contains(secret));
        record.troubles().or_else(|| Some(format!("Secret {} is not read yet", unread?.name)))
    }
}
