//! Watches, takes, renews and releases the Lease.

use std::{pin::pin, time::Duration};

use ebb_core::Tick;
use ebb_proxy::WallClock;
use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{Tenure, Verdict, evaluate};
use crate::{in_words, watches::watch_error};

/// A lease that was not renewed for this long can be taken.
const DURATION: Duration = Duration::from_secs(15);
/// A leader renews the lease this long before it must stop leading, which leaves time for a second and a third
/// attempt.
const RENEW_BEFORE: Duration = Duration::from_secs(5);
/// Time limit for an answer of the API server.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// When we stop leading, writes in progress may take this long before they are cut.
const LAST_WRITES: Duration = Duration::from_millis(100);
/// Pause between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// A program that can lead.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    me: String,
    clock: WallClock,
    seen: Option<Lease>,
    /// Since when the lease has been unchanged, by our own clock.
    observed_since: Tick,
    leads: watch::Sender<bool>,
}

impl Candidate {
    /// Returns a candidate `me` for the Lease `name` in `namespace`.
    pub fn new(client: Client, namespace: &str, name: &str, me: &str, clock: WallClock) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            me: me.to_owned(),
            clock,
            seen: None,
            observed_since: clock.now(),
            leads: watch::Sender::new(false),
        }
    }

    /// Returns a receiver that says whether we lead.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Leads whenever possible, until `stop` resolves; then releases the lease at once.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let one = watcher::Config::default().fields(&format!("metadata.name={}", self.name)).timeout(60);
        let mut events = pin!(watcher(self.api.clone(), one).default_backoff());
        let mut known = false;
        let mut not_before = self.clock.now();
        loop {
            let now = self.clock.now();
            let verdict = evaluate(self.tenure().as_ref(), &self.me, self.observed_since, now);
            let lead = matches!(verdict, Verdict::Lead { .. });
            self.leads.send_if_modified(|leads| {
                let changed = *leads != lead;
                *leads = lead;
                changed
            });
            // Read the lease before judging it: otherwise every candidate would take it.
            let (act_at, is_write) = match verdict {
                Verdict::Lead { until } => (until.before(RENEW_BEFORE).max(not_before), true),
                Verdict::Take => (not_before, true),
                Verdict::Follow { until } => (until, false),
            };
            // A leader that cannot renew must stop in time, whatever it waits for.
            let look_at = match verdict {
                Verdict::Lead { until } => until.min(act_at),
                _ => act_at,
            };
            tokio::select! {
                biased;
                () = &mut stop => break,
                event = events.next() => match event {
                    Some(Ok(Event::Apply(lease) | Event::InitApply(lease))) => self.observe(Some(lease)),
                    Some(Ok(Event::Delete(_))) => self.observe(None),
                    Some(Ok(Event::InitDone)) => known = true,
                    Some(Ok(Event::Init)) => {}
                    Some(Err(error)) => warn!(error = watch_error(&error), "cannot watch the lease"),
                    None => break,
                },
                () = sleep_until(self.clock.instant(look_at)), if known => {
                    if is_write && self.clock.now() >= act_at {
                        not_before = self.clock.now().after(RETRY);
                        self.write(lead).await;
                    }
                }
            }
        }
        // Our writes stop before another leader's may start.
        if self.leads.send_replace(false) {
            sleep(LAST_WRITES).await;
            self.give_up().await;
        }
    }

    fn tenure(&self) -> Option<Tenure> {
        let spec = self.seen.as_ref()?.spec.as_ref()?;
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Some(Tenure {
            holder: spec.holder_identity.clone().filter(|holder| !holder.is_empty()),
            duration: seconds.map_or(DURATION, Duration::from_secs),
        })
    }

    fn observe(&mut self, object: Option<Lease>) {
        let version = |object: &Option<Lease>| object.as_ref().and_then(ResourceExt::resource_version);
        if version(&object) != version(&self.seen) || object.is_none() {
            self.seen = object;
            self.observed_since = self.clock.now();
        }
    }

    /// Takes or renews the lease.
    async fn write(&mut self, renews: bool) {
        let sent = self.clock.now();
        let at = Some(MicroTime(
            Timestamp::from_microsecond(i64::try_from(sent.since_epoch().as_micros()).unwrap_or(0))
                .unwrap_or_default(),
        ));
        let before = self.seen.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: at.clone(),
            acquire_time: if renews { before.acquire_time } else { at },
            lease_transitions: Some(if renews { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        };
        if let Some(written) = self.replace(spec).await {
            if !renews {
                info!(lease = self.name, me = self.me, "leading");
            }
            self.seen = Some(written);
            self.observed_since = sent;
        }
    }

    async fn give_up(&mut self) {
        let before = self.seen.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..before };
        if self.replace(spec).await.is_some() {
            info!(lease = self.name, "released the lease");
        }
    }

    /// Writes the lease, if nobody else has written it since we read it.
    async fn replace(&self, spec: LeaseSpec) -> Option<Lease> {
        let metadata = match &self.seen {
            Some(seen) => seen.metadata.clone(),
            None => ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
        };
        let object = Lease { metadata, spec: Some(spec) };
        let params = PostParams::default();
        let written = async {
            match &self.seen {
                Some(_) => self.api.replace(&self.name, &params, &object).await,
                None => self.api.create(&params, &object).await,
            }
        };
        match timeout(ANSWER_WITHIN, written).await {
            Ok(Ok(written)) => Some(written),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => None,
            Ok(Err(error)) => {
                warn!(error = in_words(&error), "cannot write the lease");
                None
            }
            Err(_) => {
                warn!("the API server did not answer in time; the lease may be lost");
                None
            }
        }
    }
}
