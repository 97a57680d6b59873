//! Decides what to write next for one service, given what exists.

use std::{collections::BTreeSet, time::Duration};

use ebb_core::{ServiceKey, Tick};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use super::World;
use crate::{
    claim::Change,
    facts::{Manager, SliceFacts, TargetKey, digest},
    slices::{self, Named},
};

/// How long every node's kube-proxy may take to apply a changed slice: it writes its rules once a second.
pub(crate) const NETWORK: Duration = Duration::from_secs(3);

/// How long a new leader leaves slices unchanged: until then activators may still be connecting to it, and slices
/// without them would be wrong.
const SETTLING: Duration = Duration::from_secs(3);

/// How long a service that is given back waits for somebody to take over its traffic.
const HANDOVER: Duration = Duration::from_secs(120);

/// What to do for a service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// Nothing, until something changes.
    Rest,
    /// Look again after this duration.
    Wait(Duration),
    /// Carry out this step.
    Do(Step),
}

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Apply these of Ebb's slices, then delete those.
    Slices { apply: Vec<EndpointSlice>, delete: Vec<String> },
    /// A merge patch of the Service.
    Patch(Value),
    /// Delete these slices, which the cluster's own controllers left behind, and the Endpoints object that they are
    /// made from.
    Leftovers(Vec<String>),
    /// A rollout of the scale target, unless its pods have that mark.
    Restart { target: TargetKey, mark: String },
}

impl World {
    /// Returns what to write next for the service. Must not be called while a write is under way.
    pub(crate) fn step(&mut self, key: &ServiceKey, now: Tick) -> Plan {
        let plan = self.next(key, now);
        if let Some(record) = self.services.get_mut(key) {
            record.told_slices = matches!(plan, Plan::Do(_)).then(BTreeSet::new);
        }
        plan
    }

    fn next(&mut self, key: &ServiceKey, now: Tick) -> Plan {
        let Some(record) = self.services.get_mut(key) else { return Plan::Rest };
        let slices = self.slices.get(key);
        let of = |manager: Manager| {
            slices.into_iter().flatten().filter(move |(_, slice)| slice.manager == manager)
        };
        // Its slices may be stale and name a pod that is known to be gone.
        let has_pod = record.claim.is_none() || record.pods.values().any(|pod| pod.ready);
        let is_taken_over = has_pod && of(Manager::Cluster).any(|(_, slice)| slice.ready);
        record.cluster_ready_since = is_taken_over.then_some(record.cluster_ready_since.unwrap_or(now));
        if record.route.is_some() && !record.route_ends {
            record.releasing_since = None;
            return self.take_route(key, now);
        }
        if record.releasing.is_some() || record.claim.is_none() {
            return self.give_back(key, now);
        }
        record.releasing_since = None;
        self.take(key, now)
    }

    /// Gives the service back, or rejects one that never was Ebb's: removes everything of Ebb's without an outage.
    fn give_back(&mut self, key: &ServiceKey, now: Tick) -> Plan {
        let own: Vec<String> = self.own_slices(key).map(|(name, _)| name.clone()).collect();
        let missing = self.target(key).is_some_and(|target| !self.targets.contains_key(&target));
        let Some(record) = self.services.get_mut(key) else { return Plan::Rest };
        let object = &record.object;
        let mut change = match &record.releasing {
            Some(selector) => Change::give_back(object, selector),
            None if record.route.is_some() => Change::end_route(object),
            None => Change::default(),
        };
        change.set_status(object, record.status());
        if !change.is_empty() {
            return Plan::Do(Step::Patch(change.merge_patch(object)));
        }
        let since = *record.releasing_since.get_or_insert(now);
        if own.is_empty() {
            if record.front().is_some() {
                // Until every node has applied the change, some send clients to the endpoints of the last slices.
                let left_at = *record.left_at.get_or_insert(now);
                let rest = NETWORK.saturating_sub(now.since(left_at));
                if !rest.is_zero() {
                    return Plan::Wait(rest);
                }
            }
            self.unclaim(key);
            self.unroute(key);
            return Plan::Rest;
        }
        let rest = match record.cluster_ready_since {
            Some(ready) => NETWORK.saturating_sub(now.since(ready)),
            None if missing => Duration::ZERO,
            // Nobody will take it over: it has no pods that could be known.
            None if record.releasing.is_none() && !record.has_selector() => Duration::ZERO,
            // Wait for the controller that should take over: nobody else sends clients to the pods.
            None if record.pods.values().any(|pod| pod.ready) => HANDOVER,
            None => HANDOVER.saturating_sub(now.since(since)),
        };
        if rest.is_zero() {
            Plan::Do(Step::Slices { apply: Vec::new(), delete: own })
        } else {
            Plan::Wait(rest)
        }
    }

