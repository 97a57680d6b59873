//! The demo's display: a small dashboard in a terminal, otherwise one line a second.

mod dashboard;

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use ebb_decide::zero::Path;
use ebb_local::{ColdStart, PodPhase, ServiceStatus};

use super::script::Script;
use crate::{
    load::{RecentView, Tally},
    run::cold_start_line,
};
use dashboard::Dashboard;

/// A snapshot of the demo.
pub(crate) struct Look<'a> {
    pub(crate) elapsed: Duration,
    pub(crate) phase: String,
    pub(crate) status: &'a ServiceStatus,
    pub(crate) recent: &'a RecentView,
    pub(crate) total: &'a Tally,
}

impl Look<'_> {
    pub(crate) fn mode(&self) -> &'static str {
        match self.status.view.map(|view| view.path) {
            Some(Path::Serve) if self.pods(|phase| *phase == PodPhase::Ready) > 0 => "serve",
            _ => "proxy",
        }
    }

    pub(crate) fn pods(&self, phase: fn(&PodPhase) -> bool) -> usize {
        self.status.pods.iter().filter(|pod| phase(&pod.phase)).count()
    }

    /// Requests in flight in the whole service: those at the pods, and those held.
    pub(crate) fn in_flight(&self) -> f64 {
        let at_pods: f64 = self.status.pods.iter().map(|pod| pod.in_flight).sum();
        at_pods + self.status.load.held as f64
    }

    fn line(&self) -> String {
        let view = self.status.view;
        let latency = self.recent.latency.as_ref();
        let ms = |duration: Option<Duration>| {
            duration.map_or_else(|| "-".to_owned(), |duration| format!("{:.0}", duration.as_secs_f64() * 1e3))
        };
        let average =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        format!(
            "{:5.1}s {:<14} {} {} | pods {}/{} | in flight {:.0} held {} | stable {} panic {}{} | {:.0} req/s p50 {} p99 {} ms | lost {}",
            self.elapsed.as_secs_f64(),
            self.phase,
            self.status.name,
            self.mode(),
            self.pods(|phase| *phase == PodPhase::Ready),
            view.map_or(0, |view| view.desired_pods),
            self.in_flight(),
            self.status.load.held,
            average(view.and_then(|view| view.stable)),
            average(view.and_then(|view| view.panic)),
            if view.is_some_and(|view| view.panicking) { "!" } else { "" },
            self.recent.answered_per_second,
            ms(latency.map(|quantiles| quantiles.p50)),
            ms(latency.map(|quantiles| quantiles.p99)),
            self.total.lost_total(),
        )
    }
}

/// The display.
pub(crate) struct Live {
    phases: Script,
    sink: Sink,
}

enum Sink {
    Dashboard(Box<Dashboard>),
    /// Lines to standard output, or to standard error if standard output is for JSON.
    Lines {
        to_error: bool,
        last_second: Option<u64>,
    },
}

impl Live {
    pub(crate) fn new(json: bool, script: &Script) -> io::Result<Self> {
        let sink = if !json && io::stdout().is_terminal() {
            Sink::Dashboard(Box::new(Dashboard::new()?))
        } else {
            Sink::Lines { to_error: json, last_second: None }
        };
        let mut live = Self { phases: script.clone(), sink };
        live.note(&format!("load: {}", script.describe()));
        live.note(
            "shortened for the demo: stable window 6 s (default 60), panic window 2 s (6), a decision each 0.5 s (2), grace before zero 1 s (30)",
        );
        Ok(live)
    }

    pub(crate) fn show(
        &mut self,
        elapsed: Duration,
        status: &ServiceStatus,
        recent: &RecentView,
        total: &Tally,
        starts: &[ColdStart],
    ) {
        for start in starts {
            self.note(&cold_start_line(start));
        }
        let phase = self.phases.phase_at(elapsed).to_owned();
        let look = Look { elapsed, phase, status, recent, total };
        match &mut self.sink {
            Sink::Dashboard(dashboard) => dashboard.draw(&look),
            Sink::Lines { last_second, .. } => {
                if last_second.replace(elapsed.as_secs()) != Some(elapsed.as_secs()) {
                    let line = look.line();
                    self.note(&line);
                }
            }
        }
    }

    /// Prints a line that stays.
    pub(crate) fn note(&mut self, text: &str) {
        // If the output is closed, there is nobody to tell.
        let _ = match &mut self.sink {
            Sink::Dashboard(dashboard) => dashboard.note(text),
            Sink::Lines { to_error: true, .. } => writeln!(io::stderr(), "{text}"),
            Sink::Lines { to_error: false, .. } => writeln!(io::stdout(), "{text}"),
        };
    }

    /// Restores the terminal.
    pub(crate) fn end(&mut self) {
        if let Sink::Dashboard(dashboard) = &mut self.sink {
            dashboard.end();
        }
    }
}
