//! Cron expressions on a clock without a zone: five fields, and the next minute that they match.
//!
//! The clock counts seconds since it showed 1970-01-01T00:00, without leap seconds. Its relation to time is
//! up to its zone (see `schedule`).

use jiff::{Timestamp, civil::Date, tz::Offset};

use super::BadPart;

const MINUTE: i64 = 60;
const MINUTES_A_DAY: i64 = 24 * 60;
const DAY: i64 = MINUTE * MINUTES_A_DAY;
/// The longest time between two days that match, in days: 29 February on a given weekday, as from 2088 to
/// 2128.
const HORIZON: usize = 40 * 366;

/// The values that a field allows.
struct Field {
    name: &'static str,
    low: u8,
    high: u8,
    /// Three letters for each value, from the lowest.
    names: &'static [&'static str],
    /// The allowed values, for a fault's message.
    want: &'static str,
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[], want: "0 to 59, as in 5, 0-29, */15 or 0,30" },
    Field { name: "hour", low: 0, high: 23, names: &[], want: "0 to 23, as in 8, 8-17, */2 or 8,20" },
    Field {
        name: "day of the month",
        low: 1,
        high: 31,
        names: &[],
        want: "1 to 31, as in 1, 1-7, */2 or 1,15",
    },
    Field {
        name: "month",
        low: 1,
        high: 12,
        names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
        want: "1 to 12 or JAN to DEC, as in 12, NOV-DEC, */3 or JUN,JUL",
    },
    Field {
        name: "weekday",
        low: 0,
        high: 7,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        want: "0 to 7 or SUN to SAT, as in MON, MON-FRI, */2 or SAT,SUN",
    },
];

/// The values that each field matches, as bit sets.
#[derive(Clone, Debug)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
    /// Whether a day must match only the day of the month or the weekday; otherwise it must match both.
    either_day: bool,
}

impl Cron {
    /// Reads minute, hour, day of the month, month and weekday.
    ///
    /// As in `crontab(5)`, a day needs to match only one of its two fields if neither begins with `*`.
    pub(super) fn read(texts: [&str; 5]) -> Result<Self, Vec<BadPart>> {
        let mut faults = Vec::new();
        let mut sets = [0; 5];
        for ((field, text), set) in FIELDS.iter().zip(texts).zip(&mut sets) {
            match field.set(text) {
                Some(values) => *set = values,
                None => faults.push(BadPart::new(field.name, text, field.want)),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let sunday_is_0 = (weekdays | weekdays >> 7) & 0x7f;
        let either_day = !texts[2].starts_with('*') && !texts[4].starts_with('*');
        Ok(Self { minutes, hours, days, months, weekdays: sunday_is_0, either_day })
    }

    /// Returns the first minute after `clock` that matches; `None` if there is none within the calendar.
    pub(super) fn next(&self, clock: i64) -> Option<i64> {
        let clock = Timestamp::from_second(clock).ok()?.as_second(); // far from where sums overflow
        let minute = clock.div_euclid(MINUTE) + 1;
        let mut midnight = minute.div_euclid(MINUTES_A_DAY) * DAY;
        let mut earliest = u32::try_from(minute.rem_euclid(MINUTES_A_DAY)).ok()?;
        let mut date = Offset::UTC.to_datetime(Timestamp::from_second(midnight).ok()?).date();
        for _ in 0..HORIZON {
            if self.matches_day(date)
                && let Some(minute) = self.minute_of_day(earliest)
            {
                return Some(midnight + i64::from(minute) * MINUTE);
            }
            date = date.tomorrow().ok()?;
            (midnight, earliest) = (midnight + DAY, 0);
        }
        None
    }

    fn matches_day(&self, date: Date) -> bool {
        if !has(self.months, date.month()) {
            return false;
        }
        let by_day = has(self.days, date.day());
        let by_weekday = || has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.either_day { by_day || by_weekday() } else { by_day && by_weekday() }
    }

    /// Returns the first minute of the day that matches, counted from midnight and not before `earliest`.
    fn minute_of_day(&self, earliest: u32) -> Option<u32> {
        let (hour, minute) = (earliest / 60, earliest % 60);
        if first_from(self.hours, hour) == Some(hour)
            && let Some(minute) = first_from(self.minutes, minute)
        {
            return Some(hour * 60 + minute);
        }
        Some(first_from(self.hours, hour + 1)? * 60 + first_from(self.minutes, 0)?)
    }
}

impl Field {
    /// Returns the set of a list.
    fn set(&self, list: &str) -> Option<u64> {
        list.split(',').try_fold(0, |set, item| Some(set | self.item(item)?))
    }

    /// Returns the set of `*`, a value or a range, each with or without a step.
    fn item(&self, item: &str) -> Option<u64> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(number(step)?)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (self.value(first)?, self.value(last)?);
                // A week may end with Sunday, which is also 7.
                (first, if self.high == 7 && last == 0 && first > 0 { 7 } else { last })
            }
            None if range == "*" => (self.low, self.high),
            None => {
                let first = self.value(range)?;
                (first, if step.is_some() { self.high } else { first })
            }
        };
        let step = step.unwrap_or(1);
        let is_sound = first <= last && (1..=self.high).contains(&step);
        is_sound.then(|| (first..=last).step_by(step.into()).fold(0, |set, value| set | 1 << value))
    }

    /// Parses a number within the bounds, or a name in any case.
    fn value(&self, text: &str) -> Option<u8> {
        let named = self.names.iter().zip(self.low..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        let value = named.map(|(_, value)| value).or_else(|| number(text))?;
        (self.low..=self.high).contains(&value).then_some(value)
    }
}

