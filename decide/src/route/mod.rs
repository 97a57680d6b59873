//! One route: a Service without pods of its own, whose requests others get. Where its traffic goes follows from how they
//! are divided.
//!
//! Where one service gets all of them, the route's endpoints are that service's: clients reach its pods without a detour.
//! Where several share them, somebody has to choose for each request: activators, on the route's own port. They answer
//! there, too, for one service alone that is not reached directly: so its clients follow when that changes.
//!
//! Where a change is to take its time, requests are divided in between as [`rollout`] says, until the split is reached
//! that was asked for.

pub mod rollout;
mod table;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use ebb_annotations::{RouteSpec, Share, SplitBy};
use ebb_core::{ServiceKey, Tick};

use crate::{
    endpoints::{Answering, Endpoints, endpoints},
    zero::Path,
};
use rollout::{Pace, Progress, Rollout, Standing};

pub use table::{Route, RouteTable};

/// A split that has changed is left to activators for so long. They follow the next change with the next request, while
/// who is connected to a pod stays there.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Everybody who connects has heard of what was published in so long: every node's kube-proxy writes its rules once a
/// second.
const KNOWN_AFTER: Duration = Duration::from_secs(3);

/// How far a rollout is is written down so often at most. Who takes over may have to repeat that much of it.
const KEEP_EVERY: Duration = Duration::from_secs(3);

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
    /// How it is approached where it has changed.
    pub pace: Pace,
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
        let target = |share: &Share| Target {
            service: share.service.clone(),
            weight: share.weight,
            trouble: trouble(&share.service),
        };
        Self {
            targets: spec.split.iter().map(target).collect(),
            by: spec.by.clone(),
            max_connection_age: spec.max_connection_age,
            tunnel_idle_timeout: spec.tunnel_idle_timeout,
            pace: Pace { over: spec.split_duration, paused: spec.rollout_paused, kept: None },
        }
    }

    fn shares(&self) -> Vec<Share> {
        let share = |target: &Target| Share { service: target.service.clone(), weight: target.weight };
        self.targets.iter().map(share).collect()
    }

    /// The same, with requests divided by `weights`; it knows what is wrong with its own services alone.
    fn divided_by(&self, weights: Vec<Share>) -> Self {
        let trouble = |service: &str| {
            let own = self.targets.iter().find(|target| target.service == service);
            own.map(|target| target.trouble.clone()).unwrap_or_default()
        };
        let target = |share: Share| {
            let Share { service, weight } = share;
            Target { trouble: trouble(&service), service, weight }
        };
        Self { targets: weights.into_iter().map(target).collect(), ..self.clone() }
    }

    /// The service that gets all requests, and can take them; `None` if somebody has to choose, or to say why not.
    pub fn sole(&self) -> Option<&str> {
        let mut weighted = self.targets.iter().filter(|target| target.weight > 0);
        let sole = weighted.next().filter(|_| weighted.next().is_none())?;
        sole.trouble.is_empty().then_some(&*sole.service)
    }

    /// Whether the same service gets all requests as in `other`, or the same ones get the same shares, whatever is wrong with
    /// anybody.
    fn divides_as(&self, other: &Self) -> bool {
        let shares = |split: &Self| -> BTreeMap<String, u32> {
            let weighted = split.targets.iter().filter(|target| target.weight > 0);
            weighted.map(|target| (target.service.clone(), target.weight)).collect()
        };
        let (own, others) = (shares(self), shares(other));
        match (own.len(), others.len()) {
            (1, 1) => own.keys().eq(others.keys()),
            _ => self.by == other.by && own == others,
        }
    }
}

/// What is known of one route.
#[derive(Debug)]
pub struct RouteState {
    /// As its owner wants it.
    declared: Arc<Split>,
    /// As it is, on the way there.
    split: Arc<Split>,
    /// The way; `None` until it was first heard of, and when somebody else may have gone on with it.
    rollout: Option<Rollout>,
    /// What was last to be written down of it, by whoever leads now.
    kept: Option<Keep>,
    /// From then on how much further it is may be written down.
    keep_again: Tick,
    /// From then on a service that gets everything is no longer reached through activators.
    settled_at: Tick,
    activators: Answering,
    published: Option<Endpoints>,
    /// What was published last did not get there.
    unwritten: bool,
    /// The service whose traffic goes where its own does, as last decided: nobody chooses then.
    mirrored: Option<ServiceKey>,
    /// Those that were so before, and when whoever is still connected to their pods is to connect anew; `None` until what
    /// was published instead is written.
    left: Vec<(ServiceKey, Option<Tick>)>,
    /// Whether what was published last is on its way.
    is_writing: bool,
}

