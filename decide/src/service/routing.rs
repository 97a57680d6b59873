use std::{net::SocketAddr, time::Duration};

use ebb_core::{ServiceKey, Tick};

use crate::{
    Pod,
    endpoints::{Answering, Endpoints, Standing, endpoints, subset},
    zero::{Outcome, Path, Published},
};

/// Where a service's traffic goes, and which activators could take it.
#[derive(Debug, Default)]
pub(super) struct Routing {
    activators: Answering,
    /// When an activator last left.
    lost_at: Option<Tick>,
    published: Option<(Endpoints, Published)>,
    /// The last publication failed.
    unwritten: bool,
    /// The decision that was published; nothing is published until it changes.
    decided: Option<(Path, u32)>,
    /// The activators that share the traffic, in the order of their addresses as text.
    sharing: Vec<SocketAddr>,
    /// The activators have not been told of a change of `sharing`.
    sharing_changed: bool,
    /// All activators forward its traffic, because a route has each of them choose it.
    chosen: bool,
}

impl Routing {
    /// Called when pods were added, removed or changed.
    pub(super) fn changed(&mut self) {
        self.decided = None;
    }

    pub(super) fn set_activators(&mut self, activators: Answering, now: Tick) {
        let is_lost = |before: &SocketAddr| !activators.addresses.contains(before);
        if self.activators.addresses.iter().any(is_lost) || self.hears() && !activators.is_heard() {
            self.lost_at = Some(now);
        }
        self.activators = activators;
        self.decided = None;
    }

    /// Returns whether an activator left, or fell silent, within `window` before `now`: it may still hold
    /// requests, and forward them.
    pub(super) fn has_lost_one(&self, window: Duration, now: Tick) -> bool {
        self.lost_at.is_some_and(|at| now.since(at) < window)
    }

    /// Returns whether there is an activator that reports what it holds.
    pub(super) fn hears(&self) -> bool {
        self.activators.is_heard()
    }

    /// Returns the activators that take connections, if activators should. Ready pods are preferred to
    /// activators that are gone.
    fn takers(&self, has_ready_pods: bool) -> &[SocketAddr] {
        match self.activators.standing {
            Standing::Gone if has_ready_pods => &[],
            _ => &self.activators.addresses,
        }
    }

    /// Returns the activators that share the service.
    pub(super) fn sharing(&self) -> &[SocketAddr] {
        &self.sharing
    }

    /// Returns whether they changed since the last call.
    pub(super) fn take_sharing_changed(&mut self) -> bool {
        std::mem::take(&mut self.sharing_changed)
    }

    /// Returns the endpoints that were last published.
    pub(super) fn endpoints(&self) -> Option<&Endpoints> {
        self.published.as_ref().map(|(endpoints, _)| endpoints)
    }

    /// Sets whether all activators forward its traffic. Returns whether that changed.
    pub(super) fn set_chosen(&mut self, chosen: bool) -> bool {
        let is_news = self.chosen != chosen;
        if is_news {
            (self.chosen, self.decided) = (chosen, None);
        }
        is_news
    }

    /// Records that the publication failed.
    pub(super) fn publish_failed(&mut self) {
        (self.unwritten, self.decided) = (true, None);
    }

    /// Forgets what was published, because another leader may have replaced it.
    pub(super) fn forget_published(&mut self) {
        (self.published, self.unwritten, self.decided) = (None, false, None);
    }

    /// Returns where traffic was sent; `None` before anything was published.
    pub(super) fn published(&self) -> Option<Published> {
        self.published.as_ref().map(|(_, published)| *published)
    }

    /// Returns what to publish now, if it changed.
    pub(super) fn publish(
        &mut self,
        service: &ServiceKey,
        outcome: &Outcome,
        pods: &[Pod],
        now: Tick,
    ) -> Option<Endpoints> {
        let path = self.path(outcome);
        if self.decided.replace((path, outcome.activators)) == Some((path, outcome.activators)) {
            return None;
        }
        let ready: Vec<SocketAddr> = pods.iter().filter(|pod| pod.ready).filter_map(Pod::serving).collect();
        let takers = self.takers(!ready.is_empty());
        let wanted = endpoints(service, path, &ready, takers, outcome.activators);
        // A single activator shares with nobody.
        let mut sharing = match takers.len() {
            0 | 1 => Vec::new(),
            _ if self.chosen => takers.to_vec(),
            _ => subset(service, takers, outcome.activators),
        };
        sharing.sort_unstable_by_key(ToString::to_string);
        if sharing != self.sharing {
            (self.sharing, self.sharing_changed) = (sharing, true);
        }
        let before = self.published.as_ref();
        let proxied_since = match wanted.path {
            Path::Proxy => before.and_then(|(_, published)| published.proxied_since).or(Some(now)),
            Path::Serve => None,
        };
        // A new leader has no replacement yet for what its predecessor published: activators may not have
        // connected yet.
        let changed = before.map_or(!wanted.addresses.is_empty(), |(endpoints, _)| *endpoints != wanted)
            || std::mem::take(&mut self.unwritten);
        self.published = Some((wanted.clone(), Published { path: wanted.path, proxied_since }));
        changed.then_some(wanted)
    }

    /// While nothing is known, traffic stays where it is: an autoscaler that has just started must not put
    /// activators in front of every service.
    fn path(&self, outcome: &Outcome) -> Path {
        match (&self.published, outcome.wanted_pods) {
            (Some((_, published)), None) => published.path,
            _ => outcome.path,
        }
    }
}