/// Parses one or two digits.
fn number(text: &str) -> Option<u8> {
    let is_number = text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Returns whether the bit of `value` is set; none of the calendar's values is negative.
fn has(set: u64, value: i8) -> bool {
    set >> value & 1 == 1
}

/// Returns the least value of a set that is at least `low`; `low` is at most 60.
fn first_from(set: u64, low: u32) -> Option<u32> {
    let rest = set >> low;
    (rest != 0).then(|| low + rest.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use jiff::civil::DateTime;

    use super::*;

    fn cron(text: &str) -> Cron {
        let fields: Vec<_> = text.split(' ').collect();
        Cron::read(fields.try_into().unwrap()).unwrap()
    }

    fn clock(text: &str) -> i64 {
        Offset::UTC.to_timestamp(text.parse().unwrap()).unwrap().as_second()
    }

    fn shown(clock: i64) -> DateTime {
        Offset::UTC.to_datetime(Timestamp::from_second(clock).unwrap())
    }

    #[test]
    fn the_next_minute_that_matches_is_after_the_given_one() {
        for (text, after, want) in [
            ("* * * * *", "2025-03-31T23:59:00", "2025-04-01T00:00:00"),
            ("* * * * *", "2025-03-31T23:58:59", "2025-03-31T23:59:00"),
            ("0 8 * * *", "2025-03-31T07:59:59", "2025-03-31T08:00:00"),
            ("0 8 * * *", "2025-03-31T08:00:00", "2025-04-01T08:00:00"),
            ("30 8,20 * * *", "2025-03-31T08:45:00", "2025-03-31T20:30:00"),
            ("*/15 8-9 * * *", "2025-03-31T08:50:00", "2025-03-31T09:00:00"),
            ("5/20 * * * *", "2025-03-31T08:06:00", "2025-03-31T08:25:00"),
            ("10-50/20 * * * *", "2025-03-31T08:30:00", "2025-03-31T08:50:00"),
            ("04 08 01 01 *", "2025-03-31T08:00:00", "2026-01-01T08:04:00"),
            ("0 0 29 2 *", "2096-02-29T00:00:00", "2104-02-29T00:00:00"),
            ("0 0 29 FEB */7", "2088-02-29T00:00:00", "2128-02-29T00:00:00"),
            ("59 23 31 12 *", "1999-12-31T23:58:00", "1999-12-31T23:59:00"),
        ] {
            let next = cron(text).next(clock(after)).map(shown);
            assert_eq!(next, Some(want.parse().unwrap()), "{text} after {after}");
        }
    }

    #[test]
    fn weekdays_have_numbers_and_names_and_may_end_with_sunday() {
        // 2025-06-01 was a Sunday.
        for (text, want) in [
            ("0", &[1, 8][..]),
            ("7", &[1, 8]),
            ("sun", &[1, 8]),
            ("MON-FRI", &[2, 3, 4, 5, 6, 9, 10]),
            ("Sat,Sun", &[1, 7, 8]),
            ("FRI-SUN", &[1, 6, 7, 8]),
            ("5-0", &[1, 6, 7, 8]),
            ("0-1", &[1, 2, 8, 9]),
            ("SUN-SUN", &[1, 8]),
            ("*/3", &[1, 4, 7, 8]),
            ("1-7/3", &[1, 2, 5, 8, 9]),
        ] {
            let cron = cron(&format!("0 0 1-10 6 {text}"));
            let both = Cron { either_day: false, ..cron };
            let days: Vec<_> =
                (1..=10).filter(|day| both.matches_day(Date::constant(2025, 6, *day))).collect();
            assert_eq!(days, want, "{text}");
        }
    }

    #[test]
    fn a_day_matches_one_of_two_fields_unless_one_begins_with_an_asterisk() {
        for (text, want) in [
            ("0 0 13 * FRI", &["2025-06-06T00:00:00", "2025-06-13T00:00:00", "2025-06-20T00:00:00"][..]),
            ("0 0 */2 * FRI", &["2025-06-13T00:00:00", "2025-06-27T00:00:00", "2025-07-11T00:00:00"]),
            ("0 0 13 * */5", &["2025-06-13T00:00:00", "2025-07-13T00:00:00", "2026-02-13T00:00:00"]),
            ("0 0 13 * *", &["2025-06-13T00:00:00", "2025-07-13T00:00:00", "2025-08-13T00:00:00"]),
        ] {
            let cron = cron(text);
            let mut at = clock("2025-06-01T00:00:00");
            for want in want {
                at = cron.next(at).unwrap();
                assert_eq!(shown(at), want.parse().unwrap(), "{text}");
            }
        }
    }

    #[test]
    fn days_that_do_not_exist_are_never_found() {
        for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30-31 FEB *"] {
            assert_eq!(cron(text).next(0), None, "{text}");
        }
        assert!(cron("0 0 30 2 MON").next(0).is_some(), "Mondays in February");
    }

    #[test]
    fn beyond_the_calendar_there_is_nothing() {
        for clock in [i64::MIN, -400_000_000_000, 253_402_300_800, i64::MAX - 1, i64::MAX] {
            assert_eq!(cron("* * * * *").next(clock), None, "{clock}");
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        let problems = |fields| -> Vec<_> {
            Cron::read(fields).unwrap_err().into_iter().map(|bad| bad.problem).collect()
        };
        assert_eq!(
            problems(["60", "24", "0", "13", "8"]),
            [
                r#"has the minute "60""#,
                r#"has the hour "24""#,
                r#"has the day of the month "0""#,
                r#"has the month "13""#,
                r#"has the weekday "8""#,
            ]
        );
        let of_minute = [
            "", "-", "/", ",", "1,", ",1", "1-", "-1", "+1", "1/", "/2", "*/0", "*/60", "5-4", "1-2-3",
            "1/2/3", "**", "*-5", "5-*", "001", "a", "JAN", "1.5", "L", "H", "?", "@", "१", "1 2",
        ];
        let of_day = ["L", "15W", "JAN", "32"];
        let of_month = ["0", "DEC-JAN", "JANUARY", "MON"];
        let of_weekday = ["5L", "5#3", "FRIL", "SUN-8", "FRI-MON", "*/8", "JAN"];
        for (at, texts) in [(0, &of_minute[..]), (2, &of_day), (3, &of_month), (4, &of_weekday)] {
            for text in texts {
                let mut fields = ["*"; 5];
                fields[at] = text;
                assert_eq!(problems(fields), [format!("has the {} {text:?}", FIELDS[at].name)]);
            }
        }
    }
}
