//! Minimum numbers of pods by time of day, week or year, in a time zone.
//!
//! An entry begins whenever the zone's clock shows a minute that its cron expression matches, and holds for
//! its duration. An hour that the clock shows twice in autumn begins entries twice. A time that the clock
//! skips in spring begins as it jumps.

mod cron;

use std::fmt;

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use self::cron::Cron;
use super::{
    duration::GoDuration,
    fault::{Fault, FaultKind},
    keys,
    syntax::Syntax,
};
use ebb_core::Tick;

/// The longest text, in bytes: enough for 16 entries.
const MAX_TEXT: usize = 1024;
const MAX_ENTRIES: usize = 16;
/// The bounds of a duration; the longest is a month of 31 days.
const DURATIONS: (GoDuration, GoDuration) = (GoDuration::from_secs(60), GoDuration::from_secs(744 * 3600));
/// The end of all schedules, in Unix seconds: the year 9892, far enough within the calendar for every search.
const END: i64 = 250_000_000_000;
/// The form of an entry.
const FORM: &str = "MINUTE HOUR DAY MONTH WEEKDAY [ZONE] for DURATION min PODS";

/// Minimums by time: the annotation `ebb.dev/schedule`.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    entries: Vec<Entry>,
}

/// The minimum at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduled {
    /// The least pods; 0 is no minimum.
    pub pods: u32,
    /// The earliest time at which this may change, always later than the moment; `None` is never.
    pub until: Option<Tick>,
}

#[derive(Clone, Debug)]
struct Entry {
    text: String,
    cron: Cron,
    zone: TimeZone,
    /// How long it holds, in seconds.
    secs: i64,
    pods: i32,
}

/// A part of an entry that cannot be read: its text, and what is allowed.
#[derive(Debug, PartialEq, Eq)]
struct BadPart {
    problem: String,
    want: String,
}

impl BadPart {
    fn new(name: &str, text: &str, want: &str) -> Self {
        Self { problem: format!("has the {name} {text:?}"), want: want.to_owned() }
    }
}

impl Schedule {
    /// Parses up to 16 entries, separated by `;`, such as `0 8 * * MON-FRI Europe/Berlin for 10h min 5`.
    ///
    /// # Errors
    ///
    /// Returns all faults at once; the value of each is the faulty entry.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        if text.len() > MAX_TEXT {
            let problem = format!("is the beginning of {} bytes", text.len());
            let beginning: String = text.chars().take(40).collect();
            return Err(vec![fault(&beginning, problem, format!("at most {MAX_TEXT} bytes"))]);
        }
        let count = text.split(';').count();
        if count > MAX_ENTRIES {
            let problem = format!("has {count} entries");
            return Err(vec![fault(text, problem, format!("at most {MAX_ENTRIES}"))]);
        }
        let mut faults = Vec::new();
        let entries = text.split(';').filter_map(|entry| Entry::read(entry.trim(), &mut faults)).collect();
        if faults.is_empty() { Ok(Self { text: text.to_owned(), entries }) } else { Err(faults) }
    }

    /// Returns the least pods at `now`, counted from the Unix epoch: the maximum of all entries that hold. No
    /// entry holds after the year 9891.
    pub fn at(&self, now: Tick) -> Scheduled {
        let Some(now) = i64::try_from(now.as_secs()).ok().filter(|now| *now < END) else {
            return Scheduled::default();
        };
        let (mut pods, mut until) = (0, END);
        for entry in &self.entries {
            let Some(begin) = entry.first_begin(now - entry.secs) else { continue };
            let change = if begin <= now {
                pods = pods.max(entry.pods.unsigned_abs());
                begin + entry.secs
            } else {
                begin
            };
            until = until.min(change);
        }
        Scheduled { pods, until: Some(Tick::from_secs(until.unsigned_abs())) }
    }

    /// Returns the text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the faults of entries that ask for more pods than `max`, the max-scale in effect.
    pub(super) fn faults_above(&self, max: i64) -> impl Iterator<Item = Fault> {
        self.entries.iter().filter(move |entry| i64::from(entry.pods) > max).map(move |entry| {
            let problem = format!("asks for more than the max-scale of {max} in effect");
            fault(&entry.text, problem, format!("at most {max} pods"))
        })
    }
}

