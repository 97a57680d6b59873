//! The worked values of `spec/autoscaler.md`, section 5.6, what the mends change, and windows against a
//! model that keeps every record.

mod stock;

use std::time::Duration;

use ebb_annotations::{Aggregation, Metric, Rules, ScalingSpec, TargetBurstCapacity};
use ebb_core::{Tick, stat::Stat};
use ebb_decide::windows::{Averages, MetricWindows, NoData, Smoothing, Window};
use proptest::prelude::*;
use stock::stock_spec;

const SECOND: Duration = Duration::from_secs(1);

/// An hour after the epoch: no window reaches back before it.
const START: u64 = 3600;

fn at(second: u64) -> Tick {
    Tick::from_secs(START + second)
}

fn window(aggregation: Aggregation, secs: u64, rules: Rules) -> Window {
    Window::new(aggregation, Duration::from_secs(secs), SECOND, rules)
}

fn linear(secs: u64) -> Window {
    window(Aggregation::Linear, secs, Rules::Reference)
}

/// Records `value` in each of `seconds`.
fn fill(window: &mut Window, seconds: std::ops::Range<u64>, value: f64) {
    for second in seconds {
        window.record(at(second), value);
    }
}

fn close(got: f64, want: f64) -> bool {
    (got - want).abs() < 1e-4
}

#[test]
fn a_window_that_is_not_full_divides_by_the_time_since_its_first_record() {
    let mut window = linear(60);
    fill(&mut window, 0..5, 10.0);
    assert_eq!((window.average(at(4)), window.average(at(5))), (10.0, 10.0));
}

#[test]
fn a_step_of_load_moves_the_linear_average_second_by_second() {
    let mut window = linear(60);
    fill(&mut window, 0..60, 10.0);
    for (seconds, want) in [(1, 11.5), (2, 13.0), (3, 14.5), (6, 19.0), (12, 28.0)] {
        let mut window = window.clone();
        fill(&mut window, 60..60 + seconds, 100.0);
        assert_eq!(window.average(at(59 + seconds)), want, "after {seconds} s");
    }
}

#[test]
fn a_step_of_load_moves_the_weighted_average_faster() {
    let mut window = window(Aggregation::WeightedExponential, 60, Rules::Reference);
    fill(&mut window, 0..60, 10.0);
    for (seconds, want) in [(1, 28.0), (2, 42.4), (3, 53.92), (5, 70.509), (10, 90.336)] {
        let mut window = window.clone();
        fill(&mut window, 60..60 + seconds, 100.0);
        let got = window.average(at(59 + seconds));
        assert!((got - want).abs() < 1e-3, "after {seconds} s: {got}, not {want}");
    }
}

#[test]
fn silence_holds_the_linear_average_until_a_window_has_passed() {
    let mut window = linear(60);
    fill(&mut window, 0..120, 20.0);
    assert_eq!(window.average(at(119 + 59)), 20.0);
    assert_eq!((window.average(at(119 + 60)), window.is_empty(at(119 + 60))), (0.0, false));
    assert!(window.is_empty(at(119 + 61)));
}

#[test]
fn late_records_reach_back_one_window_and_no_further() {
    let mut window = linear(5);
    window.record(at(10), 1984.0);
    window.record(at(7), 4.0);
    assert_eq!(window.average(at(10)), 497.0);
    window.record(at(11), 5.0);
    assert_eq!(window.average(at(11)), 398.6);
    window.record(at(8), 10.0);
    assert_eq!(window.average(at(11)), 400.6);
    window.record(at(6), 1e6);
    assert_eq!(window.average(at(11)), 400.6);
}

#[test]
fn a_value_that_is_not_finite_is_dropped() {
    let mut window = linear(5);
    for value in [1.0, f64::NAN, f64::INFINITY] {
        window.record(at(0), value);
    }
    assert_eq!(window.average(at(0)), 1.0);
}

#[test]
fn a_resize_invents_history_by_the_rules_of_the_reference_only() {
    for (rules, longer, shorter) in [(Rules::Reference, 0.833_333, 1.666_667), (Rules::Mended, 10.0, 10.0)] {
        for (secs, want) in [(120, longer), (30, shorter)] {
            let mut window = window(Aggregation::Linear, 60, rules);
            fill(&mut window, 0..5, 10.0);
            window.reshape(at(5), Aggregation::Linear, Duration::from_secs(secs));
            assert_eq!(window.average(at(4)), want, "{rules:?}, to {secs} s");
        }
    }
}

#[test]
fn a_change_of_aggregation_keeps_the_records() {
    let mut window = window(Aggregation::Linear, 60, Rules::Mended);
    fill(&mut window, 0..60, 10.0);
    window.reshape(at(60), Aggregation::WeightedExponential, Duration::from_secs(60));
    assert!(close(window.average(at(59)), 10.0));
}

