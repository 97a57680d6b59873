//! A setting as it was found, and the rules that many settings share.

use std::{collections::BTreeMap, fmt, num::NonZeroU32};

use super::{
    duration::GoDuration,
    fault::{Fault, FaultKind},
    keys::Key,
    syntax::{Syntax, Unreadable},
};

/// Annotations, or the cluster's settings: texts by key.
pub(super) type Texts = BTreeMap<String, String>;

/// One setting that is present.
#[derive(Debug)]
pub(super) struct Reading<'a, T> {
    /// The key under which it was found.
    pub(super) key: &'static str,
    pub(super) text: &'a str,
    /// What the text stands for.
    pub(super) value: Result<T, Unreadable>,
}

impl<'a, T: Syntax> Reading<'a, T> {
    /// Reads the first spelling of `key` that is present, even if its text is empty.
    pub(super) fn find(texts: &'a Texts, key: &Key) -> Option<Self> {
        let (key, text) = key.spellings().find_map(|name| Some((name, texts.get(name)?)))?;
        Some(Self { key, text, value: T::read(text) })
    }

    /// What is wrong with this setting.
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

    /// The fault of a text that stands for no value.
    pub(super) fn unreadable(&self, why: Unreadable, want: impl Into<String>) -> Fault {
        let problem = match why {
            Unreadable::Malformed => format!("is not {}", T::NOUN),
            Unreadable::OutOfRange => "does not fit".to_owned(),
        };
        self.fault(FaultKind::Invalid, problem, want)
    }

    /// The fault of a text that stands for no value, where every value is good.
    pub(super) fn no_value(&self) -> Option<Fault> {
        self.value.as_ref().err().map(|why| self.unreadable(*why, T::NOUN))
    }
}

impl<T: Syntax + Copy + PartialOrd + fmt::Display> Reading<'_, T> {
    /// The fault of a value outside `low..=high`. A float that is not a number lies outside no range, as in
    /// the reference; `strict` refuses it.
    pub(super) fn outside(&self, low: T, high: T) -> Option<Fault> {
        let want = format!("{} from {low} to {high}", T::NOUN);
        match self.value {
            Err(why) => Some(self.unreadable(why, want)),
            Ok(value) if value < low => Some(self.fault(FaultKind::OutOfBounds, "is too small", want)),
            Ok(value) if value > high => Some(self.fault(FaultKind::OutOfBounds, "is too large", want)),
            Ok(_) => None,
        }
    }

    /// The fault of a value below `low`, where there is no upper bound.
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
    /// The fault of what is neither -1 nor at least 0.
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

    /// The fault of a value that is not finite.
    pub(super) fn not_finite(&self) -> Option<Fault> {
        let value = self.value.ok()?;
        (!value.is_finite()).then(|| self.fault(FaultKind::Invalid, "is not finite", "a finite number"))
    }
}

impl Reading<'_, GoDuration> {
    /// The fault of a duration shorter than `low` that does not mean off.
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

    /// The fault of a fraction of a second.
    fn not_whole_seconds(&self) -> Option<Fault> {
        let value = self.value.ok()?;
        let problem = "has a fraction of a second";
        (!value.is_whole_seconds()).then(|| self.fault(FaultKind::Other, problem, "whole seconds"))
    }

    /// The fault of a duration outside `low..=high`, or not of whole seconds.
    pub(super) fn not_whole_seconds_within(&self, low: GoDuration, high: GoDuration) -> Option<Fault> {
        self.outside(low, high).or_else(|| self.not_whole_seconds())
    }

    /// The fault of a duration shorter than `low`, or not of whole seconds.
    pub(super) fn not_whole_seconds_from(&self, low: GoDuration) -> Option<Fault> {
        self.below(low).or_else(|| self.not_whole_seconds())
    }
}

/// An integer within `low..=high`; `None` if it is absent, 0, or at fault, which is added to `faults`.
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
