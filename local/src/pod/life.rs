use std::{io, time::Duration};

use ebb_proxy::Quiet;
use queue_proxy::QueueProxy;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::restarts::Restarts;
use super::{LocalPod, Machine, PodPhase, Template};
use crate::process::{Output, Process};

/// How long an app may take to answer before that is reported.
const SLOW_AFTER: Duration = Duration::from_secs(5);

/// The message if an app exits successfully while its port is still listened on. Its pod is not replaced,
/// because each successor would leave one more program behind.
const IN_BACKGROUND: &str =
    " and left a program behind that listens on its port; an app must stay in the foreground";

/// How a process ended by itself.
struct End {
    why: String,
    /// Whether its exit status is success.
    well: bool,
}

impl LocalPod {
    /// Runs until the pod is told to leave, or must leave, and has drained. `changed` is called after each
    /// change that others should see.
    pub(crate) async fn live(&self, template: &Template, machine: &Machine, changed: &(impl Fn() + Sync)) {
        let output = Output::new(self.name.clone(), machine.lines.clone());
        let mut restarts = Restarts::new();
        let mut in_background = false;
        loop {
            let began = Instant::now();
            let Err(end) = self.run(template, machine, &output, changed).await else { break };
            // The queue-proxy would take any program on that port for the app.
            let taken = !self.port.is_free();
            in_background |= taken && end.well;
            self.process_gone(end.why + if in_background { IN_BACKGROUND } else { "" }, &output);
            if taken && !in_background {
                warn!(pod = %self.name, port = self.port.number(), "its port was taken; replacing the pod");
                self.leave();
            }
            changed();
            tokio::select! {
                () = sleep(restarts.pause_after(began.elapsed())) => {}
                () = self.leave.cancelled() => break,
            }
        }
        self.drain(template).await;
        changed();
    }

    /// Runs the process once. Returns `Ok` if the pod was told to leave and the process was stopped,
    /// otherwise why it ended.
    async fn run(
        &self,
        template: &Template,
        machine: &Machine,
        output: &Output,
        changed: &(impl Fn() + Sync),
    ) -> Result<(), End> {
        let failed = |what: &str, error: io::Error| End { why: format!("{what}: {error}"), well: false };
        let started = self.start(template, machine, output, changed).await;
        let mut process = started.map_err(|error| failed("cannot start", error))?;
        tokio::select! {
            biased; // leaving takes precedence
            () = self.leave.cancelled() => {}
            ended = process.ended() => {
                let ended = ended.map_err(|error| failed("cannot be waited for", error))?;
                return Err(End { why: ended.to_string(), well: ended.is_well() });
            }
            () = self.follow_readiness(changed) => {}
        }
        self.drain(template).await;
        process.stop(template.stop_grace).await;
        Ok(())
    }

    async fn start(
        &self,
        template: &Template,
        machine: &Machine,
        output: &Output,
        changed: &(impl Fn() + Sync),
    ) -> io::Result<Process> {
        let what = template.app.what(self.port.number(), &self.name, &template.key.name);
        {
            let mut state = self.state.lock();
            state.enter(PodPhase::Starting);
            if state.trouble.is_empty() {
                // Not a failure yet, but the answer to clients that give up before the app is there.
                state.trouble = self.not_answering(template);
            }
            // As close to the start as possible: what comes before is Ebb's own time.
            state.timeline.spawned_at.get_or_insert(machine.clock.now());
        }
        changed();
        machine.spawner.spawn(&what, output).await
    }

    fn not_answering(&self, template: &Template) -> String {
        let what = match &template.serving.readiness_path {
            Some(path) => format!("does not answer GET {path}"),
            None => "does not listen".to_owned(),
        };
        format!("pod {} runs and {what} on 127.0.0.1:{} (its PORT)", self.name, self.port.number())
    }

    /// Tracks whether the app is ready, while the queue-proxy runs.
    async fn follow_readiness(&self, changed: &(impl Fn() + Sync)) {
        let Some(mut readiness) = self.sidecar.lock().as_ref().map(QueueProxy::readiness) else { return };
        let mut slow = std::pin::pin!(sleep(SLOW_AFTER));
        let mut is_slow = false;
        loop {
            tokio::select! {
                news = readiness.changed() => {
                    if news.is_err() {
                        return;
                    }
                    let ready = readiness.borrow_and_update().is_ready();
                    self.set_ready(ready);
                    changed();
                }
                () = &mut slow, if !is_slow => {
                    is_slow = true;
                    if !self.is_ready() {
                        warn!(after_s = SLOW_AFTER.as_secs(), "{}", self.trouble());
                    }
                }
            }
        }
    }

    fn set_ready(&self, ready: bool) {
        let ready_at = self.sidecar.lock().as_ref().and_then(QueueProxy::ready_at);
        let mut state = self.state.lock();
        if ready {
            state.enter(PodPhase::Ready);
            state.trouble.clear();
            state.timeline.ready_at = state.timeline.ready_at.or(ready_at);
        } else {
            state.enter(PodPhase::Starting);
        }
    }

    /// Records that the process ended by itself.
    fn process_gone(&self, why: String, output: &Output) {
        if let Some(sidecar) = &*self.sidecar.lock() {
            sidecar.app_gone();
        }
        let last = output.last();
        let said = if last.is_empty() { String::new() } else { format!("; it said: {}", last.join(" | ")) };
        let trouble = format!("pod {} {why}{said}", self.name);
        warn!("{trouble}");
        let mut state = self.state.lock();
        state.enter(PodPhase::Waiting { why });
        state.restarts += 1;
        state.trouble = trouble;
    }

    /// Drains the queue-proxy. Later calls do nothing.
    async fn drain(&self, template: &Template) {
        let timeline = self.timeline();
        let Some(sidecar) = self.sidecar.lock().take() else { return };
        self.state.lock().timeline = timeline;
        // A pod that was never ready was never published, so no request can be on its way to it.
        let known = timeline.ready_at.is_some() || sidecar.ready_at().is_some();
        let quiet = if known { template.drain.quiet } else { Duration::ZERO };
        match sidecar.drain(Quiet { quiet, ..template.drain }).await {
            Ok(()) => info!(pod = %self.name, "drained"),
            Err(cut) => warn!(
                pod = %self.name, connections = cut.connections,
                "drain ran out of time; connections were cut"
            ),
        }
    }
}