    /// Takes the service: first its slices, then its selector, then what others left behind.
    fn take(&mut self, key: &ServiceKey, now: Tick) -> Plan {
        if let Some(plan) = self.place(key, now) {
            return plan;
        }
        let leftovers = self.leftovers(key);
        let slices = self.slices.get(key);
        // Without endpoints, as of a Service that is new, they send no client anywhere.
        let lead_to_pods =
            slices.into_iter().flatten().any(|(name, slice)| slice.ready && leftovers.contains(name));
        let target = self.target(key);
        let missing = target.as_ref().filter(|target| !self.targets.contains_key(target)).map(|target| {
            match self.unknowable.get(&target.kind) {
                Some(why) => format!("ebb.dev/scale-target: {target} cannot be scaled: {why}"),
                None => format!("ebb.dev/scale-target: {target} does not exist"),
            }
        });
        let Some(record) = self.services.get_mut(key) else { return Plan::Rest };
        let Some(claim) = &record.claim else { return Plan::Rest };
        let placed_at = *record.placed_at.get_or_insert(now);
        let mut change = Change::take(&record.object, claim, record.port);
        change.set_status(&record.object, record.status());
        if !change.is_empty() {
            // The others' slices are maintained only while the selector is in place, so every node must know Ebb's
            // slices before it is removed.
            let rest = NETWORK.saturating_sub(now.since(placed_at));
            return if claim.selector_in_place && lead_to_pods && !rest.is_zero() {
                Plan::Wait(rest)
            } else {
                Plan::Do(Step::Patch(change.merge_patch(&record.object)))
            };
        }
        if !leftovers.is_empty() {
            record.cleared_at = None;
            return Plan::Do(Step::Leftovers(leftovers));
        }
        let cleared_at = *record.cleared_at.get_or_insert(now);
        if claim.restart && !record.restarted && record.bare_pods().next().is_some() {
            // Pods without a sidecar do not drain, so no client may be sent to them any more.
            let rest = NETWORK.saturating_sub(now.since(cleared_at));
            if !rest.is_zero() {
                return Plan::Wait(rest);
            }
            record.restarted = true;
            if let Some(target) = target {
                return Plan::Do(Step::Restart { target, mark: claim.front.uid.clone() });
            }
        }
        let shown = record.status();
        match record.missing(missing, now) {
            Err(rest) => return Plan::Wait(rest),
            Ok(notice) => self.notices.extend(notice),
        }
        // The status must be written on the Service as well.
        if record.status() != shown {
            return Plan::Wait(Duration::ZERO);
        }
        match record.not_listening(now) {
            Err(rest) => Plan::Wait(rest),
            Ok(notice) => {
                self.notices.extend(notice);
                Plan::Rest
            }
        }
    }

