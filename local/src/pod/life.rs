use std::{io, sync::Arc, time::Duration};

use queue_proxy::QueueProxy;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{Machine, Pod, PodPhase, Template};
use crate::process::{Backoff, Ended, Output, Process, What};

/// An app that does not answer for so long is worth a word to those who wait for it.
const SLOW_AFTER: Duration = Duration::from_secs(5);

/// Why a pod's process was given up.
enum End {
    Ended(Ended),
    Failed(io::Error),
    Leave,
}

impl Pod {
    /// Lives until it is told to leave, and has left: `changed` is called whenever others should look.
    pub(crate) async fn live(self: Arc<Self>, template: Arc<Template>, machine: Machine, changed: &(impl Fn() + Sync)) {
        let output = self.output(&machine);
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let process = match self.start(&template, &machine, &output, changed).await {
                Ok(process) => process,
                Err(error) => {
                    if !self.wait_to_start_again(format!("cannot start: {error}"), &output, &mut backoff, began, changed).await {
                        break;
                    }
                    continue;
                }
            };
            let mut process = process;
            match self.watch(&mut process, changed).await {
                End::Leave => {
                    self.drain(&template).await;
                    process.stop(template.stop_grace).await;
                    break;
                }
                end => {
                    // What it started must not outlive it.
                    drop(process);
                    let why = match end {
                        End::Ended(ended) => ended.to_string(),
                        End::Failed(error) => format!("cannot be waited for: {error}"),
                        End::Leave => continue,
                    };
                    if !self.wait_to_start_again(why, &output, &mut backoff, began, changed).await {
                        break;
                    }
                }
            }
        }
        self.drain(&template).await;
        changed();
    }

    async fn start(
        &self,
        template: &Template,
        machine: &Machine,
        output: &Output,
        changed: &(impl Fn() + Sync),
    ) -> io::Result<Process> {
        let mut what: What = template.what.clone();
        let port = self.addresses.app.port().to_string();
        for (name, value) in [("PORT", &*port), ("EBB_POD", &*self.name), ("EBB_SERVICE", &*template.key.name)] {
            what.environment.insert(name.to_owned(), value.to_owned());
        }
        {
            let mut state = self.state.lock();
            if !self.is_leaving() {
                state.phase = PodPhase::Starting;
            }
            // As close to the start as can be: what comes before it is Ebb's own time.
            state.timeline.spawned_at.get_or_insert(machine.clock.now());
        }
        changed();
        machine.spawner.spawn(&what, output).await
    }

    /// Follows a running process until it ends or the pod has to leave.
    async fn watch(&self, process: &mut Process, changed: &(impl Fn() + Sync)) -> End {
        let Some(mut readiness) = self.sidecar.lock().as_ref().map(QueueProxy::readiness) else {
            return End::Leave;
        };
        let mut slow = std::pin::pin!(sleep(SLOW_AFTER));
        let mut is_slow = false;
        loop {
            tokio::select! {
                biased; // who has to leave does so, whatever else happened
                () = self.leave.cancelled() => return End::Leave,
                ended = process.ended() => {
                    return ended.map_or_else(End::Failed, End::Ended);
                }
                // The sidecar lives as long as we watch.
                Ok(()) = readiness.changed() => {
                    let ready = readiness.borrow_and_update().is_ready();
                    self.set_ready(ready);
                    changed();
                }
                () = &mut slow, if !is_slow => {
                    is_slow = true;
                    if !self.is_ready() {
                        let trouble = format!(
                            "pod {} has been running for {} s and does not answer on port {} (its PORT)",
                            self.name, SLOW_AFTER.as_secs(), self.addresses.app.port()
                        );
                        warn!("{trouble}");
                        self.state.lock().trouble = trouble;
                        changed();
                    }
                }
            }
        }
    }

    fn set_ready(&self, ready: bool) {
        let ready_at = self.sidecar.lock().as_ref().and_then(QueueProxy::ready_at);
        let mut state = self.state.lock();
        if self.is_leaving() {
            return;
        }
        if ready {
            state.phase = PodPhase::Ready;
            state.trouble.clear();
            state.timeline.ready_at = state.timeline.ready_at.or(ready_at);
        } else {
            state.phase = PodPhase::Starting;
        }
    }

    /// Waits out the back-off; answers whether the pod is still wanted after it.
    async fn wait_to_start_again(
        &self,
        why: String,
        output: &Output,
        backoff: &mut Backoff,
        began: Instant,
        changed: &(impl Fn() + Sync),
    ) -> bool {
        if self.is_leaving() {
            return false;
        }
        if let Some(sidecar) = &*self.sidecar.lock() {
            sidecar.app_gone();
        }
        let pause = backoff.pause_after(began.elapsed());
        let last = output.last();
        let said = if last.is_empty() { String::new() } else { format!("; it said: {}", last.join(" | ")) };
        let trouble = format!("pod {} {why}{said}", self.name);
        warn!(again_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "{trouble}");
        {
            let mut state = self.state.lock();
            state.phase = PodPhase::Waiting { why };
            state.restarts += 1;
            state.trouble = trouble;
        }
        changed();
        tokio::select! {
            () = sleep(pause) => true,
            () = self.leave.cancelled() => false,
        }
    }

    /// Lets the queue-proxy finish what it has. Done once; later calls find nothing.
    async fn drain(&self, template: &Template) {
        let timeline = self.timeline();
        let Some(sidecar) = self.sidecar.lock().take() else { return };
        self.state.lock().timeline = timeline;
        match sidecar.drain(template.drain).await {
            Ok(()) => info!(pod = %self.name, "drained"),
            Err(cut) => warn!(
                pod = %self.name, connections = cut.connections,
                "drain ran out of time; connections were cut"
            ),
        }
    }
}
