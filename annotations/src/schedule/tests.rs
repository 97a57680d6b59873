use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fixtures::{capped_at, refusal, refusal_under, spec};

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).unwrap()
}

/// Parses a time in RFC 3339.
fn tick(text: &str) -> Tick {
    let timestamp: Timestamp = text.parse().unwrap();
    Tick::from_epoch(timestamp.as_duration().try_into().unwrap())
}

fn scheduled(pods: u32, until: &str) -> Scheduled {
    Scheduled { pods, until: Some(tick(until)) }
}

/// Checks the schedule at each time.
#[track_caller]
fn assert_says(text: &str, table: &[(&str, u32, &str)]) {
    let schedule = schedule(text);
    for (at, pods, until) in table {
        assert_eq!(schedule.at(tick(at)), scheduled(*pods, until), "{text} at {at}");
    }
}

#[test]
fn an_entry_holds_from_its_beginning_to_just_before_its_end() {
    assert_says(
        "0 8 * * MON-FRI for 10h min 5",
        &[
            ("2025-06-05T07:59:59.999999999Z", 0, "2025-06-05T08:00:00Z"),
            ("2025-06-05T08:00:00Z", 5, "2025-06-05T18:00:00Z"),
            ("2025-06-05T08:00:00.5Z", 5, "2025-06-05T18:00:00Z"),
            ("2025-06-05T17:59:59.999999999Z", 5, "2025-06-05T18:00:00Z"),
            ("2025-06-05T18:00:00Z", 0, "2025-06-06T08:00:00Z"),
            ("2025-06-06T18:00:00Z", 0, "2025-06-09T08:00:00Z"), // a weekend lies between
        ],
    );
}

#[test]
fn of_overlapping_entries_the_largest_wins() {
    assert_says(
        "0 8 * * * for 10h min 5; 0 12 * * * for 1h min 20 ;0 12 * * * for 2h min 3",
        &[
            ("2025-06-05T11:00:00Z", 5, "2025-06-05T12:00:00Z"),
            ("2025-06-05T12:00:00Z", 20, "2025-06-05T13:00:00Z"),
            ("2025-06-05T13:00:00Z", 5, "2025-06-05T14:00:00Z"),
            ("2025-06-05T14:00:00Z", 5, "2025-06-05T18:00:00Z"),
            ("2025-06-05T18:00:00Z", 0, "2025-06-06T08:00:00Z"),
        ],
    );
}

#[test]
fn an_entry_that_begins_again_before_its_end_goes_on() {
    assert_says(
        "*/30 * * * * for 45m min 2",
        &[
            ("2025-06-05T08:00:00Z", 2, "2025-06-05T08:15:00Z"), // the end of what began at 7:30
            ("2025-06-05T08:15:00Z", 2, "2025-06-05T08:45:00Z"),
        ],
    );
    assert_says("* * * * * for 744h min 1", &[("1970-02-01T00:00:00Z", 1, "1970-02-01T00:01:00Z")]);
}

#[test]
fn the_epoch_is_a_time_like_any_other() {
    assert_says("0 0 * * * for 1h min 1", &[("1970-01-01T00:00:00Z", 1, "1970-01-01T01:00:00Z")]);
    assert_says("0 22 * * * for 4h min 1", &[("1970-01-01T00:00:00Z", 1, "1970-01-01T02:00:00Z")]);
}

#[test]
fn hours_are_those_of_the_zone() {
    assert_says(
        "0 8 * * * Europe/Berlin for 10h min 5",
        &[
            ("2025-01-15T06:59:59Z", 0, "2025-01-15T07:00:00Z"),
            ("2025-01-15T07:00:00Z", 5, "2025-01-15T17:00:00Z"),
            ("2025-07-15T05:59:59Z", 0, "2025-07-15T06:00:00Z"),
            ("2025-07-15T06:00:00Z", 5, "2025-07-15T16:00:00Z"),
            ("9000-07-15T06:00:00Z", 5, "9000-07-15T16:00:00Z"), // as far as today's rules go
        ],
    );
    assert_says(
        "0 8 * * * asia/kathmandu for 1h min 5",
        &[("2025-01-15T02:15:00Z", 5, "2025-01-15T03:15:00Z")],
    );
}