#[test]
fn mended_a_constant_load_reads_as_itself_from_the_first_second() {
    let mut mended = window(Aggregation::WeightedExponential, 60, Rules::Mended);
    let mut reference = window(Aggregation::WeightedExponential, 60, Rules::Reference);
    for (second, read_by_reference) in [2.0, 3.6, 4.88].into_iter().enumerate() {
        let now = at(second as u64);
        mended.record(now, 10.0);
        reference.record(now, 10.0);
        assert!(close(reference.average(now), read_by_reference));
        assert!(close(mended.average(now), 10.0), "second {second}: {}", mended.average(now));
    }
}

#[test]
fn mended_a_silent_window_is_empty_rather_than_zero() {
    let mut window = window(Aggregation::Linear, 60, Rules::Mended);
    window.record(at(0), 20.0);
    assert!(!window.is_empty(at(59)));
    assert!(window.is_empty(at(60)));
}

#[test]
fn mended_a_huge_value_leaves_no_trace_in_the_total() {
    let mut window = window(Aggregation::Linear, 6, Rules::Mended);
    window.record(at(0), 1e18);
    fill(&mut window, 0..20, 3.0);
    assert_eq!(window.average(at(19)), 3.0);
}

#[test]
fn mended_the_smallest_load_is_load_and_what_arithmetic_leaves_is_not() {
    let mut mended = window(Aggregation::Linear, 60, Rules::Mended);
    let mut reference = window(Aggregation::Linear, 60, Rules::Reference);
    for window in [&mut mended, &mut reference] {
        fill(window, 0..60, 0.0);
        window.record(at(59), 1e-6);
    }
    assert_eq!(reference.average(at(59)), 0.0);
    assert!(close(mended.average(at(59)) * 60e6, 1.0));
    fill(&mut mended, 60..120, (0.1 + 0.2) - 0.3);
    fill(&mut mended, 60..120, -1.0);
    assert_eq!(mended.average(at(119)), 0.0);
}

#[test]
fn mended_silence_is_not_the_absence_of_load() {
    for aggregation in [Aggregation::Linear, Aggregation::WeightedExponential] {
        let mut window = window(aggregation, 6, Rules::Mended);
        fill(&mut window, 0..6, 20.0);
        assert!(close(window.average(at(10)), 20.0));
        assert!(window.is_empty(at(11)));
    }
}

#[test]
fn mended_a_window_without_data_has_none_after_a_resize_either() {
    let mut window = window(Aggregation::Linear, 6, Rules::Mended);
    fill(&mut window, 0..6, 20.0);
    window.reshape(at(15), Aggregation::Linear, Duration::from_secs(60));
    assert!(window.is_empty(at(15)));
}

#[test]
fn silence_is_a_fault_where_pods_are_scraped_and_idleness_where_they_are_not() {
    let unscraped = ScalingSpec { target_burst_capacity: TargetBurstCapacity::Unlimited, ..stock_spec() };
    let mut scraped = MetricWindows::new(&stock_spec());
    assert_eq!(scraped.averages(Metric::Rps, at(0)), Err(NoData));
    let mut unscraped = MetricWindows::new(&unscraped);
    assert_eq!(unscraped.averages(Metric::Rps, at(0)), Ok(Averages::default()));
}

#[test]
fn reports_of_the_same_second_add_up_without_what_is_counted_elsewhere() {
    let mut windows = MetricWindows::new(&stock_spec());
    let activator = Stat { average_concurrent_requests: 4.0, request_count: 8.0, ..Stat::default() };
    let pods = Stat {
        average_concurrent_requests: 6.0,
        average_proxied_concurrent_requests: 4.0,
        request_count: 11.0,
        proxied_request_count: 8.0,
        ..Stat::default()
    };
    windows.record(at(0), &activator);
    windows.record(at(0), &pods);
    let concurrency = Averages { stable: 6.0, panic: 6.0 };
    assert_eq!(windows.averages(Metric::Concurrency, at(0)), Ok(concurrency));
    assert_eq!(windows.averages(Metric::Rps, at(0)), Ok(Averages { stable: 11.0, panic: 11.0 }));
}

/// What a window that never forgets would keep of `records`: what was not a window old when it arrived, since
/// the last silence of a whole window.
struct Model {
    kept: Vec<(u64, f64)>,
    first: u64,
    last: u64,
    secs: u64,
}

impl Model {
    fn of(records: &[(u64, f64)], secs: u64) -> Option<Self> {
        let mut model: Option<Self> = None;
        for &(second, value) in records {
            match &mut model {
                Some(model) if second + secs <= model.last => {}
                Some(model) if second < model.last + secs => {
                    model.first = model.first.min(second);
                    model.last = model.last.max(second);
                    model.kept.push((second, value));
                }
                _ => model = Some(Self { kept: vec![(second, value)], first: second, last: second, secs }),
            }
        }
        model
    }