impl PartialEq for Schedule {
    /// Compares the texts, which determine everything else.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Entry {
    /// Reads one entry, and adds its faults to `faults`.
    fn read(text: &str, faults: &mut Vec<Fault>) -> Option<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        let Some((fields, zone, [duration, pods])) = parts(&words) else {
            faults.push(fault(text, "is not an entry", FORM));
            return None;
        };
        let mut note = |bad: BadPart| faults.push(fault(text, bad.problem, bad.want));
        let cron = Cron::read(fields).map_err(|bad| bad.into_iter().for_each(&mut note)).ok();
        if cron.as_ref().is_some_and(|cron| cron.next(0).is_none()) {
            note(BadPart { problem: "never begins".to_owned(), want: "a day that its month has".to_owned() });
        }
        let zone = zone_named(zone).map_err(&mut note).ok();
        let secs = whole_seconds(duration).map_err(&mut note).ok();
        let pods = some_pods(pods).map_err(&mut note).ok();
        Some(Self { text: text.to_owned(), cron: cron?, zone: zone?, secs: secs?, pods: pods? })
    }

    /// Returns the first time after `after` at which this begins, both in Unix seconds.
    ///
    /// Between two changes of its zone's offset the clock runs evenly, so a search by the clock finds the
    /// time. A time beyond the next change counts only if the clock jumps over it.
    fn first_begin(&self, after: i64) -> Option<i64> {
        let mut since = Timestamp::from_second(after).ok()?;
        let mut offset = i64::from(self.zone.to_offset(since).seconds());
        let mut clock = after + offset;
        loop {
            let next = self.cron.next(clock)?;
            let Some(change) = self.zone.following(since).next() else { return Some(next - offset) };
            let (jump, new_offset) = (change.timestamp().as_second(), i64::from(change.offset().seconds()));
            if next - offset < jump {
                return Some(next - offset);
            }
            if next < jump + new_offset {
                return Some(jump); // the clock skips it
            }
            (since, offset) = (change.timestamp(), new_offset);
            clock = jump + new_offset - 1; // from the jump on, times shown again match again
        }
    }
}

/// Splits an entry into the five fields, the zone, and the duration and pods.
fn parts<'a>(words: &[&'a str]) -> Option<([&'a str; 5], &'a str, [&'a str; 2])> {
    let (when, &[r#for, duration, min, pods]) = words.split_last_chunk()?;
    let (fields, zone) = when.split_first_chunk()?;
    let zone = match *zone {
        [] => "UTC",
        [zone] => zone,
        _ => return None,
    };
    (r#for == "for" && min == "min").then_some((*fields, zone, [duration, pods]))
}

/// Returns the zone of that name from the compiled-in table, which is the same on every machine.
fn zone_named(name: &str) -> Result<TimeZone, BadPart> {
    let zone = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
    zone.ok_or_else(|| BadPart::new("time zone", name, "a name such as Europe/Berlin, or none for UTC"))
}

/// Returns the seconds of a duration, if it is within the bounds and has no fraction.
fn whole_seconds(text: &str) -> Result<i64, BadPart> {
    let (shortest, longest) = DURATIONS;
    let is_sound =
        |duration: &GoDuration| (shortest..=longest).contains(duration) && duration.is_whole_seconds();
    let duration = GoDuration::read(text).ok().filter(is_sound);
    duration
        .map(|duration| duration.as_nanos() / 1_000_000_000)
        .ok_or_else(|| BadPart::new("duration", text, &format!("whole seconds from {shortest} to {longest}")))
}

fn some_pods(text: &str) -> Result<i32, BadPart> {
    let pods = i32::read(text).ok().filter(|pods| *pods >= 1);
    pods.ok_or_else(|| BadPart::new("min", text, &format!("an integer from 1 to {}", i32::MAX)))
}

/// Returns a fault of an entry.
fn fault(entry: &str, problem: impl Into<String>, want: impl Into<String>) -> Fault {
    Fault {
        key: keys::SCHEDULE.name.to_owned(),
        value: entry.to_owned(),
        kind: FaultKind::Invalid,
        problem: problem.into(),
        want: want.into(),
    }
}

#[cfg(test)]
mod tests;