#[test]
fn what_falls_into_the_hour_skipped_in_spring_begins_as_the_clock_jumps() {
    // At 01:00 UTC on 30 March 2025 the clock in Berlin goes from 02:00 to 03:00.
    assert_says(
        "30 2 * * * Europe/Berlin for 1h min 5",
        &[
            ("2025-03-29T01:30:00Z", 5, "2025-03-29T02:30:00Z"),
            ("2025-03-29T02:30:00Z", 0, "2025-03-30T01:00:00Z"),
            ("2025-03-30T00:59:59Z", 0, "2025-03-30T01:00:00Z"),
            ("2025-03-30T01:00:00Z", 5, "2025-03-30T02:00:00Z"),
            ("2025-03-30T02:00:00Z", 0, "2025-03-31T00:30:00Z"),
        ],
    );
    // An entry that begins as the clock jumps anyway begins once.
    assert_says(
        "0 3 * * * Europe/Berlin for 1h min 5",
        &[
            ("2025-03-30T01:00:00Z", 5, "2025-03-30T02:00:00Z"),
            ("2025-03-30T02:00:00Z", 0, "2025-03-31T01:00:00Z"),
        ],
    );
}

#[test]
fn an_hour_shown_twice_in_autumn_begins_entries_twice() {
    // At 01:00 UTC on 26 October 2025 the clock in Berlin goes from 03:00 to 02:00.
    assert_says(
        "30 2 * * * Europe/Berlin for 45m min 5",
        &[
            ("2025-10-26T00:30:00Z", 5, "2025-10-26T01:15:00Z"),
            ("2025-10-26T01:15:00Z", 0, "2025-10-26T01:30:00Z"),
            ("2025-10-26T01:30:00Z", 5, "2025-10-26T02:15:00Z"),
            ("2025-10-26T02:15:00Z", 0, "2025-10-27T01:30:00Z"),
        ],
    );
    assert_says(
        "0 2 * * * Europe/Berlin for 30m min 5",
        &[
            ("2025-10-26T00:00:00Z", 5, "2025-10-26T00:30:00Z"),
            ("2025-10-26T00:30:00Z", 0, "2025-10-26T01:00:00Z"),
            ("2025-10-26T01:00:00Z", 5, "2025-10-26T01:30:00Z"),
        ],
    );
    // A day of 25 hours is longer than 24.
    assert_says(
        "0 0 * * * Europe/Berlin for 24h min 5",
        &[
            ("2025-10-25T22:00:00Z", 5, "2025-10-26T22:00:00Z"),
            ("2025-10-26T22:00:00Z", 0, "2025-10-26T23:00:00Z"),
        ],
    );
    // Three o'clock is shown once, an hour later.
    assert_says(
        "0 3 * * * Europe/Berlin for 1h min 5",
        &[("2025-10-26T01:00:00Z", 0, "2025-10-26T02:00:00Z")],
    );
}

#[test]
fn a_clock_may_change_by_half_an_hour_or_a_whole_day() {
    // On 6 April 2025 at 15:00 UTC the day before, Lord Howe Island goes from 02:00 to 01:30.
    assert_says(
        "45 1 * * * Australia/Lord_Howe for 5m min 5",
        &[
            ("2025-04-05T14:40:00Z", 0, "2025-04-05T14:45:00Z"),
            ("2025-04-05T14:50:00Z", 0, "2025-04-05T15:15:00Z"),
            ("2025-04-05T15:20:00Z", 0, "2025-04-06T15:15:00Z"),
        ],
    );
    // Samoa had no 30 December 2011.
    assert_says(
        "0 8 * * * Pacific/Apia for 1h min 5",
        &[
            ("2011-12-29T19:00:00Z", 0, "2011-12-30T10:00:00Z"),
            ("2011-12-30T10:00:00Z", 5, "2011-12-30T11:00:00Z"),
            ("2011-12-30T11:00:00Z", 0, "2011-12-30T18:00:00Z"),
        ],
    );
}

#[test]
fn rare_days_are_found_however_far_they_are() {
    assert_says(
        "0 0 29 2 */7 America/Sao_Paulo for 1h min 5",
        &[("2088-03-01T00:00:00Z", 0, "2128-02-29T03:00:00Z")],
    );
}

