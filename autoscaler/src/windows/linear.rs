//! The plain mean (`spec/autoscaler.md`, section 5.2).

use ebb_core::Tick;

use super::ring::Ring;

/// Sum of the slots inside the window by the number of slots seen, rounded to six decimals.
///
/// Before the window is full the divisor is the time since the first record. Silence at the end is cut
/// off, not averaged in: the value holds until a whole window is silent, and is 0 from then on.
pub(super) fn average(ring: &Ring, now: Tick) -> f64 {
    let slots = ring.slots();
    match ring.silence(now) {
        Some(silent) if silent < slots => {
            let silent = silent.max(0);
            let inside = ring.expired(silent).fold(ring.total(), |total, value| total - value);
            six_decimals(inside / ring.filled().min(slots - silent) as f64)
        }
        _ => 0.0,
    }
}

/// `value` rounded to six decimals, halves away from zero: what is left of a sum after its parts were
/// subtracted again must read as exactly 0, or nothing would ever scale to zero.
fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
