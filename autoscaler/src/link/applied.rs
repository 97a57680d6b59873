//! How far activators have applied what they were told.
//!
//! Only where confirmation is wanted, a numbered message follows the tables on every stream. A stream keeps the order,
//! so an activator that repeats the number has applied everything before it. A number belongs to its stream: the first
//! message of a new stream contains all tables, and has the latest number.

use std::net::IpAddr;

use ebb_core::{ServiceKey, link::Down};
use ebb_decide::{endpoints::Standing, platform::Applied};

use super::{Activators, Confirms, LinkId};

impl Activators {
    /// Asks all activators to confirm what they were told so far. Returns the number that they repeat.
    pub(crate) fn number(&mut self) -> u64 {
        self.number += 1;
        self.send(Down { number: self.number, ..Down::default() });
        self.number
    }

    /// Records that an activator has applied everything up to `number` on this stream.
    pub(crate) fn applied(&mut self, id: LinkId, number: u64) {
        let Some(activator) = self.links.get_mut(&id) else { return };
        if let Confirms::UpTo(before) = &mut activator.confirms {
            // No stream was told of later ones.
            *before = (*before).max(number.min(self.number));
        }
    }

    /// Returns how far activators have applied what was told of `service` before `number`. Those that get no
    /// connections do not count: they are silent, not ready, or superseded by their own later stream.
    pub(crate) fn have_applied(&self, service: &ServiceKey, number: u64) -> Applied {
        let mut ids: Vec<LinkId> = self.links.keys().copied().collect();
        ids.sort_unstable();
        let all = ids.into_iter().filter(|id| !self.is_superseded(*id));
        let (heard, doubtful): (Vec<LinkId>, Vec<LinkId>) =
            all.partition(|id| self.standing(*id) == Standing::Heard);
        let (mut pending, mut untold, mut answers) = (None, None, false);
        for (id, activator) in heard.iter().filter_map(|id| Some((id, self.links.get(id)?))) {
            match activator.confirms {
                Confirms::UpTo(applied) if applied >= number => {
                    answers |= self.address_of(*id, service).is_some();
                }
                Confirms::UpTo(_) | Confirms::Unknown => {
                    pending.get_or_insert(&activator.name);
                }
                Confirms::Nothing => {
                    untold.get_or_insert(&activator.name);
                }
            }
        }
        match (untold, pending) {
            (Some(name), _) => Applied::Untold(name.clone()),
            (None, Some(name)) => Applied::Pending(name.clone()),
            (None, None) if answers => Applied::Everywhere,
            (None, None) if !heard.is_empty() => Applied::Unbound,
            // An apparent loss of all activators is more likely this autoscaler's own.
            (None, None) => match doubtful.first().and_then(|id| self.links.get(id)) {
                Some(activator) => Applied::Pending(activator.name.clone()),
                None => Applied::Nowhere,
            },
        }
    }

    /// Returns the address of a ready activator that has no stream to this autoscaler.
    pub(crate) fn missing(&self) -> Option<IpAddr> {
        let is_connected = |ip: &IpAddr| self.links.values().any(|link| link.address == Some(*ip));
        self.pods.ready().filter(|ip| !is_connected(ip)).min()
    }
}