#[test]
fn after_the_end_of_all_schedules_there_is_no_minimum() {
    let always = schedule("* * * * * for 744h min 5; 0 0 29 2 * for 1h min 9");
    let end = Tick::from_secs(END.unsigned_abs());
    let last = Tick::from_secs(END.unsigned_abs() - 1);
    assert_eq!(always.at(last), Scheduled { pods: 5, until: Some(end) });
    for beyond in [end, Tick::from_secs(u64::MAX), Tick::from_epoch(Duration::MAX)] {
        assert_eq!(always.at(beyond), Scheduled { pods: 0, until: None });
    }
}

#[test]
fn the_annotation_becomes_the_schedule() {
    let text = "0 8 * * MON-FRI Europe/Berlin for 10h min 5";
    let parsed = spec(&[("schedule", text)]).schedule.unwrap();
    assert_eq!(*parsed, schedule(text));
    assert_eq!(parsed.to_string(), text);
    assert_eq!(spec(&[]).schedule, None);
    assert_ne!(schedule(text), schedule("0 8 * * MON-FRI Europe/Berlin for 10h min 6"));
}

#[test]
fn every_bound_is_accepted() {
    for text in [
        "* * * * * for 1m min 1",
        "* * * * * for 744h min 2147483647",
        "59 23 31 12 7 UTC for 90s min 1",
        "  0\t8 * * *   America/New_York\u{a0}for 10h0m0s min +5  ",
        &["0 0 * * * for 1h min 1"; MAX_ENTRIES].join(";"),
        &format!("{:MAX_TEXT$}", "* * * * * for 1m min 1"),
    ] {
        assert!(Schedule::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn a_refusal_names_the_entry_the_part_and_what_is_allowed() {
    let no_entry = |text: &str| format!("{text:?} is not an entry; want {FORM}");
    let of_minute = "want 0 to 59, as in 5, 0-29, */15 or 0,30";
    let of_zone = "want a name such as Europe/Berlin, or none for UTC";
    let of_duration = "want whole seconds from 1m to 744h";
    let of_min = "want an integer from 1 to 2147483647";
    for (text, want) in [
        (String::new(), no_entry("")),
        ("0 8 * * *".to_owned(), no_entry("0 8 * * *")),
        ("0 8 * * for 1h min 5".to_owned(), no_entry("0 8 * * for 1h min 5")),
        ("0 8 * * * A B for 1h min 5".to_owned(), no_entry("0 8 * * * A B for 1h min 5")),
        ("0 8 * * * for 1h max 5".to_owned(), no_entry("0 8 * * * for 1h max 5")),
        ("0 8 * * * for 1h min 5;".to_owned(), no_entry("")),
        (
            "60 8 * * * for 1h min 5".to_owned(),
            format!(r#""60 8 * * * for 1h min 5" has the minute "60"; {of_minute}"#),
        ),
        (
            "0 8 31 2 * for 1h min 5".to_owned(),
            r#""0 8 31 2 * for 1h min 5" never begins; want a day that its month has"#.to_owned(),
        ),
    ]
    .into_iter()
    .chain(["Berlin", "UTC+1", "+01:00", "Etc/Unknown", "CET-1CEST", "../UTC", "*"].map(|zone| {
        let text = format!("0 8 * * * {zone} for 1h min 5");
        let want = format!("{text:?} has the time zone {zone:?}; {of_zone}");
        (text, want)
    }))
    .chain(["59s", "744h1s", "1h0.5s", "-1h", "1d", "0", "60", "99999999999h"].map(|duration| {
        let text = format!("0 8 * * * for {duration} min 5");
        let want = format!("{text:?} has the duration {duration:?}; {of_duration}");
        (text, want)
    }))
    .chain(["0", "-1", "2147483648", "5.0", "five"].map(|pods| {
        let text = format!("0 8 * * * for 1h min {pods}");
        let want = format!("{text:?} has the min {pods:?}; {of_min}");
        (text, want)
    })) {
        assert_eq!(refusal(&[("schedule", &text)]), format!("ebb.dev/schedule: {want}"));
    }
}

#[test]
fn all_parts_of_all_entries_are_looked_at() {
    let refusal = refusal(&[("schedule", "61 8 * * Mon-Fry Berlin for 1d min 0; 0 8 * * * for 1h min 1; x")]);
    let problems: Vec<_> = refusal.lines().map(|line| line.split(';').next().unwrap()).collect();
    let first = r#"ebb.dev/schedule: "61 8 * * Mon-Fry Berlin for 1d min 0" has the"#;
    assert_eq!(
        problems,
        [
            &format!(r#"{first} minute "61""#),
            &format!(r#"{first} weekday "Mon-Fry""#),
            &format!(r#"{first} time zone "Berlin""#),
            &format!(r#"{first} duration "1d""#),
            &format!(r#"{first} min "0""#),
            r#"ebb.dev/schedule: "x" is not an entry"#,
        ]
    );
}

#[test]
fn long_texts_are_refused_unread() {
    let entries = ["x"; MAX_ENTRIES + 1].join(";");
    let want = format!("ebb.dev/schedule: {entries:?} has 17 entries; want at most 16");
    assert_eq!(refusal(&[("schedule", &entries)]), want);
    let beginning = "ü".repeat(40);
    let want =
        format!("ebb.dev/schedule: {beginning:?} is the beginning of 1026 bytes; want at most 1024 bytes");
    assert_eq!(refusal(&[("schedule", &"ü".repeat(513))]), want);
}

#[test]
fn no_entry_asks_for_more_than_the_max_scale_in_effect() {
    let pairs = [("schedule", "0 8 * * * for 1h min 5;0 9 * * * for 1h min 6"), ("max-scale", "5")];
    let want = r#"ebb.dev/schedule: "0 9 * * * for 1h min 6" asks for more than the max-scale of 5 in effect; want at most 5 pods"#;
    assert_eq!(refusal(&pairs), want);
    assert_eq!(refusal_under(&capped_at(5), &pairs[..1]), want);
    assert!(spec(&[pairs[0], ("max-scale", "6")]).schedule.is_some());
    assert!(spec(&[pairs[0], ("max-scale", "0")]).schedule.is_some());
}

/// A cron field: its text, and the values that it stands for.
type Values = (String, Vec<i8>);

/// Each value as often as `all` says: a day that matches none of its three fields tests little.
fn any_field((low, high, all): (i8, i8, u32)) -> impl Strategy<Value = Values> {
    let listed = |values: &[i8]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    prop_oneof![
        all => Just(("*".to_owned(), (low..=high).collect())),
        1 => (1..=high).prop_map(move |step| {
            let values = (low..=high).filter(|value| (value - low) % step == 0).collect();
            (format!("*/{step}"), values)
        }),
        1 => (low..=high, low..=high).prop_map(|(a, b)| {
            let (first, last) = (a.min(b), a.max(b));
            (format!("{first}-{last}"), (first..=last).collect())
        }),
        1 => proptest::collection::vec(low..=high, 1..4).prop_map(move |values| (listed(&values), values)),
    ]
}

/// An entry as its author thinks of it.
#[derive(Clone, Debug)]
struct Model {
    fields: [Values; 5],
    zone: &'static str,
    minutes: i64,
    pods: u32,
}

/// Zones that change by an hour, by half an hour, at midnight, by two hours, by a day, or never.
const ZONES: [(&str, &str); 8] = [
    ("Europe/Berlin", "2025-03-30T01:00:00Z"),
    ("Europe/Berlin", "2025-10-26T01:00:00Z"),
    ("Australia/Lord_Howe", "2025-04-05T15:00:00Z"),
    ("Australia/Lord_Howe", "2025-10-04T15:30:00Z"),
    ("America/Havana", "2025-11-02T05:00:00Z"),
    ("Antarctica/Troll", "2025-10-26T01:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("UTC", "2024-02-29T00:00:00Z"),
];

fn any_model(zone: &'static str) -> impl Strategy<Value = Model> {
    let fields = [(0, 59, 1), (0, 23, 1), (1, 31, 9), (1, 12, 27), (0, 7, 9)].map(any_field);
    let minutes = prop_oneof![3 => 1_i64..200, 1 => 1_i64..3000];
    (fields, minutes, 1_u32..9).prop_map(move |(fields, minutes, pods)| Model { fields, zone, minutes, pods })
}

impl Model {
    fn text(&self) -> String {
        let fields = self.fields.clone().map(|(text, _)| text).join(" ");
        format!("{fields} {} for {}m min {}", self.zone, self.minutes, self.pods)
    }

    /// Returns whether the clock, on reaching its reading at this time, passes a minute that matches.
    fn begins(&self, zone: &TimeZone, second: i64) -> bool {
        let shows = |second| zone.to_datetime(Timestamp::from_second(second).unwrap());
        let (before, now) = (shows(second - 60), shows(second));
        let minute = jiff::Span::new().minutes(1);
        let mut passed = before + minute;
        // Usually this is the current reading; in spring it is before it, in autumn after it.
        if passed > now {
            passed = now;
        }
        std::iter::successors(Some(passed), |shown| Some(*shown + minute))
            .take_while(|shown| *shown <= now)
            .any(|shown| self.matches(shown))
    }

    fn matches(&self, shown: jiff::civil::DateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.fields;
        let of_week = shown.weekday().to_sunday_zero_offset();
        let by_day = day.1.contains(&shown.day());
        let by_weekday = weekday.1.contains(&of_week) || (of_week == 0 && weekday.1.contains(&7));
        let is_all = |field: &Values| field.0.starts_with('*');
        minute.1.contains(&shown.minute())
            && hour.1.contains(&shown.hour())
            && month.1.contains(&shown.month())
            && if is_all(day) || is_all(weekday) { by_day && by_weekday } else { by_day || by_weekday }
    }
}

/// Computes the schedule for each minute from `first`, minute by minute, by remembering when entries end.
fn naive(models: &[Model], first: i64, minutes: i64) -> Vec<u32> {
    let mut pods = vec![0; usize::try_from(minutes).unwrap()];
    for model in models {
        let zone = zone_named(model.zone).unwrap();
        let mut end = i64::MIN;
        for minute in -model.minutes..minutes {
            let second = first + minute * 60;
            if model.begins(&zone, second) {
                end = second + model.minutes * 60;
            }
            if let Ok(at) = usize::try_from(minute)
                && second < end
            {
                pods[at] = pods[at].max(model.pods);
            }
        }
    }
    pods
}

fn any_case() -> impl Strategy<Value = (Vec<Model>, i64)> {
    proptest::sample::select(&ZONES[..]).prop_flat_map(|(zone, change)| {
        let change = change.parse::<Timestamp>().unwrap().as_second();
        (proptest::collection::vec(any_model(zone), 1..4), (-600_i64..600).prop_map(move |m| change + m * 60))
    })
}

proptest! {
    // Each case checks some thousand minutes twice.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn minute_by_minute_the_same_holds((models, first) in any_case()) {
        const MINUTES: i64 = 900;
        let text = models.iter().map(Model::text).collect::<Vec<_>>().join("; ");
        let Ok(schedule) = Schedule::parse(&text) else {
            return Ok(()); // days that do not exist
        };
        let mut held = Scheduled::default();
        for (minute, pods) in naive(&models, first, MINUTES).into_iter().enumerate() {
            let second = first + i64::try_from(minute).unwrap() * 60;
            let now = Tick::from_secs(second.unsigned_abs());
            if held.until.is_none_or(|until| until <= now) {
                held = schedule.at(now);
                let until = held.until.unwrap();
                prop_assert!(until > now);
                prop_assert_eq!(schedule.at(until.before(Duration::from_nanos(1))).pods, held.pods);
            }
            prop_assert_eq!(held.pods, pods, "{} at {:?}, known until {:?}", text, now, held.until);
            prop_assert_eq!(schedule.at(now).pods, pods, "{} at {:?}", text, now);
        }
    }
}

proptest! {
    #[test]
    fn no_text_and_no_tick_make_a_schedule_panic(
        text in "([0-9*/,-]{1,4} ){5}(Europe/Berlin )?for [0-9]{1,3}[smh] min [0-9]{1,3}(;.{0,30})?|.*",
        secs: u64,
    ) {
        if let Ok(schedule) = Schedule::parse(&text) {
            for now in [Tick::ZERO, Tick::from_secs(secs >> 30), Tick::from_secs(secs)] {
                prop_assert!(schedule.at(now).until.is_none_or(|until| until > now));
            }
        }
    }
}
