//! Quantiles of phases, as text.

use std::time::Duration;

/// Rows of durations.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<(&'static str, Vec<f64>)>,
}

impl Table {
    /// Adds one start's duration of a phase. The phase may have ended before its `from`.
    pub(crate) fn add(&mut self, phase: &'static str, from: Duration, to: Duration) {
        self.add_ms(phase, (to.as_secs_f64() - from.as_secs_f64()) * 1e3);
    }

    pub(crate) fn add_ms(&mut self, phase: &'static str, ms: f64) {
        match self.rows.iter_mut().find(|(name, _)| *name == phase) {
            Some((_, values)) => values.push(ms),
            None => self.rows.push((phase, vec![ms])),
        }
    }

    pub(crate) fn print(mut self) {
        println!("{:<46} {:>8} {:>8} {:>8} {:>8}", "ms", "p50", "p95", "p99", "max");
        for (phase, values) in &mut self.rows {
            values.sort_by(f64::total_cmp);
            let at = |percent: usize| {
                let rank = (values.len() * percent).div_ceil(100).max(1);
                values.get(rank - 1).copied().unwrap_or_default()
            };
            println!("{phase:<46} {:>8.1} {:>8.1} {:>8.1} {:>8.1}", at(50), at(95), at(99), at(100));
        }
    }
}
