//! One route: a Service without pods of its own, whose requests others get. Where its traffic goes follows from how they
//! are divided.
//!
//! Where one service gets all of them, the route's endpoints are that service's: clients reach its pods without a detour.
//! Where several share them, somebody has to choose for each request: activators, on the route's own port. They answer
//! there, too, for one service alone that is not reached directly: so its clients follow when that changes.

mod table;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_annotations::{RouteSpec, SplitBy};
use ebb_core::{ServiceKey, Tick};

use crate::{
    endpoints::{Answering, Endpoints, endpoints},
    zero::Path,
};

pub use table::{Route, RouteTable};

/// A split that has changed is left to activators for so long. They follow the next change with the next request, while
/// who is connected to a pod stays there.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Everybody who connects has heard of what was published in so long: every node's kube-proxy writes its rules once a
/// second.
const KNOWN_AFTER: Duration = Duration::from_secs(3);

/// How a route divides its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Who gets them; at least one has a weight above 0.
    pub targets: Vec<Target>,
    /// By what they are divided.
    pub by: SplitBy,
    /// A client's connection that is older is asked to go, and an upgraded one ended; `None` is off.
    pub max_connection_age: Option<Duration>,
    /// An upgraded connection on which no byte passes for so long is ended; `None` is off.
    pub tunnel_idle_timeout: Option<Duration>,
}

/// A service that gets a part of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, in the route's namespace.
    pub service: String,
    /// Its part of the sum of all weights.
    pub weight: u32,
    /// Why it cannot take its part, in words for a client; empty if it can.
    pub trouble: String,
}

impl Split {
    /// What `spec` says, where `trouble` knows what is wrong with a service; empty if nothing is.
    pub fn new(spec: &RouteSpec, trouble: impl Fn(&str) -> String) -> Self {
        let target = |share: &ebb_annotations::Share| Target {
            service: share.service.clone(),
            weight: share.weight,
            trouble: trouble(&share.service),
        };
        Self {
            targets: spec.split.iter().map(target).collect(),
            by: spec.by.clone(),
            max_connection_age: spec.max_connection_age,
            tunnel_idle_timeout: spec.tunnel_idle_timeout,
        }
    }

    /// The service that gets all requests, and can take them; `None` if somebody has to choose, or to say why not.
    pub fn sole(&self) -> Option<&str> {
        let mut weighted = self.targets.iter().filter(|target| target.weight > 0);
        let sole = weighted.next().filter(|_| weighted.next().is_none())?;
        sole.trouble.is_empty().then_some(&*sole.service)
    }

    /// Whether it divides requests as `other` does, whatever is wrong with anybody.
    fn divides_as(&self, other: &Self) -> bool {
        let shares = |split: &Self| -> Vec<(String, u32)> {
            split.targets.iter().map(|target| (target.service.clone(), target.weight)).collect()
        };
        self.by == other.by && shares(self) == shares(other)
    }
}

/// What is known of one route.
#[derive(Debug)]
pub struct RouteState {
    split: Arc<Split>,
    /// From then on a service that gets everything is no longer reached through activators.
    settled_at: Tick,
    activators: Answering,
    published: Option<Endpoints>,
    /// What was published last did not get there.
    unwritten: bool,
    /// The service whose traffic goes where its own does, as last decided: nobody chooses then.
    mirrored: Option<ServiceKey>,
    /// Those that were so before, and when whoever is still connected to their pods is to connect anew.
    left: Vec<(ServiceKey, Tick)>,
}

/// What is to be done about a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteActions {
    /// Where its traffic goes, if that is to be published.
    pub publish: Option<Endpoints>,
    /// When it is to be looked at again, whatever happens.
    pub again: Option<Tick>,
    /// Services from which clients that came by the route may still be connected: these are to connect anew.
    pub renew: Vec<ServiceKey>,
}

impl RouteState {
    fn new(split: Arc<Split>) -> Self {
        Self {
            split,
            settled_at: Tick::ZERO,
            activators: Answering::default(),
            published: None,
            unwritten: false,
            mirrored: None,
            left: Vec::new(),
        }
    }

