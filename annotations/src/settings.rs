//! Reads the cluster's settings, each by a rule, and collects all faults.

use std::{num::NonZeroU32, time::Duration};

use super::{
    duration::GoDuration,
    fault::{Fault, FaultKind},
    keys::Key,
    reading::{Reading, Texts},
    syntax::Syntax,
};

/// The map, and the result of reading it.
pub(super) struct Settings<'a> {
    pub(super) map: &'a Texts,
    /// All faults so far.
    pub(super) faults: Vec<Fault>,
}

impl<'a> Settings<'a> {
    /// Returns the value of `key`, if it is present and `rule` finds no fault.
    pub(super) fn find<T: Syntax>(
        &mut self,
        key: &Key,
        rule: impl Fn(&Reading<'a, T>) -> Option<Fault>,
    ) -> Option<T> {
        let reading = Reading::find(self.map, key)?;
        match rule(&reading) {
            Some(fault) => {
                self.faults.push(fault);
                None
            }
            None => reading.value.ok(),
        }
    }

    /// Sets `field` to the value of `key`; leaves it unchanged if the value is absent or faulty.
    pub(super) fn set<T: Syntax>(
        &mut self,
        key: &Key,
        field: &mut T,
        rule: impl Fn(&Reading<'a, T>) -> Option<Fault>,
    ) {
        if let Some(value) = self.find(key, rule) {
            *field = value;
        }
    }

    /// Sets a duration, as [`set`](Self::set) does.
    pub(super) fn set_duration(
        &mut self,
        key: &Key,
        field: &mut Duration,
        rule: impl Fn(&Reading<'a, GoDuration>) -> Option<Fault>,
    ) {
        if let Some(value) = self.find(key, rule) {
            *field = value.to_std();
        }
    }

    /// Sets a number of pods.
    pub(super) fn set_pods(&mut self, key: &Key, field: &mut u32) {
        if let Some(pods) = self.find(key, |pods: &Reading<'_, i32>| pods.outside(0, i32::MAX)) {
            *field = pods.unsigned_abs();
        }
    }

    /// Sets an upper bound, where 0 means none.
    pub(super) fn set_bound(&mut self, key: &Key, field: &mut Option<NonZeroU32>) {
        let mut pods = field.map_or(0, NonZeroU32::get);
        self.set_pods(key, &mut pods);
        *field = NonZeroU32::new(pods);
    }

    /// Sets a fraction; values above 1 are percentages.
    pub(super) fn set_fraction(&mut self, key: &Key, field: &mut f64) {
        if let Some(share) = self.find(key, not_a_share) {
            *field = if share > 1.0 { share / 100.0 } else { share };
        }
    }
}

fn not_a_share(share: &Reading<'_, f64>) -> Option<Fault> {
    let want = "a number above 0 and up to 100, in percent";
    match share.value {
        Err(why) => Some(share.unreadable(why, want)),
        Ok(value) if value <= 0.0 || value > 100.0 => {
            Some(share.fault(FaultKind::OutOfBounds, "is out of range", want))
        }
        Ok(_) => None,
    }
}

/// Returns the fault of a rate that would never let the number of pods change.
pub(super) fn not_above_one(rate: &Reading<'_, f64>) -> Option<Fault> {
    let want = "a number above 1";
    match rate.value {
        Err(why) => Some(rate.unreadable(why, want)),
        Ok(value) if value <= 1.0 => Some(rate.fault(FaultKind::OutOfBounds, "is too small", want)),
        Ok(_) => None,
    }
}
