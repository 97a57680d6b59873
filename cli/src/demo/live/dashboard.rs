//! A few lines at the bottom of the terminal; notes scroll away above them.

use std::{collections::VecDeque, io};

use ebb_local::PodPhase;
use ratatui::{
    DefaultTerminal, Frame, TerminalOptions, Viewport,
    layout::{Constraint, Layout},
    style::{Color, Style},
    text::Line,
    widgets::{Block, Paragraph, Sparkline, Widget},
};

use super::Look;

/// The height of the dashboard, in lines.
const HEIGHT: u16 = 9;
/// The number of values in a plot: more than any terminal is wide.
const HISTORY: usize = 500;

/// The dashboard and the data of its plots.
pub(super) struct Dashboard {
    terminal: DefaultTerminal,
    in_flight: VecDeque<u64>,
    pods: VecDeque<u64>,
    rate: VecDeque<u64>,
}

impl Dashboard {
    pub(super) fn new() -> io::Result<Self> {
        let options = TerminalOptions { viewport: Viewport::Inline(HEIGHT) };
        // No raw mode: the dashboard reads no keys, and Ctrl-C must stay a signal.
        let terminal =
            ratatui::Terminal::with_options(ratatui::backend::CrosstermBackend::new(io::stdout()), options)?;
        Ok(Self { terminal, in_flight: VecDeque::new(), pods: VecDeque::new(), rate: VecDeque::new() })
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts and rates for a plot"
    )]
    pub(super) fn draw(&mut self, look: &Look<'_>) {
        remember(&mut self.in_flight, look.in_flight() as u64);
        remember(&mut self.pods, look.status.pods.len() as u64);
        remember(&mut self.rate, look.recent.answered_per_second as u64);
        let plots = [("in flight", &self.in_flight), ("pods", &self.pods), ("answers/s", &self.rate)];
        // If the terminal is gone, the demo goes on without it.
        let _ = self.terminal.draw(|frame| render(frame, look, plots));
    }

    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.terminal.insert_before(1, |buffer| Paragraph::new(text).render(buffer.area, buffer))
    }

    pub(super) fn end(&mut self) {
        let _ = self.terminal.clear();
        let _ = self.terminal.show_cursor();
    }
}

fn remember(values: &mut VecDeque<u64>, value: u64) {
    if values.len() == HISTORY {
        values.pop_front();
    }
    values.push_back(value);
}

fn render(frame: &mut Frame<'_>, look: &Look<'_>, plots: [(&str, &VecDeque<u64>); 3]) {
    let [head, body] = Layout::vertical([Constraint::Length(4), Constraint::Min(3)]).areas(frame.area());
    frame.render_widget(Paragraph::new(text(look)), head);
    let columns: [_; 3] = Layout::horizontal([Constraint::Ratio(1, 3); 3]).areas(body);
    for ((title, values), area) in plots.into_iter().zip(columns) {
        let block = Block::bordered().title(format!(" {title} {} ", values.back().unwrap_or(&0)));
        let width = usize::from(area.width.saturating_sub(2));
        let shown: Vec<u64> = values.iter().skip(values.len().saturating_sub(width)).copied().collect();
        let plot = Sparkline::default().block(block).data(shown).style(Style::new().fg(Color::Cyan));
        frame.render_widget(plot, area);
    }
}

fn text(look: &Look<'_>) -> Vec<Line<'static>> {
    let status = look.status;
    let view = status.view;
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let latency = look.recent.latency.as_ref();
    let ms =
        |duration: Option<std::time::Duration>| number(duration.map(|duration| duration.as_secs_f64() * 1e3));
    vec![
        Line::from(format!("{:5.1} s  {}", look.elapsed.as_secs_f64(), look.phase)),
        Line::from(format!(
            "{}  mode {}  pods {} ready / {} desired ({} starting, {} draining)",
            status.name,
            look.mode(),
            look.pods(|phase| *phase == PodPhase::Ready),
            view.map_or(0, |view| view.desired_pods),
            look.pods(|phase| matches!(phase, PodPhase::Starting | PodPhase::Waiting { .. })),
            look.pods(|phase| *phase == PodPhase::Draining),
        )),
        Line::from(format!(
            "in flight {:.0}  held {}  stable {}  panic {}{}  target {} per pod",
            look.in_flight(),
            status.load.held,
            number(view.and_then(|view| view.stable)),
            number(view.and_then(|view| view.panic)),
            if view.is_some_and(|view| view.panicking) { "  PANIC" } else { "" },
            number(view.map(|view| view.target)),
        )),
        Line::from(format!(
            "{:.0} answers/s  p50 {} ms  p99 {} ms  sent {}  answered {}  lost {}",
            look.recent.answered_per_second,
            ms(latency.map(|quantiles| quantiles.p50)),
            ms(latency.map(|quantiles| quantiles.p99)),
            look.total.sent,
            look.total.answered,
            look.total.lost_total(),
        )),
    ]
}
