//! `config-gc`: how long revisions are kept to which no Route sends requests.

use std::{collections::BTreeMap, time::Duration};

use ebb_annotations::GoDuration;

use super::{Fault, Map, reader::Reader, setting::Setting};

const SINCE_CREATE: &str = "retain-since-create-time";
const SINCE_LAST_ACTIVE: &str = "retain-since-last-active-time";
const MIN: &str = "min-non-active-revisions";
const MAX: &str = "max-non-active-revisions";

/// The keys of the map.
pub(super) const KEYS: &[&str] = &[SINCE_CREATE, SINCE_LAST_ACTIVE, MIN, MAX];

/// The largest number of revisions; no cluster has as many.
const MOST: u32 = i32::MAX.unsigned_abs();

/// How long revisions are kept to which no Route sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gc {
    /// `retain-since-create-time`; `None` is disabled.
    pub retain_since_create: Option<Duration>,
    /// `retain-since-last-active-time`; `None` is disabled.
    pub retain_since_last_active: Option<Duration>,
    /// `min-non-active-revisions`.
    pub min_non_active: usize,
    /// `max-non-active-revisions`; `None` is disabled.
    pub max_non_active: Option<usize>,
}

impl Default for Gc {
    fn default() -> Self {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        Self {
            retain_since_create: hours(48),
            retain_since_last_active: hours(15),
            min_non_active: 20,
            max_non_active: Some(1000),
        }
    }
}

impl Gc {
    /// Reads the map; absent keys have their defaults, and unknown ones are ignored.
    ///
    /// # Errors
    ///
    /// Returns everything that is wrong with it.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut read = Self::default();
        let mut from = Reader::new(Map::Gc, data);
        for (key, field) in [
            (SINCE_CREATE, &mut read.retain_since_create),
            (SINCE_LAST_ACTIVE, &mut read.retain_since_last_active),
        ] {
            from.unless_disabled(
                &Setting::new(key),
                field,
                "a duration of at least 0s, or disabled",
                |text| {
                    let duration: GoDuration = text.parse().ok()?;
                    (duration >= GoDuration::ZERO).then(|| duration.to_std())
                },
            );
        }
        let mut min = i64::try_from(read.min_non_active).unwrap_or(i64::MAX);
        from.integer(&Setting::new(MIN), &mut min, 0..=i64::from(MOST));
        read.min_non_active = usize::try_from(min).unwrap_or(usize::MAX);
        let want = format!("an integer from 0 to {MOST}, or disabled");
        from.unless_disabled(&Setting::new(MAX), &mut read.max_non_active, &want, |text| {
            let max: u32 = text.parse().ok().filter(|max| *max <= MOST)?;
            usize::try_from(max).ok()
        });
        if let Some(max) = read.max_non_active.filter(|max| read.min_non_active > *max) {
            let min = read.min_non_active;
            from.quote(MIN, &min, format!("{MIN}({min}) must be <= {MAX}({max})"));
        }
        from.finish(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{data, faults},
        *,
    };

    #[test]
    fn each_key_sets_its_field() {
        let default = Gc::default();
        for (key, value, want) in [
            ("_example", "x", default.clone()),
            (
                SINCE_CREATE,
                "1h30m",
                Gc { retain_since_create: Some(Duration::from_secs(5400)), ..default.clone() },
            ),
            (SINCE_CREATE, "disabled", Gc { retain_since_create: None, ..default.clone() }),
            (SINCE_CREATE, "", default.clone()),
            (
                SINCE_LAST_ACTIVE,
                "0s",
                Gc { retain_since_last_active: Some(Duration::ZERO), ..default.clone() },
            ),
            (SINCE_LAST_ACTIVE, "Disabled", Gc { retain_since_last_active: None, ..default.clone() }),
            (MIN, "0", Gc { min_non_active: 0, ..default.clone() }),
            (MIN, "1000", Gc { min_non_active: 1000, ..default.clone() }),
            (MAX, "20", Gc { max_non_active: Some(20), ..default.clone() }),
            (MAX, "DISABLED", Gc { max_non_active: None, ..default.clone() }),
            (MAX, "", default.clone()),
        ] {
            assert_eq!(Gc::read(&data(&[(key, value)])), Ok(want), "{key}: {value:?}");
        }
        let unlimited = Gc { min_non_active: 5000, max_non_active: None, ..default };
        assert_eq!(Gc::read(&data(&[(MIN, "5000"), (MAX, "disabled")])), Ok(unlimited));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let duration = "is not allowed; want a duration of at least 0s, or disabled";
        let number = "is not allowed; want an integer from 0 to 2147483647, or disabled";
        for (key, value, text) in [
            (SINCE_CREATE, "48", duration),
            (SINCE_CREATE, "disable", duration),
            (SINCE_LAST_ACTIVE, "-1s", duration),
            (MIN, "few", "is not an integer; want an integer from 0 to 2147483647"),
            (MIN, "-1", "is out of range; want an integer from 0 to 2147483647"),
            (MIN, "disabled", "is not an integer; want an integer from 0 to 2147483647"),
            (MAX, "-1", number),
            (MAX, "99999999999", number),
            (MAX, "none", number),
        ] {
            assert_eq!(faults(Gc::read(&data(&[(key, value)]))), [format!("{key}: {value:?} {text}")]);
        }
        let contradiction = "min-non-active-revisions(20) must be <= max-non-active-revisions(19)";
        assert_eq!(faults(Gc::read(&data(&[(MAX, "19")]))), [contradiction]);
    }
}
