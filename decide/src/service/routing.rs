use std::{net::SocketAddr, time::Duration};

use ebb_core::{ServiceKey, Tick};

use crate::{
    Pod,
    endpoints::{Answering, Endpoints, Standing, endpoints, subset},
    zero::{Outcome, Path, Published},
};

/// Where a service's traffic goes, and who could take it.
#[derive(Debug, Default)]
pub(super) struct Routing {
    activators: Answering,
    /// When one of them left last.
    lost_at: Option<Tick>,
    published: Option<(Endpoints, Published)>,
    /// What was published last did not get there.
    unwritten: bool,
    /// What was published for; nothing else is to be published as long as that does not change.
    decided: Option<(Path, u32)>,
    /// The activators that are to pass the traffic on, each its part of it, in the order of their addresses' text.
    sharing: Vec<SocketAddr>,
    /// They are others than the activators were told.
    sharing_changed: bool,
    /// All activators pass its traffic on, because a route has each of them choose it.
    chosen: bool,
}

impl Routing {
    /// Pods came, went or changed.
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

    /// Whether an activator left, or fell silent, within `window` before `now`: it may still hold requests, and pass them on.
    pub(super) fn has_lost_one(&self, window: Duration, now: Tick) -> bool {
        self.lost_at.is_some_and(|at| now.since(at) < window)
    }

    /// Whether there is an activator that says what it holds.
    pub(super) fn hears(&self) -> bool {
        self.activators.is_heard()
    }

    /// Who takes connections, if activators are to. Pods that are ready are surer than activators that are gone.
    fn takers(&self, has_ready_pods: bool) -> &[SocketAddr] {
        match self.activators.standing {
            Standing::Gone if has_ready_pods => &[],
            _ => &self.activators.addresses,
        }
    }

    /// The activators that share the service.
    pub(super) fn sharing(&self) -> &[SocketAddr] {
        &self.sharing
    }

    /// Whether they are others than at the last time that this was asked.
    pub(super) fn take_sharing_changed(&mut self) -> bool {
        std::mem::take(&mut self.sharing_changed)
    }

    /// Where traffic was sent, as it was published last.
    pub(super) fn endpoints(&self) -> Option<&Endpoints> {
        self.published.as_ref().map(|(endpoints, _)| endpoints)
    }

    /// All activators pass its traffic on, or no longer. Answers whether that is news.
    pub(super) fn set_chosen(&mut self, chosen: bool) -> bool {
        let is_news = self.chosen != chosen;
        if is_news {
            (self.chosen, self.decided) = (chosen, None);
        }
        is_news
    }

    /// It did not get there.
    pub(super) fn publish_failed(&mut self) {
        (self.unwritten, self.decided) = (true, None);
    }

    /// Whatever was published, another one may have replaced it.
    pub(super) fn forget_published(&mut self) {
        (self.published, self.unwritten, self.decided) = (None, false, None);
    }

    /// Where traffic was sent; `None` before anything was published.
    pub(super) fn published(&self) -> Option<Published> {
        self.published.as_ref().map(|(_, published)| *published)
    }

    /// What is to be published now, if it is not.
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
        // One alone shares with nobody.
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
        // Who has just begun to lead knows nothing to put in the place of what a predecessor left: activators may
        // not have come yet.
        let changed = before.map_or(!wanted.addresses.is_empty(), |(endpoints, _)| *endpoints != wanted)
            || std::mem::take(&mut self.unwritten);
        self.published = Some((wanted.clone(), Published { path: wanted.path, proxied_since }));
        changed.then_some(wanted)
    }

    /// While nothing is known traffic goes where it went: an autoscaler that has just started must not put
    /// activators before every service.
    fn path(&self, outcome: &Outcome) -> Path {
        match (&self.published, outcome.wanted_pods) {
            (Some((_, published)), None) => published.path,
            _ => outcome.path,
        }
    }
}
