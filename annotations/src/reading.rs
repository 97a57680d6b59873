//! A setting as it was found, and the checks that many settings share.

use std::{collections::BTreeMap, fmt, num::NonZeroU32};

use super::{
    duration::GoDuration,
    fault::{Fault, FaultKind},
    keys::Key,
    syntax::{Syntax, Unreadable},
};

/// Annotations, or the cluster's settings, by key.
pub(super) type Texts = BTreeMap<String, String>;

/// A setting that is present.
#[derive(Debug)]
pub(super) struct Reading<'a, T> {
    /// The key under which it was found.
    pub(super) key: &'static str,
    pub(super) text: &'a str,
    /// The value of the text.
    pub(super) value: Result<T, Unreadable>,
}

impl<'a, T: Syntax> Reading<'a, T> {
    /// Reads the first spelling of `key` that is present, even if its text is empty.
    pub(super) fn find(texts: &'a Texts, key: &Key) -> Option<Self> {
        let (key, text) = key.spellings().find_map(|name| Some((name, texts.get(name)?)))?;
        Some(Self { key, text, value: T::read(text) })
    }

    /// Creates a fault of this setting.
    pub(super) fn fault(
        &self,
        kind: FaultKind,
        problem: impl Into<String>,
        want: impl Into<String>,
    ) -> Fault {
        Fault {
            key: self.key.to_owned(),
            value: self.text.to_owned(),
            kind,
            problem: problem.into(),
            want: want.into(),
        }
    }

    /// Returns the fault of a text without a value.
    pub(super) fn unreadable(&self, why: Unreadable, want: impl Into<String>) -> Fault {
        let problem = match why {
            Unreadable::Malformed => format!("is not {}", T::NOUN),
            Unreadable::OutOfRange => "does not fit".to_owned(),
        };
        self.fault(FaultKind::Invalid, problem, want)
    }

    /// Returns the fault of a text without a value, if all values are allowed.
    pub(super) fn no_value(&self) -> Option<Fault> {
        self.value.as_ref().err().map(|why| self.unreadable(*why, T::NOUN))
    }
}

impl<T: Syntax + Copy + PartialOrd + fmt::Display> Reading<'_, T> {
    /// Returns the fault of a value outside `low..=high`. NaN is outside no range, as in the reference;
    /// `strict` refuses it.
    pub(super) fn outside(&self, low: T, high: T) -> Option<Fault> {
        let want = format!("{} from {low} to {high}", T::NOUN);
        match self.value {
            Err(why) => Some(self.unreadable(why, want)),
            Ok(value) if value < low => Some(self.fault(FaultKind::OutOfBounds, "is too small", want)),
            Ok(value) if value > high => Some(self.fault(FaultKind::OutOfBounds, "is too large", want)),
            Ok(_) => None,
        }
    }

    /// Returns the fault of a value below `low`, if there is no upper bound.
    pub(super) fn below(&self, low: T) -> Option<Fault> {
        let want = format!("{} of at least {low}", T::NOUN);
        match self.value {
            Err(why) => Some(self.unreadable(why, want)),
            Ok(value) if value < low => Some(self.fault(FaultKind::Other, "is too small", want)),
            Ok(_) => None,
        }
    }
}

impl Reading<'_, f64> {
    /// Returns the fault of a value that is neither -1 nor at least 0.
    pub(super) fn not_a_burst_capacity(&self) -> Option<Fault> {
        let want = "a number of at least 0, or -1 for unlimited";
        match self.value {
            Err(why) => Some(self.unreadable(why, want)),
            Ok(value) if value < 0.0 && value != -1.0 => {
                Some(self.fault(FaultKind::Invalid, "is too small", want))
            }
            Ok(_) => None,
        }
    }

    /// Returns the fault of a value that is not finite.
    pub(super) fn not_finite(&self) -> Option<Fault> {
        let value = self.value.ok()?;
        (!value.is_finite()).then(|| self.fault(FaultKind::Invalid, "is not finite", "a finite number"))
    }
}

impl Reading<'_, GoDuration> {
    /// Returns the fault of a duration that is neither zero (off) nor at least `low`.
    pub(super) fn neither_zero_nor_from(&self, low: GoDuration) -> Option<Fault> {
        let want = format!("{} of at least {low}, or 0s for off", GoDuration::NOUN);
        match self.value {
            Err(why) => Some(self.unreadable(why, want)),
            Ok(value) if value < low && value != GoDuration::ZERO => {
                Some(self.fault(FaultKind::OutOfBounds, "is too small", want))
            }
            Ok(_) => None,
        }
    }

    /// Returns the fault of a fraction of a second.
    fn not_whole_seconds(&self) -> Option<Fault> {
        let value = self.value.ok()?;
        let problem = "has a fraction of a second";
        (!value.is_whole_seconds()).then(|| self.fault(FaultKind::Other, problem, "whole seconds"))
    }

    /// Returns the fault of a duration that is outside `low..=high` or has a fraction of a second.
    pub(super) fn not_whole_seconds_within(&self, low: GoDuration, high: GoDuration) -> Option<Fault> {
        self.outside(low, high).or_else(|| self.not_whole_seconds())
    }

    /// Returns the fault of a duration that is shorter than `low` or has a fraction of a second.
    pub(super) fn not_whole_seconds_from(&self, low: GoDuration) -> Option<Fault> {
        self.below(low).or_else(|| self.not_whole_seconds())
    }
}

/// Returns an integer within `low..=high`; `None` if it is absent, 0, or invalid, which adds a fault to
/// `faults`.
pub(super) fn count(
    texts: &Texts,
    key: &Key,
    (low, high): (i32, i32),
    faults: &mut Vec<Fault>,
) -> Option<NonZeroU32> {
    let reading: Reading<'_, i32> = Reading::find(texts, key)?;
    faults.extend(reading.outside(low, high));
    NonZeroU32::new(u32::try_from(reading.value.ok()?).ok()?)
}