    /// How its requests are divided.
    pub fn split(&self) -> &Arc<Split> {
        &self.split
    }

    /// Where its traffic was sent; `None` before anything was published.
    pub fn published(&self) -> Option<&Endpoints> {
        self.published.as_ref()
    }

    /// Whether its traffic goes where that of one service goes; else activators choose for each request.
    pub fn mirrors(&self) -> bool {
        self.mirrored.is_some()
    }

    fn set_split(&mut self, split: Arc<Split>, now: Tick) {
        if !self.split.divides_as(&split) {
            self.settled_at = now.after(SETTLED_AFTER);
        }
        self.split = split;
    }

    /// The activators that answer for it changed.
    pub fn set_activators(&mut self, activators: Answering) {
        self.activators = activators;
    }

    /// What was published did not get there: it is to be published again.
    fn publish_failed(&mut self) {
        self.unwritten = true;
    }

    /// Whatever was published, another one may have replaced it.
    fn forget_published(&mut self) {
        (self.published, self.unwritten) = (None, false);
    }

    /// Decides where its traffic goes at `now`, where `of` knows where that of a service goes; `None`: not yet.
    fn evaluate(
        &mut self,
        key: &ServiceKey,
        now: Tick,
        of: impl Fn(&ServiceKey) -> Option<Endpoints>,
    ) -> RouteActions {
        let sole = self.split.sole().map(|service| ServiceKey::new(key.namespace.clone(), service));
        let settles = (sole.is_some() && now < self.settled_at).then_some(self.settled_at);
        let sole = sole.filter(|_| settles.is_none());
        self.leave_for(sole.as_ref(), now);
        let mirrored = sole.map(|service| of(&service));
        let (renew, left) = std::mem::take(&mut self.left).into_iter().partition(|(_, at)| *at <= now);
        self.left = left;
        let again = self.left.iter().map(|(_, at)| *at).chain(settles).min();
        let renew: Vec<(ServiceKey, Tick)> = renew;
        let wanted = match mirrored {
            Some(endpoints) => endpoints.map(|endpoints| self.on_own_port(endpoints)),
            // Nobody but activators can choose. While there is none, whatever was so far goes on.
            None if self.activators.addresses.is_empty() => None,
            None => Some(endpoints(key, Path::Proxy, &[], &self.activators.addresses, u32::MAX)),
        };
        let publish = wanted.filter(|wanted| {
            // Who has just begun to lead has nothing to put in the place of what a predecessor left.
            let changed =
                self.published.as_ref().map_or(!wanted.addresses.is_empty(), |before| before != wanted);
            changed || self.unwritten
        });
        if let Some(endpoints) = &publish {
            (self.published, self.unwritten) = (Some(endpoints.clone()), false);
        }
        RouteActions { publish, again, renew: renew.into_iter().map(|(service, _)| service).collect() }
    }

    /// The endpoints of the service that gets everything, where activators answer for the route itself.
    fn on_own_port(&self, of_service: Endpoints) -> Endpoints {
        if of_service.path == Path::Serve {
            return of_service;
        }
        let is_among = |own: &&SocketAddr| of_service.addresses.iter().any(|one| one.ip() == own.ip());
        let addresses: Vec<SocketAddr> = self.activators.addresses.iter().filter(is_among).copied().collect();
        if addresses.is_empty() { of_service } else { Endpoints { addresses, ..of_service } }
    }

    /// From `now` on its traffic goes where that of `mirrored` goes, or to activators. Who is connected to the pods of
    /// another service stays there until it is asked to go; asked too early, it would come back to the same.
    fn leave_for(&mut self, mirrored: Option<&ServiceKey>, now: Tick) {
        if self.mirrored.as_ref() == mirrored {
            return;
        }
        self.left.retain(|(service, _)| Some(service) != mirrored);
        let before = std::mem::replace(&mut self.mirrored, mirrored.cloned());
        self.left.extend(before.map(|service| (service, now.after(KNOWN_AFTER))));
    }
}

#[cfg(test)]
mod tests;