    /// The mean of the seconds that were seen and are inside the window at `now`, where each second weighs
    /// `decay` times the one after it.
    fn average(&self, now: u64, decay: f64) -> f64 {
        let end = now.max(self.last);
        if end >= self.last + self.secs {
            return 0.0;
        }
        let seen = (self.last - self.first + 1).min(self.secs - (end - self.last));
        let weight = |second: u64| decay.powf((self.last - second) as f64);
        let inside = self.kept.iter().filter(|(second, _)| second + self.secs > end);
        let sum: f64 = inside.map(|(second, value)| value * weight(*second)).sum();
        sum / (0..seen).map(|age| weight(self.last - age)).sum::<f64>()
    }
}

/// Records at times that mostly go forwards, and are late at times.
fn any_records(values: impl Strategy<Value = f64>) -> impl Strategy<Value = Vec<(u64, f64)>> {
    prop::collection::vec((-25_i64..40, values), 1..80).prop_map(|steps| {
        let mut now = START;
        let forwards = |(step, value): (i64, f64)| {
            now = now.saturating_add_signed(step / 4).max(START);
            (now, value)
        };
        steps.into_iter().map(forwards).collect()
    })
}

proptest! {
    #[test]
    fn a_window_equals_a_model_that_keeps_every_record(
        secs in 1_u64..20,
        records in any_records((0_u32..1000).prop_map(f64::from)),
        later in 0_u64..30,
    ) {
        let mut window = linear(secs);
        for &(second, value) in &records {
            window.record(Tick::from_secs(second), value);
        }
        let model = Model::of(&records, secs).expect("there are records");
        for read in [model.last, model.last + later] {
            let want = model.average(read, 1.0);
            let got = window.average(Tick::from_secs(read));
            prop_assert!((got - want).abs() <= 1e-6, "at {read}: {got}, not {want}");
        }
    }

    /// Whatever was read in between, and however different the values are: nothing cancels.
    #[test]
    fn mended_an_average_is_exact(
        secs in 1_u64..20,
        records in any_records(prop_oneof![Just(0.0), 1e-6..1e-3, 0.0..1e3, 1e12..1e15]),
        reads in prop::collection::vec(any::<bool>(), 80),
        later in 0_u64..30,
        weighted in any::<bool>(),
    ) {
        let aggregation = if weighted { Aggregation::WeightedExponential } else { Aggregation::Linear };
        let slots = i64::try_from(secs).expect("a short window");
        let decay = if weighted { 1.0 - Smoothing::over(slots).weight() } else { 1.0 };
        let mut window = window(aggregation, secs, Rules::Mended);
        for (&(second, value), read) in records.iter().zip(reads) {
            window.record(Tick::from_secs(second), value);
            if read {
                window.average(Tick::from_secs(second));
            }
        }
        let model = Model::of(&records, secs).expect("there are records");
        for read in [model.last, model.last + later] {
            let want = model.average(read, decay);
            let got = window.average(Tick::from_secs(read));
            prop_assert!((got - want).abs() <= 1e-9 * want, "at {read}: {got}, not {want}");
        }
    }

    #[test]
    fn an_average_lies_between_the_least_and_the_most_recorded(
        secs in 1_u64..90,
        values in prop::collection::vec(0.0..1e6, 1..200),
        weighted in any::<bool>(),
    ) {
        let aggregation = if weighted { Aggregation::WeightedExponential } else { Aggregation::Linear };
        let mut window = window(aggregation, secs, Rules::Mended);
        for (second, value) in (0..).zip(&values) {
            window.record(at(second), *value);
        }
        let got = window.average(at(values.len() as u64 - 1));
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        prop_assert!(least - 1e-3 <= got && got <= most + 1e-3, "{least} <= {got} <= {most}");
    }

    #[test]
    fn no_time_and_no_length_makes_a_window_panic(
        ops in prop::collection::vec((any::<u64>(), any::<f64>(), 0_u64..7200), 1..20),
        weighted in any::<bool>(),
        mended in any::<bool>(),
    ) {
        let aggregation = if weighted { Aggregation::WeightedExponential } else { Aggregation::Linear };
        let rules = if mended { Rules::Mended } else { Rules::Reference };
        let mut window = window(aggregation, 60, rules);
        for (second, value, secs) in ops {
            let now = Tick::from_secs(second);
            window.record(now, value);
            window.average(now);
            window.is_empty(now);
            window.reshape(now, aggregation, Duration::from_secs(secs));
            window.average(Tick::ZERO);
        }
    }
}
