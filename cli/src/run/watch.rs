//! Prints changes while services run: pods that come and go, and cold starts.

use std::collections::HashMap;

use ebb_decide::zero::Path;
use ebb_local::{Cluster, ColdStart, Phases, PodPhase, ServiceStatus};

use super::tries::{self, Tries};

/// The state that was last printed.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    said: HashMap<String, Summary>,
    tries: HashMap<String, Tries>,
    over: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Summary {
    ready: usize,
    starting: usize,
    draining: usize,
    serving: bool,
    troubles: Vec<String>,
}

impl Summary {
    fn of(status: &ServiceStatus) -> Self {
        let count = |phase: fn(&PodPhase) -> bool| status.pods.iter().filter(|pod| phase(&pod.phase)).count();
        let ready = count(|phase| *phase == PodPhase::Ready);
        Self {
            ready,
            starting: count(|phase| matches!(phase, PodPhase::Starting | PodPhase::Waiting { .. })),
            draining: count(|phase| *phase == PodPhase::Draining),
            // Right after the start no activator serves yet, which is not worth a line.
            serving: ready > 0 && status.view.is_some_and(|view| view.path == Path::Serve),
            troubles: status
                .pods
                .iter()
                .filter(|pod| matches!(pod.phase, PodPhase::Waiting { .. }))
                .map(|pod| format!("{} {} ({} restarts)", pod.name, pod.phase, pod.restarts))
                .collect(),
        }
    }

    fn line(&self, held: usize) -> String {
        let mut parts = vec![format!("{} ready", self.ready)];
        for (count, what) in
            [(self.starting, "starting"), (self.draining, "draining"), (held, "requests held")]
        {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let path = if self.serving { "clients reach the pods directly" } else { "the activator answers" };
        format!("{}; {path}", parts.join(", "))
    }
}

impl Watch {
    /// Returns what happened since the last call.
    pub(crate) fn look(&mut self, cluster: &Cluster) -> Vec<String> {
        let mut news: Vec<String> = cluster.take_cold_starts().iter().map(cold_start).collect();
        let mut all_tries = Vec::new();
        for status in cluster.status() {
            let tries = self.tries.entry(status.name.clone()).or_default();
            let were_in_vain = tries.are_in_vain();
            status.pods.iter().for_each(|pod| tries.see(pod.restarts, pod.was_ready));
            if tries.are_in_vain() && !were_in_vain {
                news.push(in_vain(&status));
            }
            all_tries.push((*tries, status.load.held));
            let now = Summary::of(&status);
            let before = self.said.entry(status.name.clone()).or_default();
            for trouble in now.troubles.iter().filter(|trouble| !before.troubles.contains(trouble)) {
                news.push(format!("{}: {trouble}", status.name));
            }
            if (now.ready, now.starting, now.draining, now.serving)
                != (before.ready, before.starting, before.draining, before.serving)
            {
                news.push(format!("{}: {}", status.name, now.line(status.load.held)));
            }
            *before = now;
        }
        self.over = tries::are_over(&all_tries);
        news
    }

    /// Returns whether, as of the last look, no service can be started and no request is held.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }
}

/// Describes a service that never comes up.
fn in_vain(status: &ServiceStatus) -> String {
    let then = match status.load.held {
        0 => String::new(),
        held => format!("; still trying, for {held} held requests"),
    };
    format!(
        "{}: the command exited repeatedly and was never ready; it must stay in the foreground and listen on \
         127.0.0.1 at the port in its variable PORT. If it takes the port as a flag, use `-- sh -c 'exec CMD --port $PORT'`{then}",
        status.name
    )
}

/// Describes a cold start.
pub(crate) fn cold_start(start: &ColdStart) -> String {
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    let Phases { decide, spawn, start: app, notice, dispatch } = start.phases();
    format!(
        "{}: cold start in {:.1} ms: decide {:.1}, spawn {:.1}, app {:.1}, notice {:.1}, dispatch {:.1}; Ebb's own share {:.1} ms",
        start.service,
        ms(start.total()),
        ms(decide),
        ms(spawn),
        ms(app),
        ms(notice),
        ms(dispatch),
        ms(start.own()),
    )
}