    /// Takes a route: first its slices, then its annotations, then what others left behind.
    fn take_route(&mut self, key: &ServiceKey, now: Tick) -> Plan {
        if let Some(plan) = self.place(key, now) {
            return plan;
        }
        let leftovers = self.leftovers(key);
        let Some(record) = self.services.get_mut(key) else { return Plan::Rest };
        let placed_at = *record.placed_at.get_or_insert(now);
        let valid =
            record.route.as_ref().filter(|_| record.reasons.is_empty()).map(|route| route.spec.split_text());
        let mut change = Change::route(&record.object, record.port, valid);
        record.write_rollout(&mut change);
        change.set_status(&record.object, record.status());
        if !change.is_empty() {
            return Plan::Do(Step::Patch(change.merge_patch(&record.object)));
        }
        // Kubernetes maintains the slices of a Service with a selector, which a route must not have: they are not
        // leftovers.
        if !leftovers.is_empty() && !record.has_selector() {
            // Every node must know Ebb's slices by then.
            let rest = NETWORK.saturating_sub(now.since(placed_at));
            return if rest.is_zero() { Plan::Do(Step::Leftovers(leftovers)) } else { Plan::Wait(rest) };
        }
        match record.troubled(now) {
            Err(rest) => Plan::Wait(rest),
            Ok(None) => Plan::Rest,
            Ok(Some(notice)) => {
                self.notices.push(notice);
                // Its condition may say the same from now on.
                self.touched.insert(key.clone());
                // The status must be written on the Service as well.
                Plan::Wait(Duration::ZERO)
            }
        }
    }

    /// Returns what to do until the slices are as they should be; `None` if they are.
    fn place(&self, key: &ServiceKey, now: Tick) -> Option<Plan> {
        let Some(wanted) = self.wanted_slices(key) else { return Some(Plan::Rest) };
        let settling = SETTLING.saturating_sub(now.since(self.leads_since));
        let own: Vec<(String, u64)> =
            self.own_slices(key).map(|(name, slice)| (name.clone(), slice.digest)).collect();
        let has_endpoints = self.own_slices(key).any(|(_, slice)| slice.ready);
        let name = |slice: &EndpointSlice| slice.metadata.name.clone().unwrap_or_default();
        let is_there = |slice: &EndpointSlice| own.contains(&(name(slice), digest(slice)));
        let delete: Vec<String> = own
            .iter()
            .map(|(there, _)| there)
            .filter(|there| wanted.iter().all(|slice| name(slice) != **there))
            .cloned()
            .collect();
        let is_empty = wanted.iter().all(|slice| slice.endpoints.is_empty());
        let apply: Vec<EndpointSlice> = wanted.into_iter().filter(|slice| !is_there(slice)).collect();
        if apply.is_empty() && delete.is_empty() {
            return None;
        }
        if !own.is_empty() && !settling.is_zero() {
            return Some(Plan::Wait(settling));
        }
        // Without a pod or an activator the slices stay: those that took the traffic may come back.
        (!has_endpoints || !is_empty).then_some(Plan::Do(Step::Slices { apply, delete }))
    }

    /// Returns slices that the cluster's own controllers left behind.
    fn leftovers(&self, key: &ServiceKey) -> Vec<String> {
        let slices = self.slices.get(key).into_iter().flatten();
        slices.filter(|(_, slice)| slice.manager == Manager::Cluster).map(|(name, _)| name.clone()).collect()
    }

    fn own_slices(&self, key: &ServiceKey) -> impl Iterator<Item = (&String, &SliceFacts)> {
        self.slices.get(key).into_iter().flatten().filter(|(_, slice)| slice.manager == Manager::Ebb)
    }

    /// Returns the slices that the service should have; `None` until the endpoints are decided.
    fn wanted_slices(&self, key: &ServiceKey) -> Option<Vec<EndpointSlice>> {
        let record = self.services.get(key)?;
        let (front, wanted) = (record.front()?, record.wanted.as_ref()?);
        let pods: Vec<Named<'_>> = record.pods.iter().map(|(name, pod)| (&**name, &**pod)).collect();
        Some(slices::wanted(front, &wanted.addresses, &pods, |ip| self.whose(ip)))
    }
}
