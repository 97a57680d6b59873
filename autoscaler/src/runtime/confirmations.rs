//! Tells the platform when activators have applied what it asks about.

use std::{collections::HashMap, time::Duration};

use ebb_core::{ServiceKey, Tick};
use ebb_decide::platform::{Applied, EndpointSink, ScaleTarget};

use super::Runtime;

/// For how long a new leader waits for ready activators that are not connected to it yet: they still follow what its
/// predecessor told them.
const SETTLING: Duration = Duration::from_secs(3);

/// What the platform asks about.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    asks: HashMap<ServiceKey, Ask>,
    /// Until when activators may still be connecting to this leader.
    settles_at: Option<Tick>,
}

#[derive(Debug)]
struct Ask {
    /// The number that the platform gave it.
    id: u64,
    /// The number that activators repeat once they have applied it; `None` before they were told everything.
    number: Option<u64>,
    reported: Option<Applied>,
}

impl Confirmations {
    /// Returns when to look again, even if nothing happens.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.settles_at.filter(|_| self.asks.values().any(|ask| !ask.is_over()))
    }

    /// Returns whether activators may still be connecting at `now`.
    fn is_settling(&self, now: Tick) -> bool {
        self.settles_at.is_some_and(|at| now < at)
    }

    /// Forgets a service or a route that is gone.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.asks.remove(key);
    }

    /// Begins a term at `now`.
    pub(super) fn take_over(&mut self, now: Tick) {
        self.settles_at = Some(now.after(SETTLING));
    }

    /// Forgets what activators were told: another autoscaler leads.
    pub(super) fn stand_by(&mut self) {
        self.settles_at = None;
        for ask in self.asks.values_mut() {
            (ask.number, ask.reported) = (None, None);
        }
    }
}

impl Ask {
    fn is_over(&self) -> bool {
        self.reported == Some(Applied::Everywhere)
    }
}

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    pub(super) fn on_confirm(&mut self, key: &ServiceKey, ask: Option<u64>) {
        let Some(id) = ask else { return self.confirmations.forget(key) };
        self.confirmations.asks.insert(key.clone(), Ask { id, number: None, reported: None });
        self.number_if_told(key);
    }

    /// Asks activators to confirm what they were told of a service or a route, if they were told everything.
    pub(super) fn number_if_told(&mut self, key: &ServiceKey) {
        let is_due = self.confirmations.asks.get(key).is_some_and(|ask| ask.number.is_none());
        if !is_due || !self.leads || !self.is_all_told(key) {
            return;
        }
        let number = self.activators.number();
        if let Some(ask) = self.confirmations.asks.get_mut(key) {
            ask.number = Some(number);
        }
        self.confirm(key);
    }

    /// Begins a term: activators were told all tables.
    pub(super) fn number_all(&mut self) {
        self.confirmations.take_over(self.clock.now());
        let keys: Vec<ServiceKey> = self.confirmations.asks.keys().cloned().collect();
        for key in keys {
            self.number_if_told(&key);
        }
    }

    /// Reports what changed because of an activator.
    pub(super) fn confirm_all(&mut self) {
        let open = self.confirmations.asks.iter().filter(|(_, ask)| !ask.is_over());
        let keys: Vec<ServiceKey> = open.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.confirm(&key);
        }
    }

    /// Looks again, if activators had their time to connect.
    pub(super) fn confirm_due(&mut self) {
        let now = self.clock.now();
        if self.confirmations.settles_at.take_if(|at| *at <= now).is_some() {
            self.confirm_all();
        }
    }

    fn confirm(&mut self, key: &ServiceKey) {
        let is_settling = self.confirmations.is_settling(self.clock.now());
        let Some(ask) = self.confirmations.asks.get_mut(key) else { return };
        let Some(number) = ask.number else { return };
        let applied = match self.activators.missing().filter(|_| is_settling) {
            Some(address) => Applied::Pending(address.to_string()),
            None => self.activators.have_applied(key, number),
        };
        if !ask.is_over() && ask.reported.as_ref() != Some(&applied) {
            ask.reported = Some(applied.clone());
            self.platform.confirmed(key, ask.id, applied);
        }
    }

    /// Returns whether activators were told of `key`; of a route, also of the services that it names.
    fn is_all_told(&self, key: &ServiceKey) -> bool {
        match self.routes.get(key) {
            Some(route) => route.told && self.knows_targets(route),
            None => self.services.get(key).is_some_and(|service| service.state.replicas().is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activators_have_three_seconds_to_connect_which_matter_while_something_is_asked() {
        let at = Tick::from_secs;
        let mut confirmations = Confirmations::default();
        assert!(!confirmations.is_settling(at(10)));
        confirmations.take_over(at(10));
        assert_eq!(confirmations.next_due(), None);
        assert!(confirmations.is_settling(at(12)) && !confirmations.is_settling(at(13)));
        let key = ServiceKey::new("shop", "web");
        let ask = |reported| Ask { id: 1, number: Some(1), reported };
        for (reported, due) in
            [(None, Some(at(13))), (Some(Applied::Nowhere), Some(at(13))), (Some(Applied::Everywhere), None)]
        {
            confirmations.asks.insert(key.clone(), ask(reported));
            assert_eq!(confirmations.next_due(), due);
        }
        confirmations.stand_by();
        assert_eq!((confirmations.next_due(), confirmations.is_settling(at(11))), (None, false));
        let kept = &confirmations.asks[&key];
        assert_eq!((kept.id, kept.number, &kept.reported), (1, None, &None), "the next term asks again");
    }
}
