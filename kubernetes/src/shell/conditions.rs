//! Writes the conditions of Services. They have retries of their own, and are written beside other things: if they
//! cannot be written, traffic must not wait, and if they can, they must not wait for slices.

use std::collections::HashSet;

use ebb_cluster::{
    CallError,
    pacing::{Agenda, Retries},
};
use ebb_core::{ServiceKey, Tick};
use ebb_proxy::program::caught;
use k8s_openapi::api::core::v1::Service;
use tracing::warn;

use super::{Done, RETRY, Shell, TRIES};
use crate::world::Showing;

/// The conditions that are being written, and when to look again.
#[derive(Debug)]
pub(super) struct Conditions {
    writing: HashSet<ServiceKey>,
    agenda: Agenda<ServiceKey>,
    retries: Retries<ServiceKey>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { writing: HashSet::new(), agenda: Agenda::default(), retries: Retries::new(RETRY) }
    }
}

impl Conditions {
    /// Returns when to look again, even if nothing happens.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.agenda.next()
    }

    /// Forgets what is being written: another autoscaler does it from now on.
    pub(super) fn stand_by(&mut self) {
        self.writing.clear();
        self.retries.clear();
    }
}

impl Shell {
    /// Writes the Service's condition, if this autoscaler leads, it is not being written, and there is something new.
    pub(super) fn show_condition(&mut self, key: &ServiceKey) {
        if !self.leads || self.conditions.writing.contains(key) || !self.world.is_complete() {
            return;
        }
        let now = self.clock.now();
        if !self.conditions.retries.may_try(key, now) {
            return;
        }
        match self.world.condition(key, now) {
            Showing::Rest => self.conditions.retries.settled(key),
            Showing::Wait(rest) => self.conditions.agenda.set(key.clone(), now.after(rest)),
            Showing::Write(patch) => {
                let (writer, places, key) = (self.writer.clone(), self.places.clone(), key.clone());
                self.conditions.writing.insert(key.clone());
                self.writes.spawn(async move {
                    // The semaphore is never closed.
                    let _place = places.acquire().await;
                    let result = caught(writer.show(&key, &patch)).await.unwrap_or_else(|panicked| {
                        writer.calls.metrics.panicked("write");
                        Err(panicked.into())
                    });
                    Done::Showed(key, result.map(Box::new))
                });
            }
        }
    }

    pub(super) fn show_due_conditions(&mut self) {
        let now = self.clock.now();
        while let Some(key) = self.conditions.agenda.pop(now) {
            self.show_condition(&key);
        }
    }

    pub(super) fn on_showed(&mut self, key: &ServiceKey, result: Result<Box<Service>, CallError>) {
        self.conditions.writing.remove(key);
        match result {
            Ok(service) => {
                self.conditions.retries.settled(key);
                self.world.written(*service);
                self.show_condition(key);
            }
            // It was deleted.
            Err(error) if error.is_missing() => self.conditions.retries.settled(key),
            Err(error) => {
                let part = rand::random_range(0.5..1.0);
                let failed = self.conditions.retries.failed(key.clone(), self.clock.now(), part);
                warn!(service = %key, %error, tries = failed.times, "cannot write a condition; trying again");
                if failed.times == TRIES {
                    self.world.cannot_write(key, &format!("the condition ebb.dev/InEffect: {error}"));
                }
                self.conditions.agenda.set(key.clone(), failed.again);
            }
        }
    }
}
