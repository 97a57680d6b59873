//! Tracks what the owner of a Service was told, so that each problem is told once each time it arises.

use std::{mem::replace, time::Duration};

use ebb_core::Tick;

use crate::{facts::TargetFacts, rival::Rivals};

/// How long a scale target or a split's service may be missing: it may be created after the Service.
pub(super) const MISSING_FOR: Duration = Duration::from_secs(10);

/// A warning: its reason in one word, as Events have it, and its text.
pub(super) type Warning = (&'static str, String);

/// What was told about one Service.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Since when its scale target is missing.
    missing_since: Option<Tick>,
    /// What was told about that.
    missing: Option<String>,
    /// Why its pods cannot start.
    trouble: String,
    /// The pod that was reported as not listening, and since when it had run.
    deaf: Option<(String, Tick)>,
    /// Whether it was told about pods without a sidecar.
    bare: bool,
    /// Whether it was told that no port is left.
    no_port: bool,
    rivals: Rivals,
}

impl Ledger {
    /// Returns what was told about a missing scale target.
    pub(super) const fn missing(&self) -> Option<&String> {
        self.missing.as_ref()
    }

    /// Returns what was told about pods that cannot start; empty if they can.
    pub(super) fn trouble(&self) -> &str {
        &self.trouble
    }

    /// Returns the pod that was reported as not listening, and since when it had run.
    pub(super) const fn deaf(&self) -> Option<&(String, Tick)> {
        self.deaf.as_ref()
    }

    /// Records that `pods` were written to its scale target.
    pub(super) fn scaled(&mut self, pods: u32) {
        self.rivals.wrote(pods);
    }

    /// Records the state of its scale target.
    pub(super) fn replicas_seen(&mut self, facts: &TargetFacts) -> Option<Warning> {
        let rival = self.rivals.seen(facts.replicas, facts.writer.as_deref())?;
        let text = format!(
            "{rival} repeatedly overwrites the replicas that Ebb writes; let only one of them do it: remove \
             ebb.dev/scale-target, or the autoscaler or the field of the GitOps tool that sets replicas"
        );
        Some(("RivalWriter", text))
    }

    /// Records that no port is left for it.
    pub(super) fn no_port(&mut self) -> Option<Warning> {
        (!replace(&mut self.no_port, true)).then(Self::no_port_is_left)
    }

    /// Returns whether it was told that no port is left for it.
    pub(super) const fn is_told_of_no_port(&self) -> bool {
        self.no_port
    }

    /// Returns the warning that no port is left.
    pub(super) fn no_port_is_left() -> Warning {
        let text = "every port of the activators is taken; remove services, or annotations that name ports";
        ("NoActivatorPort", text.to_owned())
    }

    /// Records that its scale target is missing, for the reason in `text`, or exists: `None`. Returns what to tell,
    /// or how long to wait until then, since a Service is often seen before its scale target.
    pub(super) fn missing_target(
        &mut self,
        text: Option<String>,
        now: Tick,
    ) -> Result<Option<Warning>, Duration> {
        let Some(text) = text else {
            (self.missing_since, self.missing) = (None, None);
            return Ok(None);
        };
        let since = *self.missing_since.get_or_insert(now);
        let rest = MISSING_FOR.saturating_sub(now.since(since));
        if !rest.is_zero() {
            return Err(rest);
        }
        let is_news = self.missing.replace(text.clone()).as_ref() != Some(&text);
        Ok(is_news.then_some(("ScaleTargetMissing", text)))
    }

    /// Records that the pod has run since then without listening.
    pub(super) fn not_listening(&mut self, pod: &str, since: Tick, text: String) -> Warning {
        self.deaf = Some((pod.to_owned(), since));
        ("NotListening", text)
    }

    /// Records what keeps its pods from starting; empty if nothing does.
    pub(super) fn pods_cannot_start(&mut self, trouble: String) -> Option<Warning> {
        let is_news = !trouble.is_empty() && trouble != self.trouble;
        let told = is_news.then(|| ("PodsCannotStart", trouble.clone()));
        self.trouble = trouble;
        told
    }

    /// Records whether it has pods without a sidecar, which `text` describes.
    pub(super) fn bare_pods(&mut self, is_so: bool, text: impl FnOnce() -> String) -> Option<Warning> {
        let is_news = is_so && !self.bare;
        self.bare = is_so;
        is_news.then(|| ("PodsWithoutSidecar", text()))
    }
}
