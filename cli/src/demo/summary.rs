//! The demo's summary.

use std::{fmt::Write, time::Duration};

use serde::Serialize;

use super::Seen;
use crate::{load::Outcome, run::cold_start_line};

/// The results of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    sent: u64,
    answered: u64,
    lost: u64,
    lost_by_reason: Vec<(String, u64)>,
    cold_starts: usize,
    own_ms: Own,
    latency_ms: Latency,
    peak_pods: usize,
    final_pods: usize,
    pod_seconds: f64,
    always_on_pod_seconds: f64,
    generator_lag_p99_ms: f64,
    #[serde(skip)]
    starts: Vec<String>,
}

/// Ebb's own share of the cold starts, in milliseconds.
#[derive(Debug, Serialize)]
struct Own {
    p50: f64,
    p99: f64,
    max: f64,
}

/// From the planned time of a request to its last byte, in milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

impl Summary {
    /// Computes the summary from the load and the observations.
    pub(crate) fn new(outcome: &Outcome, seen: &Seen) -> Self {
        let Seen { starts, peak_pods, last, lasted, .. } = seen;
        let total = &outcome.total;
        let mut own: Vec<f64> = starts.iter().map(|start| ms(start.own())).collect();
        own.sort_by(f64::total_cmp);
        Self {
            sent: total.sent,
            answered: total.answered,
            // A request that never came back is lost, whatever the cause.
            lost: total.lost_total() + total.in_flight(),
            lost_by_reason: total.lost.iter().map(|(loss, count)| (loss.to_string(), *count)).collect(),
            cold_starts: starts.len(),
            own_ms: Own { p50: quantile(&own, 0.5), p99: quantile(&own, 0.99), max: quantile(&own, 1.0) },
            latency_ms: Latency {
                p50: ms(total.latency.p50),
                p95: ms(total.latency.p95),
                p99: ms(total.latency.p99),
                max: ms(total.latency.max),
            },
            peak_pods: *peak_pods,
            final_pods: last.pods.len(),
            pod_seconds: last.pod_seconds,
            always_on_pod_seconds: *peak_pods as f64 * lasted.as_secs_f64(),
            generator_lag_p99_ms: ms(outcome.send_lag.p99),
            starts: starts.iter().map(cold_start_line).collect(),
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Formats it as one line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// Formats it for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let saved = 100.0 * (1.0 - self.pod_seconds / self.always_on_pod_seconds.max(f64::MIN_POSITIVE));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\nrequests     {} sent, {} answered, {} lost",
            self.sent, self.answered, self.lost
        );
        for (reason, count) in &self.lost_by_reason {
            let _ = writeln!(text, "             {count} lost: {reason}");
        }
        let Latency { p50, p95, p99, max } = &self.latency_ms;
        let _ =
            writeln!(text, "latency      p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms");
        let _ = writeln!(text, "cold starts  {}", self.cold_starts);
        for start in &self.starts {
            let _ = writeln!(text, "             {start}");
        }
        let Own { p50, p99, max } = &self.own_ms;
        let _ = writeln!(
            text,
            "own share    p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms of a cold start is Ebb's"
        );
        let _ = writeln!(text, "pods         {} at the peak, {} at the end", self.peak_pods, self.final_pods);
        let _ = writeln!(
            text,
            "pod-seconds  {:.0}; a fleet of the peak's size, always on: {:.0} ({saved:.0} % saved)",
            self.pod_seconds, self.always_on_pod_seconds
        );
        text
    }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Returns the value that a share `q` of the sorted `values` does not exceed; 0 if there are none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the values")]
fn quantile(values: &[f64], q: f64) -> f64 {
    let rank = (values.len() as f64 * q).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| quantile(&values, q)), [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert_eq!(quantile(&[], 0.99), 0.0);
    }
}
