//! What the owner of a Service was told: each thing once, for each time that it becomes so.

use std::{mem::replace, time::Duration};

use ebb_core::Tick;

use crate::{facts::TargetFacts, rival::Rivals};

/// What a Service names may be made after it.
pub(super) const MISSING_FOR: Duration = Duration::from_secs(10);

/// A warning: its reason in one word, as Events have it, and its text.
pub(super) type Warning = (&'static str, String);

/// What was told of one Service.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Since when what it scales is not there.
    missing_since: Option<Tick>,
    /// What is said of that.
    missing: Option<String>,
    /// Why its pods cannot start.
    trouble: String,
    /// The pod that was told of as one that does not listen, and since when it ran so.
    deaf: Option<(String, Tick)>,
    /// That it has pods without a sidecar.
    bare: bool,
    /// That no port is left for it.
    no_port: bool,
    rivals: Rivals,
}

impl Ledger {
    /// What is said of a scale target that is not there.
    pub(super) const fn missing(&self) -> Option<&String> {
        self.missing.as_ref()
    }

    /// What keeps its pods from starting, if that was told; empty if nothing does.
    pub(super) fn trouble(&self) -> &str {
        &self.trouble
    }

    /// The pod that was told of as one that does not listen, and since when it ran so.
    pub(super) const fn deaf(&self) -> Option<&(String, Tick)> {
        self.deaf.as_ref()
    }

    /// So many pods were written to what it scales.
    pub(super) fn scaled(&mut self, pods: u32) {
        self.rivals.wrote(pods);
    }

    /// What it scales says of itself.
    pub(super) fn replicas_seen(&mut self, facts: &TargetFacts) -> Option<Warning> {
        let rival = self.rivals.seen(facts.replicas, facts.writer.as_deref())?;
        let text = format!(
            "{rival} repeatedly overwrites the replicas that Ebb writes; let only one of them do it: remove \
             ebb.dev/scale-target, or the autoscaler or the field of the GitOps tool that sets replicas"
        );
        Some(("RivalWriter", text))
    }

    /// No port is left for it.
    pub(super) fn no_port(&mut self) -> Option<Warning> {
        let text = "every port of the activators is taken; remove services, or annotations that name ports";
        (!replace(&mut self.no_port, true)).then(|| ("NoActivatorPort", text.to_owned()))
    }

    /// What it scales is not there, for the reason in `text`, or is: `None`. A Service is often seen before the object that
    /// it names: how long to wait until that is to be told, or what to tell.
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

    /// A pod of that name has run without listening since then.
    pub(super) fn not_listening(&mut self, pod: &str, since: Tick, text: String) -> Warning {
        self.deaf = Some((pod.to_owned(), since));
        ("NotListening", text)
    }

    /// What keeps its pods from starting; empty if nothing does.
    pub(super) fn pods_cannot_start(&mut self, trouble: String) -> Option<Warning> {
        let is_news = !trouble.is_empty() && trouble != self.trouble;
        let told = is_news.then(|| ("PodsCannotStart", trouble.clone()));
        self.trouble = trouble;
        told
    }

    /// Whether it has pods without a sidecar, of which `text` tells.
    pub(super) fn bare_pods(&mut self, is_so: bool, text: impl FnOnce() -> String) -> Option<Warning> {
        let is_news = is_so && !self.bare;
        self.bare = is_so;
        is_news.then(|| ("PodsWithoutSidecar", text()))
    }
}
