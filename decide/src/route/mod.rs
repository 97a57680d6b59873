//! A route: a Service without pods of its own, which splits its requests between other services. The split
//! decides where its traffic goes.
//!
//! If one service gets all requests, the route's endpoints are that service's: clients reach its pods
//! directly. If several share them, activators choose a service for each request, on the route's own port.
//! They also serve that port for a single service that is not reached directly, so that its clients follow
//! when that changes.
//!
//! If a change of the split takes time, [`rollout`] splits the requests until the requested split is reached.

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

/// How long activators keep a route whose split has changed. They apply another change from the next request,
/// while clients connected to pods would stay there.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// The time within which all new connections follow published endpoints: every node's kube-proxy writes its
/// rules once a second.
const KNOWN_AFTER: Duration = Duration::from_secs(3);

/// The shortest time between two writes of a rollout's progress. A new leader may have to repeat that much of
/// it.
const KEEP_EVERY: Duration = Duration::from_secs(3);

/// How a route splits its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The targets; at least one has a weight above 0.
    pub targets: Vec<Target>,
    /// What identifies a user.
    pub by: SplitBy,
    /// The longest age of a client's connection, and of an upgraded one; `None` is off.
    pub max_connection_age: Option<Duration>,
    /// How long an upgraded connection may be idle; `None` is off.
    pub tunnel_idle_timeout: Option<Duration>,
    /// How a changed split is reached.
    pub pace: Pace,
}

/// A service that gets a share of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, in the route's namespace.
    pub service: String,
    /// Its weight, relative to the sum of all weights.
    pub weight: u32,
    /// Why it cannot take its share, phrased for a client; empty if it can.
    pub trouble: String,
}

impl Split {
    /// Creates the split of `spec`; `trouble` returns what is wrong with a service, or an empty string.
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

    /// Returns the same split with `weights`; only its own targets keep their trouble.
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

    /// Returns the service that gets all requests and can take them; `None` if activators must choose or
    /// explain why not.
    pub fn sole(&self) -> Option<&str> {
        let mut weighted = self.targets.iter().filter(|target| target.weight > 0);
        let sole = weighted.next().filter(|_| weighted.next().is_none())?;
        sole.trouble.is_empty().then_some(&*sole.service)
    }

    /// Returns whether the same service gets all requests as in `other`, or the targets have the same shares,
    /// ignoring trouble.
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

/// The state of one route.
#[derive(Debug)]
pub struct RouteState {
    /// The split that its owner wants.
    declared: Arc<Split>,
    /// The current split, during a rollout.
    split: Arc<Split>,
    /// The rollout; `None` until the route is first known, and when another leader may have continued it.
    rollout: Option<Rollout>,
    /// What the current leader last wrote down of it.
    kept: Option<Keep>,
    /// The earliest time to write down further progress.
    keep_again: Tick,
    /// The time from which a service that gets all requests is reached directly.
    settled_at: Tick,
    activators: Answering,
    published: Option<Endpoints>,
    /// The last publication failed.
    unwritten: bool,
    /// The service whose endpoints the route has, as last decided, so that no activator chooses.
    mirrored: Option<ServiceKey>,
    /// Former such services, and when clients still connected to their pods are asked to reconnect; `None`
    /// until the new endpoints are written.
    left: Vec<(ServiceKey, Option<Tick>)>,
    /// Whether a publication is in progress.
    is_writing: bool,
}

/// What to write down of a route's rollout, for the next leader; `None` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep(pub Option<Progress>);

/// What to do about a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteActions {
    /// The endpoints to publish, if any.
    pub publish: Option<Endpoints>,
    /// Whether the split changed, so that activators must be told.
    pub divided: bool,
    /// What to write down, if it changed.
    pub keep: Option<Keep>,
    /// When to evaluate it again, at the latest.
    pub again: Option<Tick>,
    /// Services to whose pods clients of the route may still be connected: these clients must reconnect.
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

    /// Returns the current split.
    pub fn split(&self) -> &Arc<Split> {
        &self.split
    }

    /// Returns where its traffic was sent; `None` before anything was published.
    pub fn published(&self) -> Option<&Endpoints> {
        self.published.as_ref()
    }

    /// Returns whether the route has the endpoints of a single service; otherwise activators choose for each
    /// request.
    pub fn mirrors(&self) -> bool {
        self.mirrored.is_some()
    }

    /// Returns the rollout to the split that its owner wants.
    pub fn rollout(&self) -> Option<&Rollout> {
        self.rollout.as_ref()
    }

    /// Returns whether a rollout is under way.
    fn is_under_way(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.progress().under_way.is_some())
    }

    /// Sets the split that the owner wants.
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

    /// Sets the current split to that of the rollout. Returns whether it changed.
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

    /// Advances the rollout; `look` returns the state of a service. Returns whether the split changed.
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

    /// Returns what to write down of the rollout, unless it is written or being written.
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

    /// Records that the progress could not be written.
    fn keep_failed(&mut self) {
        self.kept = None;
    }

    /// Sets the activators that serve the route.
    pub fn set_activators(&mut self, activators: Answering) {
        self.activators = activators;
    }

    /// Records that the publication failed and must be repeated.
    fn publish_failed(&mut self) {
        self.unwritten = true;
    }

    /// Records at `now` that the publication is written. Returns when to evaluate the route again for it.
    fn written(&mut self, now: Tick) -> Option<Tick> {
        self.is_writing = false;
        let known = now.after(KNOWN_AFTER);
        let undated = self.left.iter_mut().filter(|(_, at)| at.is_none());
        undated.map(|(_, at)| *at.insert(known)).last()
    }

    /// Forgets what was published, because another leader may have replaced it; the former leader may have
    /// ended before it asked clients to reconnect.
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

    /// Decides the split and the endpoints at `now`. `of` returns a service's endpoints (`None`: not yet
    /// known), and `look` its state.
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
            // Only activators can choose. While there is none, the endpoints stay as they are.
            None if self.activators.addresses.is_empty() => None,
            None => Some(endpoints(key, Path::Proxy, &[], &self.activators.addresses, u32::MAX)),
        };
        let publish = wanted.filter(|wanted| {
            // A new leader has no replacement yet for what its predecessor published.
            let changed =
                self.published.as_ref().map_or(!wanted.addresses.is_empty(), |before| before != wanted);
            changed || self.unwritten
        });
        if let Some(endpoints) = &publish {
            (self.published, self.unwritten, self.is_writing) = (Some(endpoints.clone()), false, true);
        } else if !self.is_writing && self.published.is_some() {
            // The endpoints are already written.
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

    /// Returns the endpoints of the service that gets all requests, on the route's own port if activators
    /// take them. `None` if none of the route's activators does and nothing was published yet: on the
    /// service's own port clients would not follow a change.
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

    /// Sends traffic to the endpoints of `mirrored`, or to activators. Clients connected to another service's
    /// pods stay there until they are asked to reconnect; asked too early, they would reach the same pods
    /// again.
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