/// What is to be written down of a route's rollout, for whoever leads next; `None`: nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep(pub Option<Progress>);

/// What is to be done about a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteActions {
    /// Where its traffic goes, if that is to be published.
    pub publish: Option<Endpoints>,
    /// Whether its requests are divided otherwise than before: activators are to know.
    pub divided: bool,
    /// What is to be written down, if that is news.
    pub keep: Option<Keep>,
    /// When it is to be looked at again, whatever happens.
    pub again: Option<Tick>,
    /// Services from which clients that came by the route may still be connected: these are to connect anew.
    pub renew: Vec<ServiceKey>,
}

impl RouteState {
    fn new(split: Arc<Split>) -> Self {
        Self {
            declared: split.clone(),
            split,
            rollout: None,
            kept: None,
            keep_again: Tick::ZERO,
            settled_at: Tick::ZERO,
            activators: Answering::default(),
            published: None,
            unwritten: false,
            mirrored: None,
            left: Vec::new(),
            is_writing: false,
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

    /// Its way to the split that its owner wants.
    pub fn rollout(&self) -> Option<&Rollout> {
        self.rollout.as_ref()
    }

    /// Whether it is on its way to another split.
    fn is_under_way(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.progress().under_way.is_some())
    }

    /// Its owner wants its requests divided so.
    fn set_split(&mut self, split: Arc<Split>, now: Tick) {
        self.declared = split;
        self.head_for_declared(now);
    }

    fn head_for_declared(&mut self, now: Tick) {
        let (shares, pace) = (self.declared.shares(), &self.declared.pace);
        let rollout = self.rollout.get_or_insert_with(|| {
            let kept = pace.kept.clone().filter(|_| pace.over.is_some());
            Rollout::new(kept.unwrap_or_else(|| Progress { to: shares.clone(), under_way: None }), now)
        });
        rollout.head_for(shares, pace.over, now);
        self.divide(now);
    }

    /// From now on its requests are divided as it is on its way. Answers whether that is otherwise than before.
    fn divide(&mut self, now: Tick) -> bool {
        let progress = self.rollout.as_ref().map(Rollout::progress);
        let split = match progress.filter(|progress| progress.under_way.is_some()) {
            Some(progress) => Arc::new(self.declared.divided_by(progress.weights())),
            None => self.declared.clone(),
        };
        if !self.split.divides_as(&split) {
            self.settled_at = now.after(SETTLED_AFTER);
        }
        let changed = self.split.targets != split.targets;
        self.split = split;
        changed
    }

    /// Goes on with its rollout, where `look` knows how a service is. Answers whether its requests are divided otherwise than
    /// before.
    fn advance(&mut self, key: &ServiceKey, now: Tick, look: impl Fn(&ServiceKey) -> Standing) -> bool {
        let Some(rollout) = self.rollout.as_mut().filter(|rollout| rollout.progress().under_way.is_some())
        else {
            return false;
        };
        let targets = &self.declared.targets;
        rollout.advance(&self.declared.pace, now, |service| {
            let own = targets.iter().find(|target| target.service == service);
            match own.map(|target| target.trouble.clone()).filter(|trouble| !trouble.is_empty()) {
                Some(trouble) => Standing::Failed(trouble),
                None => look(&ServiceKey::new(key.namespace.clone(), service)),
            }
        });
        self.divide(now)
    }

    /// What is to be written down of its rollout, if that is not what is, or is about to be.
    fn keep(&mut self, now: Tick) -> Option<Keep> {
        let pace = &self.declared.pace;
        let progress = self.rollout.as_ref().map(Rollout::progress).filter(|_| pace.over.is_some());
        let last = match &self.kept {
            Some(Keep(last)) => last.as_ref(),
            None => pace.kept.as_ref(),
        };
        let is_same_way = progress.zip(last).is_some_and(|(now, last)| now.is_same_way(last));
        if progress == last || is_same_way && now < self.keep_again {
            return None;
        }
        let keep = Keep(progress.cloned());
        (self.kept, self.keep_again) = (Some(keep.clone()), now.after(KEEP_EVERY));
        Some(keep)
    }

    /// What was to be written down was not.
    fn keep_failed(&mut self) {
        self.kept = None;
    }

    /// The activators that answer for it changed.
    pub fn set_activators(&mut self, activators: Answering) {
        self.activators = activators;
    }

    /// What was published did not get there: it is to be published again.
    fn publish_failed(&mut self) {
        self.unwritten = true;
    }

    /// What was published is written, at `now`. Answers when it is to be looked at again for that.
    fn written(&mut self, now: Tick) -> Option<Tick> {
        self.is_writing = false;
        let known = now.after(KNOWN_AFTER);
        let undated = self.left.iter_mut().filter(|(_, at)| at.is_none());
        undated.map(|(_, at)| *at.insert(known)).last()
    }

    /// Whatever was published, another one may have replaced it; and whoever led before may have ended while clients were
    /// still to be asked to go.
    fn forget_published(&mut self, key: &ServiceKey, now: Tick) {
        self.kept = None;
        if self.declared.pace.kept.is_some() {
            self.rollout = None;
        }
        self.head_for_declared(now);
        (self.published, self.unwritten, self.is_writing, self.mirrored) = (None, false, false, None);
        let of_split = self.split.targets.iter();
        let all = of_split.map(|target| ServiceKey::new(key.namespace.clone(), target.service.clone()));
        self.left = all.map(|service| (service, None)).collect();
    }

    /// Decides how its requests are divided and where its traffic goes at `now`, where `of` knows where that of a service
    /// goes (`None`: not yet), and `look` how it is.
    fn evaluate(
        &mut self,
        key: &ServiceKey,
        now: Tick,
        of: impl Fn(&ServiceKey) -> Option<Endpoints>,
        look: impl Fn(&ServiceKey) -> Standing,
    ) -> RouteActions {
        let divided = self.advance(key, now, look);
        let keep = self.keep(now);
        let sole = self.split.sole().map(|service| ServiceKey::new(key.namespace.clone(), service));
        let settles = (sole.is_some() && now < self.settled_at).then_some(self.settled_at);
        let sole = sole.filter(|_| settles.is_none());
        self.leave_for(sole.as_ref());
        let mirrored = sole.map(|service| of(&service));
        let wanted = match mirrored {
            Some(endpoints) => endpoints.and_then(|endpoints| self.on_own_port(endpoints)),
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
            (self.published, self.unwritten, self.is_writing) = (Some(endpoints.clone()), false, true);
        } else if !self.is_writing && self.published.is_some() {
            // It leads there already.
            self.written(now);
        }
        let is_due = |(_, at): &(ServiceKey, Option<Tick>)| at.is_some_and(|at| at <= now);
        let (renew, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.left).into_iter().partition(is_due);
        self.left = left;
        let next_step = self.rollout.as_ref().and_then(|rollout| rollout.again(now));
        let again = self.left.iter().filter_map(|(_, at)| *at).chain(settles).chain(next_step).min();
        let renew = renew.into_iter().map(|(service, _)| service).collect();
        RouteActions { publish, divided, keep, again, renew }
    }

    /// The endpoints of the service that gets everything, where activators answer for the route itself. `None` as long as
    /// none does and nobody is there to be kept: on the service's own port clients would not follow a change.
    fn on_own_port(&self, of_service: Endpoints) -> Option<Endpoints> {
        if of_service.path == Path::Serve {
            return Some(of_service);
        }
        let is_among = |own: &&SocketAddr| of_service.addresses.iter().any(|one| one.ip() == own.ip());
        let addresses: Vec<SocketAddr> = self.activators.addresses.iter().filter(is_among).copied().collect();
        match (addresses.is_empty(), &self.published) {
            (false, _) => Some(Endpoints { addresses, ..of_service }),
            (true, Some(_)) => Some(of_service),
            (true, None) => None,
        }
    }

    /// From now on its traffic goes where that of `mirrored` goes, or to activators. Who is connected to the pods of
    /// another service stays there until it is asked to go; asked too early, it would come back to the same.
    fn leave_for(&mut self, mirrored: Option<&ServiceKey>) {
        if self.mirrored.as_ref() == mirrored {
            return;
        }
        self.left.retain(|(service, _)| Some(service) != mirrored);
        let before = std::mem::replace(&mut self.mirrored, mirrored.cloned());
        self.left.extend(before.map(|service| (service, None)));
    }
}

#[cfg(test)]
mod tests;
